"""A chart in many versions under a name of ours: for tests of which of them are seen."""

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from tests.fakes.source import FakeSource, layer_of, manifest_of
from tests.ruled_puller import Ruled
from tests.targets_house import charts

NAME, TARGET, OTHER = "argo/cd", "first.example.test/charts/cd", "second.example.test/charts/cd"
DEFAULTS = "defaults: {chain: [helm], missing_for: 1s}\n"
VERSIONS = ("4.9.0", "5.0.0", "5.10.0", "5.9.1", "5.11.0-rc.1", "6.0.0")
FIVE = '{"5": ">=5 <6"}'


def under(**keys: str) -> str:
    """The rules by which ``argo/…`` leads to TARGET, with policy keys of the rule's own."""
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    return f'{DEFAULTS}rules:\n  - {{repository: "argo/*", rewrite: first.example.test/charts/$1{more}}}\n'


def with_versions(*versions: str) -> dict[str, FakeSource]:
    return {TARGET: charts(**{version: layer_of(version) for version in versions})}


def chart(version: str) -> Digest:
    return manifest_of(layer_of(version)).digest


def source(at: Ruled, target: str = TARGET) -> FakeSource:
    return at.upstreams.by_target[target]


async def refusal(at: Ruled, tag: str, **how: str) -> OciError:
    with pytest.raises(OciError) as caught:
        await at.pull(NAME, tag, **how)
    return caught.value
