"""What wants somebody's attention: worst first, each with the page where more is said."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.activity_seen import Event, StorageUse, UpstreamHealth, UpstreamState
from gateway.event_tap import Severity
from gateway.web.admin.pages import shown_size, with_query

_DAY_SECONDS = 24 * 3600.0
_NEARLY_FULL = 0.95


@dataclass(frozen=True, slots=True)
class Matter:
    """``look`` is ``bad`` or ``warn``; ``link`` names the page at ``path``."""

    look: str
    heading: str
    detail: str
    path: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What tells of trouble. ``has_editor_token``: whoever is signed in can sign in again."""

    rules_trouble: str | None
    has_editor_token: bool
    storage: StorageUse
    upstreams: Iterable[UpstreamState]
    events: Iterable[Event]


def matters(signs: Signs, now: float) -> Sequence[Matter]:
    """Of events those of the last day that are no mere information."""
    found = [
        *_of_rules(signs.rules_trouble),
        *_of_storage(signs.storage),
        *_of_sign_in(signs),
        *_of_upstreams(signs.upstreams),
        *_of_events(signs.events, signs.storage, now),
    ]
    return sorted(found, key=lambda one: one.look != "bad")


def _of_rules(trouble: str | None) -> Iterator[Matter]:
    if trouble is not None:
        heading = "Newer rules are not in force"
        yield Matter("bad", heading, trouble, "/admin/rules", "To the rules")


def _of_storage(storage: StorageUse) -> Iterator[Matter]:
    for condition, trouble in sorted(storage.troubles.items()):
        name = condition.replace("_", " ").capitalize()
        yield Matter("bad", name, trouble.means, "/admin/storage", "To the storage")
    if "disk_full" not in storage.troubles and _is_nearly_full(storage):
        left = f"{shown_size(storage.disk_free_bytes)} of {shown_size(storage.disk_total_bytes)} are free."
        yield Matter("warn", "The disk is nearly full", left, "/admin/storage", "To the storage")


def _is_nearly_full(storage: StorageUse) -> bool:
    used_bytes = storage.disk_total_bytes - storage.disk_free_bytes
    return storage.disk_total_bytes > 0 and used_bytes >= _NEARLY_FULL * storage.disk_total_bytes


def _of_sign_in(signs: Signs) -> Iterator[Matter]:
    if not signs.has_editor_token:
        detail = "No editor has a token: once sessions end, it takes `gateway token create` to get in."
        yield Matter("warn", "Make a token", detail, "/admin/access", "To the tokens")


def _of_upstreams(upstreams: Iterable[UpstreamState]) -> Iterator[Matter]:
    """A host is told once, though its registry and its files are asked apart."""
    told: set[str] = set()
    for one in upstreams:
        name = one.keys[0] if one.keys else one.host
        if one.state in (UpstreamHealth.PAUSED, UpstreamHealth.FAILING) and name not in told:
            told.add(name)
            heading = f"{name} is {one.state}"
            detail = one.last_error or "It is asked again after a pause; what is held is served."
            path = with_query("/admin/upstreams", query=one.origin)
            yield Matter("warn", heading, detail, path, "To the upstream")


def _of_events(events: Iterable[Event], storage: StorageUse, now: float) -> Iterator[Matter]:
    """One matter a kind, told by its newest event; troubles that go on are told of by the storage."""
    by_kind: dict[str, list[Event]] = {}
    for event in events:
        goes_on = event.kind == "trouble" and event.subject in storage.troubles
        if event.severity is not Severity.INFO and now - event.last_at <= _DAY_SECONDS and not goes_on:
            by_kind.setdefault(event.kind, []).append(event)
    for kind, of_kind in by_kind.items():
        newest = max(of_kind, key=lambda one: one.last_at)
        times = sum(event.times for event in of_kind)
        heading = f"{kind.replace('_', ' ').capitalize()}: {times:,} in the last day"
        look = "bad" if newest.severity is Severity.ERROR else "warn"
        path = with_query("/admin/events", kind=kind)
        yield Matter(look, heading, f"{newest.subject}: {newest.detail}", path, "To the events")
