"""What several workers know of an origin is told as one state, and broken rows are no error."""

import msgspec

from gateway.activity_seen import UpstreamHealth, UpstreamState
from gateway.rules.load import load_rules
from gateway.sources.origins import OriginFacts
from gateway.store.activity_rows import Teller, ToldState
from gateway.store.conditions import Trouble
from gateway.upstream_states import merged, merged_troubles

NOW = 1000.0
ORIGIN = "https://charts.example.test"
RULES = """
version: 1
upstreams:
  charts.example.test: {kind: helm}
  ghcr.example.test/team: {kind: registry}
"""
UPSTREAMS = load_rules(RULES).upstreams.values()


def told(worker: int = 0, origin: str = ORIGIN, **facts: object) -> ToldState:
    known: dict[str, object] = {
        "origin": origin,
        "is_closed": True,
        "has_failed": False,
        "paused_until": None,
        "is_rate_limited": False,
        "running": 1,
        "waiting": 0,
        "requests": 10,
        "failures": 1,
        "last_error": "answered 503",
        "last_error_at": 900.0,
        "last_ok_at": 950.0,
        **facts,
    }
    assert set(known) == set(OriginFacts.__dataclass_fields__)
    return ToldState(Teller("ours", worker), origin, msgspec.json.encode(known).decode(), NOW - worker)


def only(*rows: ToldState) -> UpstreamState:
    (state,) = merged(rows, (), NOW)
    return state


def test_two_workers_are_added_up_and_the_worse_counts() -> None:
    state = only(
        told(),
        told(
            1, is_closed=False, paused_until=1012, last_error="refused", last_error_at=990.0, last_ok_at=None
        ),
    )
    assert (state.state, state.paused_seconds, state.workers) == (UpstreamHealth.PAUSED, 12, 2)
    assert (state.running, state.requests, state.failures) == (2, 20, 2)
    assert (state.last_error, state.last_error_at, state.last_ok_at) == ("refused", 990.0, 950.0)
    assert state.noted_at == NOW


def test_a_pause_that_is_over_is_probed() -> None:
    state = only(told(is_closed=False, paused_until=999, is_rate_limited=True))
    assert (state.state, state.paused_seconds, state.is_rate_limited) == (UpstreamHealth.PROBING, 0, False)


def test_one_that_failed_the_last_time_is_failing() -> None:
    assert only(told(has_failed=True)).state is UpstreamHealth.FAILING
    assert only(told()).state is UpstreamHealth.OK


def test_upstreams_of_the_rules_are_there_before_anybody_asked_them_and_the_worst_is_first() -> None:
    other = "https://other.example.test"
    states = merged([told(), told(origin=other, has_failed=True)], UPSTREAMS, NOW)
    assert [(state.origin, list(state.keys), state.state) for state in states] == [
        (other, [], UpstreamHealth.FAILING),
        (ORIGIN, ["charts.example.test"], UpstreamHealth.OK),
        ("https://ghcr.example.test", ["ghcr.example.test/team"], UpstreamHealth.UNASKED),
    ]


def test_a_row_of_another_version_is_left_out() -> None:
    odd = ToldState(Teller("ours", 0), ORIGIN, '{"origin": 1}', NOW)
    assert merged([odd, told(1)], (), NOW)[0].workers == 1
    assert merged_troubles([ToldState(Teller("ours", 0), "", "[]", NOW)]) == {}


def test_a_trouble_lasts_since_the_first_worker_met_it() -> None:
    rows = [
        ToldState(Teller("ours", worker), "", f'{{"disk_full": {{"means": "full", "since": {since}}}}}', NOW)
        for worker, since in enumerate((20.0, 10.0, 30.0))
    ]
    assert merged_troubles([*rows, told()]) == {"disk_full": Trouble("full", 10.0)}
    assert merged(rows, (), NOW) == []
