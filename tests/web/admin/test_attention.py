"""What wants attention is told once, worst first, and no mere information."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.activity_seen import Event, StorageUse, UpstreamHealth, UpstreamState
from gateway.event_tap import Severity
from gateway.store.conditions import Trouble
from gateway.web.admin.attention import Matter, Signs, matters
from tests.web.admin.seen import DRIFT, NOW, STORAGE, UPSTREAM

CALM = Signs(rules_trouble=None, has_editor_token=True, storage=STORAGE, upstreams=[UPSTREAM], events=[])


def told(signs: Signs) -> Sequence[Matter]:
    return matters(signs, NOW)


def headings(signs: Signs) -> list[str]:
    return [matter.heading for matter in told(signs)]


def test_nothing_is_told_where_all_is_well() -> None:
    assert not told(CALM)


def test_rules_that_are_not_in_force_come_first() -> None:
    found = told(replace(CALM, rules_trouble="line 3: no such key", has_editor_token=False))
    assert [matter.look for matter in found] == ["bad", "warn"]
    assert found[0].detail == "line 3: no such key"


def test_troubles_of_the_storage_are_told() -> None:
    storage = replace(STORAGE, troubles={"over_quota": Trouble("more is held than MAX_CACHE_SIZE", NOW)})
    assert headings(replace(CALM, storage=storage)) == ["Over quota"]
    event = replace(DRIFT, kind="trouble", subject="over_quota", severity=Severity.ERROR)
    assert headings(replace(CALM, storage=storage, events=[event])) == ["Over quota"]
    assert headings(replace(CALM, events=[event])) == ["Trouble: 3 in the last day"]


def test_a_disk_that_is_nearly_full_is_told_once() -> None:
    nearly: StorageUse = replace(STORAGE, disk_free_bytes=4, disk_total_bytes=100)
    assert headings(replace(CALM, storage=nearly)) == ["The disk is nearly full"]
    full = replace(nearly, troubles={"disk_full": Trouble("the disk is full", NOW)})
    assert headings(replace(CALM, storage=full)) == ["Disk full"]


def test_who_could_not_sign_in_again_is_told_to_make_a_token() -> None:
    assert headings(replace(CALM, has_editor_token=False)) == ["Make a token"]


def test_an_upstream_that_is_paused_is_told_with_its_error() -> None:
    paused: UpstreamState = replace(UPSTREAM, state=UpstreamHealth.PAUSED, last_error="connection refused")
    (matter,) = told(replace(CALM, upstreams=[UPSTREAM, paused]))
    assert matter.detail == "connection refused"
    assert matter.path == "/admin/upstreams?query=https%3A%2F%2Fcharts.example"


def test_an_upstream_is_told_once_by_the_name_that_the_rules_have_for_it() -> None:
    failing = replace(UPSTREAM, state=UpstreamHealth.FAILING, keys=[])
    registry = replace(failing, origin=f"{failing.origin}/v2")
    named = replace(failing, origin="http://127.0.0.1:9", keys=["charts.gone.example"])
    found = headings(replace(CALM, upstreams=[failing, registry, named]))
    assert found == [f"{failing.host} is failing", "charts.gone.example is failing"]


def test_events_of_one_kind_are_one_matter() -> None:
    older: Event = replace(DRIFT, number=1, times=2, subject="older", last_at=NOW - 100)
    (matter,) = told(replace(CALM, events=[DRIFT, older]))
    assert matter.heading == "Drift: 5 in the last day"
    assert matter.detail.startswith(DRIFT.subject)


def test_what_is_older_than_a_day_or_mere_information_is_left_out() -> None:
    old = replace(DRIFT, last_at=NOW - 25 * 3600)
    assert not told(replace(CALM, events=[old, replace(DRIFT, severity=Severity.INFO)]))
