"""Two targets of one rule, each a repository of its own: for tests of what comes from where."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from gateway.access.readers import admit_anyone
from gateway.oci.errors import ErrorCode, OciError
from gateway.rules.route import Route
from gateway.sources.base import Comparable
from gateway.store.blobs import MemoryBlobs
from tests.fakes.source import FakeSource, image_of, layer_of
from tests.ruled_puller import Ruled

NAME = "prom/redis"
FIRST, SECOND, THIRD = (f"{host}.example.test/charts/redis" for host in ("first", "second", "third"))
DEFAULTS = "defaults: {chain: [helm], missing_for: 1s}\n"
OURS, THEIRS = layer_of("1.0.0", "ours"), layer_of("1.0.0", "theirs")


class Opened(Protocol):
    """Opens a worker on the folder and the database of a test."""

    def __call__(
        self,
        rules: str,
        upstreams: Mapping[str, FakeSource] | None = None,
        *,
        beside: Ruled | None = None,
        offline: str = "",
        admit: Callable[[Route], None] = admit_anyone,
    ) -> AbstractAsyncContextManager[Ruled]: ...


def leading_to(*targets: str, **keys: str) -> str:
    """The rules by which every ``prom/…`` leads to these, in order."""
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    rewrites = ", ".join(target.replace("/redis", "/$1") for target in targets)
    return f'{DEFAULTS}rules:\n  - {{repository: "prom/*", rewrite: [{rewrites}]{more}}}\n'


RULES = leading_to(FIRST, SECOND)
PRIVATE_SECOND = f"{RULES}upstreams: {{second.example.test: {{kind: helm, access: private}}}}\n"


def charts(**layers: bytes) -> FakeSource:
    """Versions of a chart, each for good."""
    return FakeSource(MemoryBlobs(), layers)


def images(**layers: bytes) -> FakeSource:
    """What is no chart: its tags move, and its blobs are fetched as they are asked for."""
    return FakeSource(MemoryBlobs(), layers, compares=Comparable.MANIFEST, builds=image_of)


def only_at_second() -> dict[str, FakeSource]:
    """The first has the chart, and not this version of it."""
    return {FIRST: charts(**{"0.1.0": layer_of("0.1.0")}), SECOND: charts(**{"1.0.0": OURS})}


def first_publishes(at: Ruled, tag: str = "1.0.0") -> None:
    """Under a tag that was found elsewhere: by chance, or so that it is taken for that.

    «It is not there» is remembered no more.
    """
    at.upstreams.by_target[FIRST].layers[tag] = THEIRS
    at.clock.advance(2)


async def refused(at: Ruled, tag: str = "1.0.0") -> ErrorCode:
    """Pull, and return the code of the refusal."""
    with pytest.raises(OciError) as caught:
        await at.pull(NAME, tag)
    return caught.value.code
