"""The admin API of mirror lists: which there are, what a run would do, and runs."""

from http import HTTPStatus
from typing import Annotated, Final

import msgspec

from gateway.access.roles import Role
from gateway.oci.errors import OciError, Situation
from gateway.sync_desk import Planned, SeenList, SyncDesk
from gateway.sync_plan import SyncFailure
from gateway.web.admin.actions_api import JobFacts, job_facts
from gateway.web.admin.operations import Call, Endpoint, Nothing, Operation, Reply
from gateway.web.admin.pages import iso_time

_MOST_ITEMS: Final = 1_000
ListName = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class SyncFailureFacts(msgspec.Struct, frozen=True):
    what: str
    reason: str


class SyncRunFacts(msgspec.Struct, frozen=True):
    """The last run of a list, and what it came to once it is over; some failures and remarks are told."""

    state: str
    actor: str
    begun_at: str
    ended_at: str | None
    fetched: int
    held: int
    removed: int
    failed: int
    size_bytes: int
    failures: list[SyncFailureFacts]
    remarks: list[str]


class SyncListFacts(msgspec.Struct, frozen=True):
    """``charts`` and ``images`` count entries, ``kept`` the tags and digests that the list keeps.

    ``every_seconds`` is null where it is brought up to date on demand alone.
    """

    name: str
    every_seconds: float | None
    charts: int
    images: int
    kept: int
    next_at: str | None
    last_run: SyncRunFacts | None


class SyncLists(msgspec.Struct, frozen=True):
    lists: list[SyncListFacts]


class SyncWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All lists where none is named."""

    names: Annotated[list[ListName], msgspec.Meta(max_length=1000)] = []


class SyncBegun(msgspec.Struct, frozen=True):
    """A job for each list."""

    jobs: list[JobFacts]


class PlanWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: ListName


class PlanQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: ListName


class PlanItemFacts(msgspec.Struct, frozen=True):
    """``size_bytes`` is null where nobody says it before it comes."""

    name: str
    reference: str
    kind: str
    wanted_by: str
    is_held: bool
    size_bytes: int | None


class PlanFacts(msgspec.Struct, frozen=True):
    """What a run would have done at ``made_at``; of very many items and removals some are told."""

    name: str
    made_at: str
    item_count: int
    fetched_count: int
    removed_count: int
    size_bytes: int
    items: list[PlanItemFacts]
    removals: list[str]
    remarks: list[str]
    failures: list[SyncFailureFacts]


def operations(sync: SyncDesk) -> list[Endpoint]:
    async def list_sync_lists(_call: Call[Nothing, Nothing]) -> Reply[SyncLists]:
        return Reply(SyncLists([_list_facts(seen) for seen in await sync.lists()]))

    async def run_sync(call: Call[Nothing, SyncWish]) -> Reply[SyncBegun]:
        jobs = await sync.run(call.body.names, call.asker.name)
        return Reply(SyncBegun([job_facts(job) for job in jobs]))

    async def make_sync_plan(call: Call[Nothing, PlanWish]) -> Reply[JobFacts]:
        return Reply(job_facts(await sync.plan(call.body.name, call.asker.name)))

    async def get_sync_plan(call: Call[PlanQuery, Nothing]) -> Reply[PlanFacts]:
        planned = sync.planned(call.query.name)
        if planned is None:
            message = f"nobody has planned {call.query.name} here yet: POST /sync/plan begins it"
            raise OciError(Situation.RESOURCE_NOT_KNOWN, message)
        return Reply(_plan_facts(planned))

    accepted, editor, unknown = HTTPStatus.ACCEPTED, Role.EDITOR, (Situation.RESOURCE_NOT_KNOWN,)
    return [
        Operation(
            "GET", "/sync", "sync", "Mirror lists, and how their last runs went", list_sync_lists,
            query=Nothing, body=Nothing, value=SyncLists,
        ),
        Operation(
            "POST", "/sync", "sync", "Bring mirror lists up to date", run_sync,
            query=Nothing, body=SyncWish, value=SyncBegun, role=editor, status=accepted, refusals=unknown,
        ),
        Operation(
            "POST", "/sync/plan", "sync", "Find out what a run of a mirror list would do", make_sync_plan,
            query=Nothing, body=PlanWish, value=JobFacts, role=editor, status=accepted, refusals=unknown,
        ),
        Operation(
            "GET", "/sync/plan", "sync", "What a run of a mirror list would do", get_sync_plan,
            query=PlanQuery, body=Nothing, value=PlanFacts, refusals=unknown,
        ),
    ]  # fmt: skip


def _list_facts(seen: SeenList) -> SyncListFacts:
    wanted, run = seen.wanted, seen.run
    return SyncListFacts(
        wanted.name,
        wanted.every_seconds,
        len(wanted.charts),
        len(wanted.images),
        seen.kept,
        _time(None if run is None else run.next_at),
        _run_facts(seen),
    )


def _run_facts(seen: SeenList) -> SyncRunFacts | None:
    run, report = seen.run, seen.report
    if run is None:
        return None
    return SyncRunFacts(
        run.state,
        run.actor,
        iso_time(run.begun_at),
        _time(run.ended_at),
        report.fetched if report else 0,
        report.held if report else 0,
        report.removed if report else 0,
        report.failed if report else 0,
        report.size_bytes if report else 0,
        [_failure_facts(one) for one in report.failures] if report else [],
        list(report.remarks) if report else [],
    )


def _plan_facts(planned: Planned) -> PlanFacts:
    plan = planned.plan
    items = [
        PlanItemFacts(one.name, one.reference, one.kind.value, one.wanted_by, one.is_held, one.size_bytes)
        for one in plan.items[:_MOST_ITEMS]
    ]
    return PlanFacts(
        plan.name,
        iso_time(planned.made_at),
        len(plan.items),
        len(plan.fetched),
        len(plan.removals),
        plan.size_bytes,
        items,
        list(plan.removals[:_MOST_ITEMS]),
        list(plan.remarks),
        [_failure_facts(one) for one in plan.failures],
    )


def _failure_facts(failure: SyncFailure) -> SyncFailureFacts:
    return SyncFailureFacts(failure.what, failure.reason)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else iso_time(seconds)
