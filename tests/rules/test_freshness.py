"""What becomes of something held as time goes by: the whole table, and its edges."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.freshness import Standing, in_force, standing
from gateway.rules.model import Policy, SourceName

FRESH, STALE_FOR, RECHECK = 300.0, 3600.0, 86_400.0
POLICY = Policy(stale_for_seconds=STALE_FOR)
CONFIRMED_AT = 1_700_000_000.0


def after(age_seconds: float, policy: Policy = POLICY, *, is_exact: bool = False) -> Standing:
    return standing(policy, CONFIRMED_AT, CONFIRMED_AT + age_seconds, is_exact=is_exact)


@pytest.mark.parametrize(
    ("age_seconds", "expected"),
    [
        (0, Standing.FRESH),
        (FRESH - 1, Standing.FRESH),
        (FRESH, Standing.JUST_STALE),
        (2 * FRESH - 1, Standing.JUST_STALE),
        (2 * FRESH, Standing.STALE),
        (FRESH + STALE_FOR - 1, Standing.STALE),
        (FRESH + STALE_FOR, Standing.EXPIRED),
        (1e12, Standing.EXPIRED),
        (-1, Standing.STALE),
        (-1e12, Standing.STALE),
    ],
)
def test_what_moves_is_fresh_then_asked_behind_then_asked_first_then_gone(
    age_seconds: float, expected: Standing
) -> None:
    assert after(age_seconds) is expected


@pytest.mark.parametrize(
    ("age_seconds", "expected"),
    [
        (0, Standing.FRESH),
        (RECHECK - 1, Standing.FRESH),
        (RECHECK, Standing.JUST_STALE),
        (RECHECK + FRESH - 1, Standing.JUST_STALE),
        (RECHECK + FRESH, Standing.STALE),
        (RECHECK + STALE_FOR, Standing.STALE),
        (1e12, Standing.STALE),
        (-1, Standing.STALE),
    ],
)
def test_an_exact_version_is_fresh_for_longer_and_never_gone(age_seconds: float, expected: Standing) -> None:
    assert after(age_seconds, is_exact=True) is expected


def test_by_default_nothing_is_ever_gone() -> None:
    assert after(1e15, Policy()) is Standing.STALE


def test_what_is_never_fresh_is_asked_about_each_time() -> None:
    assert after(0, Policy(fresh_for_seconds=0)) is Standing.STALE
    assert after(0, Policy(fresh_for_seconds=0, recheck_for_seconds=0), is_exact=True) is Standing.STALE


def test_what_may_not_be_stale_is_gone_once_it_is_no_longer_fresh() -> None:
    policy = Policy(stale_for_seconds=0)
    assert after(FRESH - 1, policy) is Standing.FRESH
    assert after(FRESH, policy) is Standing.EXPIRED
    assert after(RECHECK, policy, is_exact=True) is Standing.JUST_STALE


def test_what_is_fresh_for_ever_is() -> None:
    assert after(1e15, Policy(fresh_for_seconds=math.inf)) is Standing.FRESH


def test_what_will_be_confirmed_tomorrow_is_no_confirmation_and_still_better_than_nothing() -> None:
    assert after(-1, Policy(stale_for_seconds=0)) is Standing.STALE


_ORDER = [Standing.FRESH, Standing.JUST_STALE, Standing.STALE, Standing.EXPIRED]
_SECONDS = st.floats(0, 1e6)


@given(fresh=_SECONDS, stale=_SECONDS, ages=st.lists(st.floats(0, 1e7), min_size=2), is_exact=st.booleans())
def test_with_time_it_only_ever_gets_worse(
    fresh: float, stale: float, ages: list[float], is_exact: bool
) -> None:
    policy = Policy(fresh_for_seconds=fresh, recheck_for_seconds=2 * fresh, stale_for_seconds=stale)
    steps = [_ORDER.index(standing(policy, 0.0, age, is_exact=is_exact)) for age in sorted(ages)]
    assert steps == sorted(steps)


@dataclass(frozen=True)
class Said:
    source: str
    confirmed_at: float


CHAIN = (SourceName.REGISTRY, SourceName.CHARTPROXY, SourceName.HELM)


@pytest.mark.parametrize(
    ("rows", "source"),
    [
        ([("helm", 9.0), ("registry", 8.0)], "registry"),
        ([("helm", 9.0), ("chartproxy", 8.0)], "chartproxy"),
        ([("another", 9.0), ("helm", 8.0)], "helm"),
        ([("registry", 1.0), ("helm", 2.0)], "helm"),
        ([("registry", 1.0), ("helm", 8.0)], "helm"),
        ([("another", 9.0)], "another"),
    ],
)
def test_of_several_words_the_first_fresh_one_counts_else_the_newest(
    rows: list[tuple[str, float]], source: str
) -> None:
    said = [Said(*row) for row in rows]
    found = in_force(said, CHAIN, lambda row: row.confirmed_at > 5)
    assert found is not None
    assert found.source == source


def test_where_nobody_said_anything_nothing_counts() -> None:
    said: list[Said] = []
    assert in_force(said, CHAIN, lambda _: True) is None
