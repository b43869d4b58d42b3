"""What ``sync:`` says is to be held without anybody asking: lists of charts and images, as values."""

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.rules.patterns import Pattern
from gateway.rules.tree import Place
from gateway.rules.visibility import Visibility


class Older(StrEnum):
    """What becomes of what a list brought, and names no more: it stays, or is forgotten."""

    KEEP = "keep"
    REMOVE = "remove"


_ALL_SHOWN = Visibility()


@dataclass(frozen=True, slots=True)
class SyncEntry:
    """One line of a list. ``repository`` is a name as clients ask for it, or a glob over such names.

    ``visibility`` is what ``versions`` and ``tags`` say; of what these leave the ``newest`` are meant, all
    where there is no such number. ``platforms`` (such as ``linux/arm64``) are those of images, also of the
    ones that charts name; all where there is none. ``dependencies`` and ``images`` are of charts alone.
    """

    repository: Pattern
    visibility: Visibility = _ALL_SHOWN
    newest: int | None = None
    older: Older = Older.KEEP
    signatures: bool = False
    platforms: frozenset[str] = frozenset()
    dependencies: bool = False
    images: bool = False
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, slots=True)
class SyncList:
    """A list. The server brings it up to date every ``every_seconds``; where that is None, who asks does."""

    name: str
    every_seconds: float | None = None
    charts: tuple[SyncEntry, ...] = ()
    images: tuple[SyncEntry, ...] = ()
    place: Place = field(default=Place(), compare=False)
