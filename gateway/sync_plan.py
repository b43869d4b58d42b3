"""What a mirror list means and comes to, decided without asking anybody: tags, removals, reports."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from gateway.helm.ranges import newest_tag_in, parse_range
from gateway.helm.version import Version, parse_version
from gateway.oci.location import Location
from gateway.oci.target import Target
from gateway.rules.sync_lists import Older, SyncEntry, SyncList
from gateway.rules.visibility import digest_of_fallback_tag
from gateway.store.retention import Retention

_LONGEST_TOLD: Final = 500  # characters of a failure or remark
MOST_TOLD: Final = 100  # failures, remarks: a list of thousands may be wrong in one place


class Kind(StrEnum):
    """What something on a list is."""

    CHART = "chart"
    IMAGE = "image"
    SIGNATURE = "signature"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted with an item; ``platforms`` are those of images, all where there is none."""

    kind: Kind
    wanted_by: str
    signatures: bool = False
    platforms: frozenset[str] = frozenset()
    dependencies: bool = False
    images: bool = False
    is_guessed: bool = False  # that there is such a tag

    @property
    def has_needs(self) -> bool:
        """Whether a chart has to be read for what else is wanted."""
        return self.kind is Kind.CHART and (self.dependencies or self.images)

    def image(self, wanted_by: str, *, is_guessed: bool) -> "Wish":
        """The same for an image that a chart names."""
        return Wish(Kind.IMAGE, wanted_by, self.signatures, self.platforms, is_guessed=is_guessed)

    def joined(self, other: "Wish") -> "Wish":
        """All that two want of the same."""
        is_all = not (self.platforms and other.platforms)
        return replace(
            self,
            signatures=self.signatures or other.signatures,
            platforms=frozenset() if is_all else self.platforms | other.platforms,
            dependencies=self.dependencies or other.dependencies,
            images=self.images or other.images,
            is_guessed=self.is_guessed and other.is_guessed,
        )


@dataclass(frozen=True, slots=True)
class SyncItem:
    """Something that a list means; ``size_bytes`` None where it is not known before it comes.

    ``wanted_by`` is the entry's repository, or what names it.
    """

    name: str
    reference: str
    kind: Kind
    wanted_by: str
    is_held: bool
    size_bytes: int | None = None

    @property
    def location(self) -> str:
        return written(self.name, self.reference)


@dataclass(frozen=True, slots=True)
class SyncFailure:
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a run would do just now. ``removals`` are what would be forgotten, as ``name:tag``."""

    name: str
    items: Sequence[SyncItem]
    removals: Sequence[str]
    remarks: Sequence[str]
    failures: Sequence[SyncFailure]

    @property
    def fetched(self) -> Sequence[SyncItem]:
        """What is not held yet."""
        return [item for item in self.items if not item.is_held]

    @property
    def size_bytes(self) -> int:
        """Of what is not held, as far as it is known."""
        return sum(item.size_bytes or 0 for item in self.fetched)


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a run came to: how many were fetched, were held, and were forgotten; what could not be had.

    Of failures and remarks ``MOST_TOLD`` are told; ``failed`` is how many there were.
    """

    name: str
    fetched: int
    held: int
    removed: int
    failed: int
    size_bytes: int
    seconds: float
    failures: Sequence[SyncFailure] = ()
    remarks: Sequence[str] = ()

    @property
    def is_failure(self) -> bool:
        return self.failed > 0


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """How far a run is: items, bytes that came or were found held, and what was done last."""

    done: int
    total: int
    size_bytes: int
    message: str = ""


@dataclass(slots=True)
class Doubts:
    """What may not be removed in this run: of names and entries that are not known well enough.

    ``entries`` are their repositories as they are written.
    """

    names: set[str] = field(default_factory=set)
    entries: set[str] = field(default_factory=set)
    are_needs_unknown: bool = False  # a chart could not be asked what it needs: it may be anything


def written(name: str, reference: str) -> str:
    return f"{name}{'@' if ':' in reference else ':'}{reference}"


def key_of(location: Location) -> tuple[str, str]:
    """How an item is known, also by those who keep it."""
    return (location.name.name, str(location.reference))


def asker_of(name: str, wanted_by: str) -> str:
    """Who wants an item, unless that is its own entry, which goes without saying."""
    return "" if wanted_by == name or "*" in wanted_by else wanted_by


