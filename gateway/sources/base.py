"""What every source promises, and what a source needs of the rooms it never sees."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.oci.outcomes import Outcome
from gateway.rules.route import Route

STALE_SECONDS: Final = 2.5  # how long upstream is waited for where something is held, in all
COLD_SECONDS: Final = 30.0  # and where nothing is


class SinkWriter(Protocol):
    """Takes content piece by piece."""

    @property
    def digest(self) -> Digest: ...

    @property
    def size(self) -> int: ...

    async def write(self, content: bytes) -> None: ...

    async def reread(self) -> BinaryIO: ...


class Sink(Protocol):
    """Where content goes; it is kept when the block ends without an exception."""

    def create(
        self, expected: Digest | None = None, limit_bytes: int | None = None
    ) -> AbstractAsyncContextManager[SinkWriter]: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest, the sizes in bytes of the blobs of it that are kept by now, and the URL it came from."""

    manifest: Manifest
    sizes: Mapping[Digest, int]
    origin: str


class Found(Protocol):
    """What a source knows of a tag without fetching what it names.

    ``upstream_digest`` is what tells a change; ``failure`` is why the source could not be asked and speaks
    from what it last knew, or None.
    """

    @property
    def version(self) -> str: ...

    @property
    def upstream_digest(self) -> Digest | None: ...

    @property
    def is_exact(self) -> bool: ...

    @property
    def failure(self) -> Outcome | None: ...

    async def fetch(self) -> Fetched:
        """Fetch the manifest and what it names; raise an outcome."""


class Source(Protocol):
    """One way to the content of a target. Every method raises outcomes: Missing, Denied, …"""

    @property
    def name(self) -> str: ...

    async def find(self, route: Route, tag: str) -> Found: ...

    async def versions(self, route: Route) -> Sequence[str]:
        """Every version upstream, in its own spelling."""

    def newest(self, route: Route, count: int) -> AsyncIterator[Found]:
        """The newest versions, newest first, to look for a digest never seen."""

    def tells(self, route: Route) -> Sequence[str]:
        """What this source would ask, for people."""
