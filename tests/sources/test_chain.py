"""Sources in turn: who is asked after whom, and what several failures come to."""

from collections.abc import Sequence

import pytest

from gateway.oci.outcomes import (
    Corrupt,
    Denied,
    Missing,
    MissingName,
    Outcome,
    Skipped,
    Unavailable,
    UnknownHost,
)
from gateway.oci.target import Target
from gateway.rules.model import SourceName
from gateway.sources.base import Source
from gateway.sources.chain import ask_in_turn
from gateway.store.blobs import MemoryBlobs
from tests.fakes.source import FakeSource

pytestmark = pytest.mark.anyio

REGISTRY, CHARTPROXY, HELM = SourceName.REGISTRY, SourceName.CHARTPROXY, SourceName.HELM
CHAIN = (REGISTRY, CHARTPROXY, HELM)
TARGET = Target.parse("charts.example.test/demo")
Answers = dict[SourceName, Outcome | str]


class Asked:
    """Asks each source for what a test says it has, and notes who was asked."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.names: list[str] = []

    async def __call__(self, source: Source) -> str:
        self.names.append(source.name.value)
        answer = self.answers[source.name]
        if isinstance(answer, Outcome):
            raise answer
        return answer


async def ask(asked: Asked, chain: Sequence[SourceName] = CHAIN) -> str:
    sources = [FakeSource(MemoryBlobs(), name=name) for name in chain]
    return await ask_in_turn(TARGET, sources, asked)


async def outcome_of(answers: Answers, chain: Sequence[SourceName] = CHAIN) -> Outcome:
    with pytest.raises(Outcome) as caught:
        await ask(Asked(answers), chain)
    return caught.value


async def test_the_first_answer_is_the_answer_and_nobody_else_is_asked() -> None:
    asked = Asked({REGISTRY: Missing("no"), CHARTPROXY: "yes", HELM: "too"})
    assert (await ask(asked), asked.names) == ("yes", ["registry", "chartproxy"])


@pytest.mark.parametrize(
    "failure",
    [
        Missing("no"),
        MissingName("no"),
        UnknownHost("no"),
        Unavailable("down"),
        Unavailable("slow down", 9, is_rate_limited=True),
        Skipped("not for us"),
    ],
)
async def test_what_is_not_there_or_down_moves_on(failure: Outcome) -> None:
    asked = Asked({REGISTRY: failure, CHARTPROXY: failure, HELM: "yes"})
    assert (await ask(asked), asked.names) == ("yes", ["registry", "chartproxy", "helm"])


@pytest.mark.parametrize(
    "failure", [Corrupt("wrong", "digest_mismatch"), Denied("no"), UnknownHost("no", is_refused=True)]
)
async def test_wrong_bytes_a_refusal_and_a_host_that_is_not_dialled_end_it(failure: Outcome) -> None:
    asked = Asked({REGISTRY: Missing("no"), CHARTPROXY: failure, HELM: "yes"})
    with pytest.raises(type(failure)) as caught:
        await ask(asked)
    assert asked.names == ["registry", "chartproxy"]
    assert isinstance(caught.value, UnknownHost) or caught.value.message.endswith(
        f"chartproxy: {failure.message}"
    )


async def test_a_helm_index_without_the_version_knows_better_than_who_comes_after_it() -> None:
    asked = Asked({HELM: Missing("no such version"), REGISTRY: "yes"})
    with pytest.raises(Missing, match="no such version"):
        await ask(asked, [HELM, REGISTRY])
    assert asked.names == ["helm"]


async def test_a_helm_repository_that_is_not_there_knows_nothing() -> None:
    assert await ask(Asked({HELM: MissingName("no index"), REGISTRY: "yes"}), [HELM, REGISTRY]) == "yes"


@pytest.mark.parametrize(
    ("registry", "proxy", "helm", "expected"),
    [
        (Unavailable("1"), Missing("2"), MissingName("3"), Unavailable),
        (Missing("1"), Missing("2"), Unavailable("3"), Unavailable),
        (MissingName("1"), Unavailable("2"), MissingName("3"), MissingName),  # it speaks for the same index
        (Unavailable("1"), Unavailable("2"), Missing("3"), Missing),  # the index is there, and knows
        (MissingName("1"), Missing("2"), MissingName("3"), Missing),
        (MissingName("1"), MissingName("2"), MissingName("3"), MissingName),
        (UnknownHost("1"), MissingName("2"), MissingName("3"), UnknownHost),
        (UnknownHost("1"), Unavailable("2"), UnknownHost("3"), UnknownHost),
        (Skipped("1"), Skipped("2"), Skipped("3"), Unavailable),
        (Skipped("1"), Skipped("2"), MissingName("3"), MissingName),
    ],
)
async def test_what_several_failures_come_to(
    registry: Outcome, proxy: Outcome, helm: Outcome, expected: type[Outcome]
) -> None:
    assert type(await outcome_of({REGISTRY: registry, CHARTPROXY: proxy, HELM: helm})) is expected


async def test_all_that_was_tried_is_told() -> None:
    outcome = await outcome_of(
        {REGISTRY: Missing("404"), CHARTPROXY: Unavailable("timed out"), HELM: Unavailable("refused")}
    )
    told = ("registry: 404", "chartproxy: timed out", "helm: refused")
    assert (outcome.tried, outcome.message) == (told, "; ".join(told))


async def test_one_failure_alone_keeps_its_own_words() -> None:
    outcome = await outcome_of({REGISTRY: Missing("no such tag")}, [REGISTRY])
    assert (outcome.message, outcome.tried) == ("no such tag", ())


async def test_what_is_said_of_an_unknown_host_is_the_same_whoever_says_it() -> None:
    outcome = await outcome_of(
        {REGISTRY: UnknownHost("not known"), CHARTPROXY: Missing("404"), HELM: MissingName("404")}
    )
    assert (outcome.message, outcome.tried) == ("not known", ())


@pytest.mark.parametrize(
    ("waits", "expected"), [((9, 7), 7), ((None, 7), 7), ((9, None), 9), ((None, None), None)]
)
async def test_of_several_outages_the_shortest_wait_is_told(
    waits: tuple[int | None, int | None], expected: int | None
) -> None:
    first, second = (Unavailable("down", wait) for wait in waits)
    outcome = await outcome_of({REGISTRY: first, HELM: second}, [REGISTRY, HELM])
    assert isinstance(outcome, Unavailable)
    assert outcome.retry_after_seconds == expected


@pytest.mark.parametrize(
    ("limited", "expected"), [((True, True), True), ((True, False), False), ((False, False), False)]
)
async def test_only_where_all_limit_us_it_is_a_limit(limited: tuple[bool, bool], expected: bool) -> None:
    first, second = (Unavailable("busy", is_rate_limited=is_limited) for is_limited in limited)
    outcome = await outcome_of({REGISTRY: first, HELM: second}, [REGISTRY, HELM])
    assert isinstance(outcome, Unavailable)
    assert outcome.is_rate_limited is expected


async def test_the_outcome_that_came_is_not_changed() -> None:
    came = Missing("404")
    for _ in range(2):
        outcome = await outcome_of({REGISTRY: came, HELM: MissingName("no index")}, [REGISTRY, HELM])
        assert outcome.message == "registry: 404; helm: no index"
    assert (came.message, came.tried) == ("404", ())


async def test_without_a_source_it_is_an_outage() -> None:
    assert type(await outcome_of({}, [])) is Unavailable


async def test_what_is_no_outcome_is_not_ours_to_judge() -> None:
    async def fail(_source: Source) -> str:
        raise OSError("our own fault")

    with pytest.raises(OSError, match="our own fault"):
        await ask_in_turn(TARGET, [FakeSource(MemoryBlobs())], fail)
