"""The admin API of what is served, pulled and met."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from gateway.activity import ActivityDesk
from gateway.activity_seen import Event, Served, Span
from gateway.event_tap import Severity
from gateway.store.activity_rows import RecentPull
from gateway.web.admin.operations import Call, Endpoint, Nothing, Operation, Reply
from gateway.web.admin.pages import iso_time

Limit = Annotated[int, msgspec.Meta(ge=1, le=200)]
Cursor = Annotated[int, msgspec.Meta(ge=1, le=999_999_999)]
Kind = Annotated[str, msgspec.Meta(max_length=64)]


class ActivityAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    span: Span = Span.HOUR


class ActivityStep(msgspec.Struct, frozen=True):
    """Outcomes that were not met are left out."""

    begins_at: str
    by_outcome: Mapping[str, int]
    sent_bytes: int


class Activity(msgspec.Struct, frozen=True):
    """Oldest step first, empty ones too. ``by_source``: of what was answered."""

    span: Span
    step_seconds: int
    total: int
    sent_bytes: int
    by_outcome: Mapping[str, int]
    by_source: Mapping[str, int]
    steps: Sequence[ActivityStep]


class PullsAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Limit = 50


class PullFacts(msgspec.Struct, frozen=True):
    """``target`` is where the name led; ``outcome`` is that of the last time."""

    name: str
    reference: str
    target: str
    outcome: str
    pulls: int
    last_at: str


class PullList(msgspec.Struct, frozen=True):
    """Newest first."""

    pulls: Sequence[PullFacts]


class EventsAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Kind = ""
    severity: Severity | None = None
    limit: Limit = 50
    after: Cursor | None = None


class EventFacts(msgspec.Struct, frozen=True):
    """``times`` it was met, from ``first_at`` to ``last_at``."""

    number: int
    kind: str
    severity: Severity
    subject: str
    detail: str
    times: int
    first_at: str
    last_at: str


class EventPage(msgspec.Struct, frozen=True):
    """Newest first; ``next`` is the ``after`` of what follows. ``kinds``: how often each was met."""

    events: Sequence[EventFacts]
    kinds: Mapping[str, int]
    next: int | None


class ActivityApi:
    def __init__(self, activity: ActivityDesk) -> None:
        self._activity = activity

    async def get_activity(self, call: Call[ActivityAsked, Nothing]) -> Reply[Activity]:
        return Reply(_activity(await self._activity.served(call.query.span)))

    async def list_newest_pulls(self, call: Call[PullsAsked, Nothing]) -> Reply[PullList]:
        return Reply(PullList([_pull(one) for one in await self._activity.newest_pulls(call.query.limit)]))

    async def list_events(self, call: Call[EventsAsked, Nothing]) -> Reply[EventPage]:
        query = call.query
        severity = "" if query.severity is None else query.severity.value
        found = await self._activity.events(query.kind, severity, query.after, query.limit + 1)
        shown = [_event(one) for one in found[: query.limit]]
        is_last = len(found) <= query.limit
        kinds = await self._activity.event_kinds()
        return Reply(EventPage(shown, kinds, None if is_last else shown[-1].number))


def operations(activity: ActivityDesk) -> list[Endpoint]:
    api = ActivityApi(activity)
    return [
        Operation(
            "GET",
            "/activity",
            "activity",
            "What was served, by outcome and source, over an hour, a day or a week",
            api.get_activity,
            query=ActivityAsked,
            body=Nothing,
            value=Activity,
        ),
        Operation(
            "GET",
            "/activity/pulls",
            "activity",
            "What was pulled last",
            api.list_newest_pulls,
            query=PullsAsked,
            body=Nothing,
            value=PullList,
        ),
        Operation(
            "GET",
            "/events",
            "events",
            "What was met that people should hear of",
            api.list_events,
            query=EventsAsked,
            body=Nothing,
            value=EventPage,
        ),
    ]


def _activity(served: Served) -> Activity:
    steps = [ActivityStep(iso_time(one.begins_at), one.by_outcome, one.sent_bytes) for one in served.rows]
    return Activity(
        served.span,
        served.step_seconds,
        served.total,
        served.sent_bytes,
        served.by_outcome,
        served.by_source,
        steps,
    )


def _pull(one: RecentPull) -> PullFacts:
    return PullFacts(one.name, one.reference, one.target, one.outcome, one.pulls, iso_time(one.last_at))


def _event(one: Event) -> EventFacts:
    first_at, last_at = iso_time(one.first_at), iso_time(one.last_at)
    return EventFacts(
        one.number, one.kind, one.severity, one.subject, one.detail, one.times, first_at, last_at
    )
