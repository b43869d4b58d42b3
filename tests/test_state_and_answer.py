"""The table of cache semantics: what a client gets, by what is held and by what upstream answers.

A is what was pulled before, B what upstream has by now; an error is told by its code. Each cell is a test.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.oci.errors import OciError
from gateway.oci.outcomes import Corrupt, Denied, Missing, MissingName, Outcome, Unavailable, UnknownHost
from gateway.oci.reference import Tag
from gateway.pulled import Pulled
from gateway.rules.model import Deleted, Drift, Policy, SourceName
from gateway.rules.route import Wanted
from gateway.sources.base import Comparable
from gateway.store.blobs import MemoryBlobs
from gateway.waiting import Deadlines
from tests.fakes.source import FakeSource, image_of, layer_of
from tests.pull_house import DEMO, QUICK, House, house

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("on_both_databases")]

DAY, FRESH, STALE = 86_400.0, 300.0, 600.0
DEFAULTS = Policy()

# One row a state, one column an answer.
TABLE = """
                    same    other   missing          no-name          no-host        denied  down         limited          corrupt  silent
nothing             miss:A  miss:B  MANIFEST_UNKNOWN NAME_UNKNOWN     NAME_UNKNOWN   DENIED  UNAVAILABLE  TOOMANYREQUESTS  UNKNOWN  UNAVAILABLE
chart-fresh         hit:A   hit:A   hit:A            hit:A            hit:A          hit:A   hit:A        hit:A            hit:A    hit:A
chart-just-stale    stale:A stale:A stale:A          stale:A          stale:A        stale:A stale:A      stale:A          stale:A  stale:A
chart-stale         hit:A   hit:A   stale:A          stale:A          stale:A        stale:A stale:A      stale:A          stale:A  stale:A
chart-long-stale    hit:A   hit:A   stale:A          stale:A          stale:A        stale:A stale:A      stale:A          stale:A  stale:A
chart-follow        hit:A   hit:B   stale:A          stale:A          stale:A        stale:A stale:A      stale:A          stale:A  stale:A
chart-drop          hit:A   hit:A   MANIFEST_UNKNOWN NAME_UNKNOWN     stale:A        stale:A stale:A      stale:A          stale:A  stale:A
chart-set-back      hit:A   hit:A   stale:A          stale:A          stale:A        stale:A stale:A      stale:A          stale:A  stale:A
image-fresh         hit:A   hit:A   hit:A            hit:A            hit:A          hit:A   hit:A        hit:A            hit:A    hit:A
image-just-stale    stale:A stale:A stale:A          stale:A          stale:A        stale:A stale:A      stale:A          stale:A  stale:A
image-stale         hit:A   hit:B   stale:A          stale:A          stale:A        stale:A stale:A      stale:A          stale:A  stale:A
image-expired       hit:A   hit:B   MANIFEST_UNKNOWN NAME_UNKNOWN     NAME_UNKNOWN   DENIED  UNAVAILABLE  TOOMANYREQUESTS  UNKNOWN  UNAVAILABLE
image-drop          hit:A   hit:B   MANIFEST_UNKNOWN NAME_UNKNOWN     stale:A        stale:A stale:A      stale:A          stale:A  stale:A
registry-chart      hit:A   hit:A   stale:A          stale:A          stale:A        stale:A stale:A      stale:A          stale:A  stale:A
registry-follow     hit:A   hit:B   stale:A          stale:A          stale:A        stale:A stale:A      stale:A          stale:A  stale:A
troubled            stale:A stale:A stale:A          stale:A          stale:A        stale:A stale:A      stale:A          stale:A  stale:A
offline-held        hit:A   hit:A   hit:A            hit:A            hit:A          hit:A   hit:A        hit:A            hit:A    hit:A
offline-nothing     MANIFEST_UNKNOWN MANIFEST_UNKNOWN MANIFEST_UNKNOWN MANIFEST_UNKNOWN MANIFEST_UNKNOWN MANIFEST_UNKNOWN MANIFEST_UNKNOWN MANIFEST_UNKNOWN MANIFEST_UNKNOWN MANIFEST_UNKNOWN
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class State:
    """``kind`` of source and artifact, and how long ago it was pulled; None: never."""

    kind: str
    age_seconds: float | None
    policy: Policy = DEFAULTS
    offline: str = ""
    troubled: str = ""


