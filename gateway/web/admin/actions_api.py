"""The admin API of what can be done with what is held: refresh, purge, pin, pull now; and the jobs of it."""

from http import HTTPStatus
from typing import Annotated

import msgspec

from gateway.access.roles import Role
from gateway.actions import Actions
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import parse_location
from gateway.oci.target import Target
from gateway.pull_whole import MOST_REFERENCES
from gateway.store.job_book import Job, JobState
from gateway.store.pins import Pin
from gateway.store.purge_rows import Purge
from gateway.web.admin.operations import Call, Endpoint, Nothing, NumberCursor, Operation, Reply
from gateway.web.admin.pages import iso_time

_REFUSED = (
    Situation.NAME_BREAKS_GRAMMAR,
    Situation.NAME_NOT_KNOWN,
    Situation.MANIFEST_NOT_KNOWN,
    Situation.DIGEST_MALFORMED,
)
Reference = Annotated[
    str, msgspec.Meta(min_length=1, max_length=600, description="name:tag or name@digest, oci:// may lead")
]
Limit = Annotated[int, msgspec.Meta(ge=1, le=200)]


class Refresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``reference`` without a tag: the lists, and all that is held of the name."""

    reference: Reference


class PurgeWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``all_tags`` forgets all of a name; ``target`` does it at one target alone."""

    reference: Reference
    target: Annotated[str, msgspec.Meta(max_length=255)] = ""
    all_tags: bool = False
    unpin: bool = False
    dry_run: bool = False


class PinWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reference: Reference


class PullWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``platforms`` of images, such as linux/arm64; all where none is given."""

    references: Annotated[list[Reference], msgspec.Meta(min_length=1, max_length=MOST_REFERENCES)]
    platforms: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=60)]], msgspec.Meta(max_length=20)
    ] = []


class GcWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dry_run: bool = False


class ScrubWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fetch_missing: bool = False


class PurgedTagFacts(msgspec.Struct, frozen=True):
    target: str
    tag: str
    variant: str
    digest: str


class PinFacts(msgspec.Struct, frozen=True):
    name: str
    reference: str
    target: str
    made_at: str


class PurgeFacts(msgspec.Struct, frozen=True):
    """What was forgotten, or would be; of very many tags some. ``refused``: a pin is in the way.

    ``blob_bytes`` are set aside, and leave the disk an hour later. ``names`` lead to what was forgotten.
    """

    dry_run: bool
    refused: bool
    tag_count: int
    tags: list[PurgedTagFacts]
    manifests: int
    blobs: int
    blob_bytes: int
    pinned: list[PinFacts]
    names: list[str]


class PinDone(msgspec.Struct, frozen=True):
    """``changed`` is false where it was so already."""

    reference: str
    changed: bool


class PinPage(msgspec.Struct, frozen=True):
    pins: list[PinFacts]
    next: str | None


class PinQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Limit = 50
    after: Annotated[str, msgspec.Meta(max_length=700)] = ""


class JobFacts(msgspec.Struct, frozen=True):
    """``total`` is 0 where it is not known; ``message`` tells how far it is, or what it came to."""

    number: int
    kind: str
    subject: str
    actor: str
    state: JobState
    done: int
    total: int
    message: str
    begun_at: str
    ended_at: str | None


class JobPage(msgspec.Struct, frozen=True):
    jobs: list[JobFacts]
    next: str | None


class JobQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    state: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(JobState)}|)$")] = ""
    limit: Limit = 50
    after: NumberCursor = ""


_MOST_TAGS = 500


def operations(actions: Actions) -> list[Endpoint]:
    """Those of the groups actions, pins, jobs and storage."""
    return [*_actions(actions), *_pins(actions), *_jobs(actions), *_storage(actions)]


def _actions(actions: Actions) -> list[Endpoint]:
    async def refresh(call: Call[Nothing, Refresh]) -> Reply[JobFacts]:
        location = parse_location(call.body.reference, actions.own_hosts)
        return Reply(job_facts(await actions.refresh(location, call.asker.name)))

    async def purge(call: Call[Nothing, PurgeWish]) -> Reply[PurgeFacts]:
        wish = call.body
        location = parse_location(wish.reference, actions.own_hosts)
        target = Target.parse(wish.target) if wish.target else None
        doom = await actions.purger.doom(location, target, is_whole=wish.all_tags, unpins=wish.unpin)
        if wish.dry_run:
            return Reply(_purge_facts(await actions.purger.foretell(doom), is_dry=True))
        return Reply(_purge_facts(await actions.purge(location, doom, call.asker.name), is_dry=False))

    async def pull_now(call: Call[Nothing, PullWish]) -> Reply[JobFacts]:
        wanted = [parse_location(text, actions.own_hosts) for text in call.body.references]
        platforms = frozenset(call.body.platforms)
        job = await actions.pull(list(dict.fromkeys(wanted)), platforms, call.asker.name)
        return Reply(job_facts(job))

    accepted, editor = HTTPStatus.ACCEPTED, Role.EDITOR
    return [
        Operation(
            "POST", "/actions/refresh", "actions", "Ask upstream now", refresh,
            query=Nothing, body=Refresh, value=JobFacts, role=editor, status=accepted, refusals=_REFUSED,
        ),
        Operation(
            "POST", "/actions/purge", "actions", "Forget what is held, or tell what would be", purge,
            query=Nothing, body=PurgeWish, value=PurgeFacts, role=editor,
            refusals=(*_REFUSED, Situation.CONFLICT),
        ),
        Operation(
            "POST", "/actions/pull", "actions", "Pull references with all their parts", pull_now,
            query=Nothing, body=PullWish, value=JobFacts, role=editor, status=accepted, refusals=_REFUSED,
        ),
    ]  # fmt: skip


def _pins(actions: Actions) -> list[Endpoint]:
    async def pin(call: Call[Nothing, PinWish]) -> Reply[PinDone]:
        location = parse_location(call.body.reference, actions.own_hosts)
        return Reply(PinDone(str(location), await actions.pin(location, call.asker.name)))

    async def unpin(call: Call[Nothing, PinWish]) -> Reply[PinDone]:
        location = parse_location(call.body.reference, actions.own_hosts)
        return Reply(PinDone(str(location), await actions.unpin(location, call.asker.name)))

    async def list_pins(call: Call[PinQuery, Nothing]) -> Reply[PinPage]:
        rest = [one for one in await actions.pinned() if _pin_key(one) > call.query.after]
        page = sorted(rest, key=_pin_key)[: call.query.limit]
        after = _pin_key(page[-1]) if len(rest) > len(page) else None
        return Reply(PinPage([_pin_facts(one) for one in page], after))

    return [
        Operation(
            "POST", "/actions/pin", "actions", "Keep it whatever the quota says", pin,
            query=Nothing, body=PinWish, value=PinDone, role=Role.EDITOR, refusals=_REFUSED,
        ),
        Operation(
            "POST", "/actions/unpin", "actions", "Let it be evicted again", unpin,
            query=Nothing, body=PinWish, value=PinDone, role=Role.EDITOR, refusals=_REFUSED,
        ),
        Operation(
            "GET", "/pins", "catalog", "What is pinned", list_pins,
            query=PinQuery, body=Nothing, value=PinPage,
        ),
    ]  # fmt: skip


def _jobs(actions: Actions) -> list[Endpoint]:
    async def list_jobs(call: Call[JobQuery, Nothing]) -> Reply[JobPage]:
        query = call.query
        before = int(query.after) if query.after else None
        found = await actions.jobs.list(query.state, before, query.limit + 1)
        shown = found[: query.limit]
        after = str(shown[-1].number) if len(found) > query.limit else None
        return Reply(JobPage([job_facts(job) for job in shown], after))

    async def get_job(call: Call[Nothing, Nothing]) -> Reply[JobFacts]:
        return Reply(job_facts(await actions.jobs.find(call.number("number"))))

    async def cancel_job(call: Call[Nothing, Nothing]) -> Reply[JobFacts]:
        number = call.number("number")
        job = await actions.jobs.find(number)
        if not await actions.jobs.cancel(number):
            where = "is over" if job.state.is_over else "runs in another process, and is cancelled there"
            raise OciError(Situation.CONFLICT, f"job {number} {where}")
        return Reply(job_facts(await actions.jobs.find(number)))

    return [
        Operation(
            "GET", "/jobs", "jobs", "Jobs, newest first", list_jobs,
            query=JobQuery, body=Nothing, value=JobPage,
        ),
        Operation(
            "GET", "/jobs/{number}", "jobs", "One job", get_job,
            query=Nothing, body=Nothing, value=JobFacts, refusals=(Situation.RESOURCE_NOT_KNOWN,),
        ),
        Operation(
            "POST", "/jobs/{number}/cancel", "jobs", "End a job", cancel_job,
            query=Nothing, body=Nothing, value=JobFacts, role=Role.EDITOR,
            refusals=(Situation.RESOURCE_NOT_KNOWN, Situation.CONFLICT),
        ),
    ]  # fmt: skip


def _storage(actions: Actions) -> list[Endpoint]:
    async def collect_garbage(call: Call[Nothing, GcWish]) -> Reply[JobFacts]:
        return Reply(job_facts(await actions.collect_garbage(call.asker.name, is_dry=call.body.dry_run)))

    async def scrub(call: Call[Nothing, ScrubWish]) -> Reply[JobFacts]:
        job = await actions.scrub(call.asker.name, fetches_missing=call.body.fetch_missing)
        return Reply(job_facts(job))

    accepted, editor = HTTPStatus.ACCEPTED, Role.EDITOR
    return [
        Operation(
            "POST", "/storage/gc", "storage", "Evict down to the quota", collect_garbage,
            query=Nothing, body=GcWish, value=JobFacts, role=editor, status=accepted,
        ),
        Operation(
            "POST", "/storage/scrub", "storage", "Hash all that is stored", scrub,
            query=Nothing, body=ScrubWish, value=JobFacts, role=editor, status=accepted,
        ),
    ]  # fmt: skip


def job_facts(job: Job) -> JobFacts:
    return JobFacts(
        job.number,
        job.kind,
        job.subject,
        job.actor,
        job.state,
        job.done,
        job.total,
        job.message,
        iso_time(job.begun_at),
        None if job.ended_at is None else iso_time(job.ended_at),
    )


def _purge_facts(purge: Purge, *, is_dry: bool) -> PurgeFacts:
    tags = [PurgedTagFacts(str(one.target), one.tag, one.variant, str(one.digest)) for one in purge.tags]
    return PurgeFacts(
        is_dry,
        purge.is_refused,
        len(tags),
        tags[:_MOST_TAGS],
        len(purge.manifests),
        len(purge.blobs),
        sum(size_bytes for _, size_bytes in purge.blobs),
        [_pin_facts(pin) for pin in purge.pinned],
        list(purge.names),
    )


def _pin_facts(pin: Pin) -> PinFacts:
    return PinFacts(pin.name, pin.reference, str(pin.target), iso_time(pin.made_at))


def _pin_key(pin: Pin) -> str:
    return f"{pin.name} {pin.reference} {pin.target}"
