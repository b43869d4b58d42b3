"""What every source promises, and what a source needs of the rooms it never sees."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, Final, Protocol, runtime_checkable

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.oci.outcomes import Outcome
from gateway.rules.model import SourceName
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
    """Where content goes; it is kept when the block ends without an exception.

    A digest other than ``expected``, or content longer than ``limit_bytes``, raises a ValueError, and
    nothing is kept.
    """

    def create(
        self, expected: Digest | None = None, limit_bytes: int | None = None
    ) -> AbstractAsyncContextManager[SinkWriter]: ...


class Comparable(StrEnum):
    """What an ``upstream_digest`` is the digest of."""

    MANIFEST = "manifest"
    ARCHIVE = "archive"  # the chart's .tgz, as Helm indexes have it


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest, the sizes in bytes of the blobs of it that are kept by now, and the URL it came from."""

    manifest: Manifest
    sizes: Mapping[Digest, int]
    origin: str


class Found(Protocol):
    """What a source knows of a tag without fetching what it names.

    ``version`` is upstream's own spelling, None for what was found by its digest. ``upstream_digest`` is what
    tells a change. ``failure`` is why the source could not be asked and speaks from what it last knew.
    """

    @property
    def version(self) -> str | None: ...

    @property
    def upstream_digest(self) -> Digest | None: ...

    @property
    def compares(self) -> Comparable: ...

    @property
    def failure(self) -> Outcome | None: ...

    async def created_at(self) -> float | None:
        """When upstream says that it was made, in seconds since the epoch; None where it does not say."""

    async def size_bytes(self, platforms: frozenset[str]) -> int | None:
        """How large it is with all its parts, without fetching these; None where that is not told.

        Of an image index, how large what it has for these platforms is, or all where there are none.
        """

    async def fetch(self) -> Fetched:
        """Fetch the manifest, and of a chart what it names too; raise an outcome."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Every version upstream, in its own spelling; when upstream stood by it, in seconds since the epoch.

    ``created`` is when those versions were made of which the list says it, in seconds since the epoch too.
    """

    names: Sequence[str]
    confirmed_at: float
    failure: Outcome | None = None
    created: Mapping[str, float] = field(default_factory=dict)


class Source(Protocol):
    """One way to the content of a target. Every method raises outcomes: Missing, Denied, …

    Skipped means that this source is not for this route, and was not asked.
    """

    @property
    def name(self) -> SourceName: ...

    async def find(self, route: Route, tag: str) -> Found: ...

    def candidates(self, route: Route, digest: Digest, count: int) -> AsyncIterator[Found]:
        """What may be the manifest of this digest, likeliest first: the very one, or the newest ``count``."""

    async def versions(self, route: Route) -> Versions: ...

    async def referrers(self, route: Route, subject: Digest) -> Sequence[Descriptor]:
        """What upstream lists as referring to ``subject``; nothing where it has no such list."""

    def blob(self, route: Route, descriptor: Descriptor) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The pieces of a blob, unchecked but for its length; entered once upstream has begun to answer.

        Raise Missing on entering where upstream has it not, or does not hand out single blobs.
        """

    async def has_blob(self, route: Route, descriptor: Descriptor) -> bool:
        """Whether upstream says that it has this blob under this name, in this size."""

    def tells(self, route: Route) -> Sequence[str]:
        """What this source would ask, for people."""

    def is_troubled(self, route: Route) -> bool:
        """Whether upstream failed the last time, or keeps somebody waiting just now: not worth a wait."""

    def doubt(self, route: Route) -> None:
        """Nobody has the name at all: what was learnt of upstream some time ago may be wrong by now."""


@runtime_checkable
class ManyTold(Protocol):
    """A source some of whose answers are about many targets at once."""

    async def versions_of_many(self, routes: Sequence[Route]) -> Sequence[Versions | None]:
        """As ``versions`` of each; None of those that are to be asked for alone, also since it failed."""