STATES = {
    "nothing": State("chart", None),
    "chart-fresh": State("chart", DAY - 1),
    "chart-just-stale": State("chart", DAY),
    "chart-stale": State("chart", DAY + FRESH),
    "chart-long-stale": State("chart", 1000 * DAY, Policy(stale_for_seconds=0)),  # exact ones never expire
    "chart-follow": State("chart", DAY + FRESH, Policy(drift=Drift.FOLLOW)),
    "chart-drop": State("chart", DAY + FRESH, Policy(deleted=Deleted.DROP)),
    "chart-set-back": State("chart", -1),
    "image-fresh": State("image", FRESH - 1),
    "image-just-stale": State("image", FRESH),
    "image-stale": State("image", 2 * FRESH),
    "image-expired": State("image", FRESH + STALE, Policy(stale_for_seconds=STALE)),
    "image-drop": State("image", 2 * FRESH, Policy(deleted=Deleted.DROP)),
    "registry-chart": State("registry chart", DAY + FRESH),
    "registry-follow": State("registry chart", DAY + FRESH, Policy(drift=Drift.FOLLOW)),
    "troubled": State("chart", DAY + FRESH, troubled="yes"),
    "offline-held": State("chart", 1000 * DAY, offline="yes"),
    "offline-nothing": State("chart", None, offline="yes"),
}

FAILURES: dict[str, Outcome] = {
    "missing": Missing("no such version"),
    "no-name": MissingName("no such name"),
    "no-host": UnknownHost("no such host"),
    "denied": Denied("not you"),
    "down": Unavailable("down"),
    "limited": Unavailable("slow down", 9, is_rate_limited=True),
    "corrupt": Corrupt("wrong bytes"),
}
A, B = layer_of("1.0.0"), layer_of("1.0.0", "other")


def _cells() -> Iterator[tuple[str, str, str]]:
    head, *rows = TABLE.strip("\n").splitlines()
    for row in rows:
        state, *cells = row.split()
        assert len(cells) == len(head.split())
        yield from ((state, answer, cell) for answer, cell in zip(head.split(), cells, strict=True))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("state", "answer", "told"), [pytest.param(*one, id="-".join(one)) for one in _cells()]
)
async def test_state_and_answer(state: str, answer: str, told: str, tmp_path: Path) -> None:
    given = STATES[state]
    async with house(tmp_path, only=_source(given.kind), policy=given.policy) as before:
        if given.age_seconds is not None:
            await before.pull()
        before.clock.advance(given.age_seconds or 0)
    deadlines = QUICK if answer == "silent" else Deadlines()
    async with house(
        tmp_path, before=before, offline=given.offline, policy=given.policy, deadlines=deadlines
    ) as at:
        at.source.troubled = given.troubled
        _answer(at, answer)
        assert await _told(at) == told
        if given.offline:
            assert at.source.asked == (["1.0.0"] if given.age_seconds is not None else [])


def test_the_table_has_every_state_and_every_answer() -> None:
    cells = list(_cells())
    assert {state for state, _, _ in cells} == set(STATES)
    assert {answer for _, answer, _ in cells} == {"same", "other", "silent", *FAILURES}


def test_the_page_shows_this_table() -> None:
    page = (Path(__file__).parent.parent / "docs/cache.md").read_text("utf-8")
    assert TABLE.strip("\n") in page
    rows = {name for name in STATES if name in page}
    assert rows == set(STATES)


def _source(kind: str) -> FakeSource:
    blobs = MemoryBlobs()
    if kind == "chart":
        return FakeSource(blobs, {"1.0.0": A})
    source = FakeSource(blobs, {"1.0.0": A}, SourceName.REGISTRY, Comparable.MANIFEST)
    if kind == "image":
        source.builds = image_of
    return source


def _answer(at: House, answer: str) -> None:
    if answer == "other":
        at.source.layers["1.0.0"] = B
    elif answer == "silent":
        at.source.gate = asyncio.Event()
    elif answer != "same":
        at.source.failure = FAILURES[answer]


async def _told(at: House) -> str:
    try:
        pulled: Pulled = await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))
    except OciError as error:
        return error.code.value
    content = {at.source.builds(A).digest: "A", at.source.builds(B).digest: "B"}[pulled.manifest.digest]
    return f"{pulled.cache.value}:{content}"