def wish_of(entry: SyncEntry, kind: Kind) -> Wish:
    return Wish(
        kind,
        entry.repository.text,
        signatures=entry.signatures,
        platforms=entry.platforms,
        dependencies=entry.dependencies,
        images=entry.images,
    )


def asks_needs(entry: SyncEntry) -> bool:
    """Whether charts are read for what else is wanted."""
    return entry.dependencies or entry.images


def meant_tags(entry: SyncEntry, tags: Sequence[str]) -> Sequence[str]:
    """Those of a name's tags that an entry means, newest version first, what is no version last.

    What is no version is meant where ``tags`` allow it, and never counted by ``newest``. Of versions
    ``newest`` passes over pre-releases, as Helm does, unless ``versions`` or ``tags`` say which are meant.
    What speaks of a digest (``sha256-….sig``) comes with what it speaks of.
    """
    shown = [tag for tag in tags if digest_of_fallback_tag(tag) is None and entry.visibility.shows(tag)]
    versions = sorted(_versions(entry, shown), key=lambda one: one[0], reverse=True)
    others = [tag for tag in shown if _version(tag) is None] if entry.visibility.allow else []
    return [*(tag for _, tag in versions[: entry.newest]), *others]


def dependency_tag(wanted: str, tags: Sequence[str]) -> str | None:
    """The newest tag in a dependency's range, as Helm takes it; raise RangeError."""
    return newest_tag_in(parse_range(wanted), tags)


def by_present_names(
    kept: Sequence[Retention], leading: Mapping[Target, Sequence[str]], meant: Collection[tuple[str, str]]
) -> Sequence[Retention]:
    """What is kept, by the names that a list has by now: of one place it may have had others.

    ``leading`` are the names of the list, in order, that lead to each place.
    """

    def renamed(one: Retention) -> Retention:
        names = leading.get(one.target, ())
        fitting = (name for name in (one.name, *names) if (name, one.reference) in meant)
        other = one.name if one.name in names else next(iter(names), one.name)
        return replace(one, name=next(fitting, other))

    return [renamed(one) for one in kept]


def removals(
    wanted: SyncList, kept: Sequence[Retention], meant: Collection[tuple[str, str]], doubts: Doubts
) -> Sequence[Retention]:
    """What a list brought, means no more, and is to forget; signatures go by what they sign."""
    if doubts.are_needs_unknown:
        return []
    entries = (*wanted.charts, *wanted.images)
    gone = [one for one in kept if (one.name, one.reference) not in meant]
    return [one for one in gone if _may_go(one.name, entries, doubts)]


def doubtful_names(kept: Collection[str], meant: Mapping[str, int]) -> Sequence[str]:
    """Names of which a list keeps something, and now means nothing: rather a broken list upstream."""
    return sorted({name for name in kept if meant.get(name) == 0})


def shortened(texts: Sequence[str]) -> Sequence[str]:
    more = len(texts) - MOST_TOLD
    return texts if more <= 0 else [*texts[:MOST_TOLD], f"and {more} more"]


def bounded(report: SyncReport) -> SyncReport:
    """For a row: not every failure of thousands."""
    failures = [
        SyncFailure(one.what[:_LONGEST_TOLD], one.reason[:_LONGEST_TOLD])
        for one in report.failures[:MOST_TOLD]
    ]
    return replace(report, failures=failures, remarks=[one[:_LONGEST_TOLD] for one in report.remarks])


def _versions(entry: SyncEntry, tags: Sequence[str]) -> Iterator[tuple[Version, str]]:
    """Build metadata has no precedence, and of equal ones the first in the alphabet is the newest."""
    passes_over = entry.newest is not None and not (entry.visibility.versions or entry.visibility.allow)
    for tag in sorted(tags):
        version = _version(tag)
        if version is not None and not (passes_over and version.is_prerelease):
            yield replace(version, build=""), tag


def _version(tag: str) -> Version | None:
    return parse_version(tag.replace("_", "+"))


def _may_go(name: str, entries: Sequence[SyncEntry], doubts: Doubts) -> bool:
    """By the entries that its name could be of; what is of none goes as charts' needs do."""
    own = [entry for entry in entries if entry.repository.match(name) is not None]
    if not own and doubts.entries:  # it may be of those by another name
        return False
    deciding = own or [entry for entry in entries if asks_needs(entry)] or entries
    is_known = name not in doubts.names and doubts.entries.isdisjoint(one.repository.text for one in own)
    return is_known and all(entry.older is Older.REMOVE for entry in deciding)
