"""What a pull needs of the rooms below, put together once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.admission import Admission
from gateway.flights import Locks
from gateway.oci.errors import OciError
from gateway.oci.target import Target
from gateway.rules.model import RuleSet, SourceName
from gateway.rules.route import Route, Routing, Wanted, is_open_to_all
from gateway.sources.base import Source
from gateway.store.blobs import BlobStore
from gateway.store.catalog import Catalog
from gateway.store.memory import Memory
from gateway.waiting import Deadlines

MAX_BLOB_BYTES: Final = 20 << 30
DEADLINES: Final = Deadlines()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """``now`` gives seconds since the epoch; ``router`` how the rules in force at the moment route.

    ``is_open`` says whether everybody may read what a target holds.
    """

    router: Callable[[], Callable[[Wanted], Routing]]
    admit: Callable[[Route], None]
    sources: Mapping[SourceName, Source]
    catalog: Catalog
    blobs: BlobStore
    memory: Memory
    now: Callable[[], float]
    is_open: Callable[[RuleSet, Target], bool] = is_open_to_all
    locks: Locks | None = None
    admission: Admission = field(default_factory=Admission)
    is_offline: bool = False
    deadlines: Deadlines = DEADLINES
    max_blob_bytes: int = MAX_BLOB_BYTES

    def admitted(self, routing: Routing) -> Routing:
        """A routing as far as whoever asks may go; raise OciError where that is nowhere."""
        for number, route in enumerate(routing.routes):
            try:
                self.admit(route)
            except OciError as refusal:
                if number == 0:
                    raise
                return replace(routing, routes=routing.routes[:number], refusal=refusal)
        return routing

    def asks_nobody(self, route: Route) -> bool:
        """Whether upstream is left alone, by the settings or by the rules."""
        return self.is_offline or route.is_offline
