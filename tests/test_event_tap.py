"""Lines of the log become events for people: each once, bounded, with nothing that signs a URL."""

import re
from pathlib import Path

import pytest
import structlog

import gateway
from gateway.event_tap import SEVERITIES, EventTap, Severity
from gateway.logs import configure_logs
from gateway.settings_values import LogFormat, LogLevel
from tests.sources.asking import Clock

_LOGGED = re.compile(r'log\.(?:info|warning|error|exception)\(\s*"([a-z_]+)"|^\s+"(refused)",$', re.MULTILINE)
_NAMED_OTHERWISE = {"denied": "refused", "loop": "refused", "our_fault": "request_failed"}
DRIFT = {"target": "charts.example.test/demo", "tag": "1.0.0", "seen_digest": "sha256:ab"}


def test_a_line_for_people_becomes_an_event_and_others_do_not() -> None:
    tap = EventTap(Clock())
    tap("drift", DRIFT)
    tap("request", {"path": "/v2/"})
    tap("refused", {"code": "NAME_UNKNOWN", "path": "/v2/x", "reason": "no such name", "status": 404})
    (noted,) = tap.taken()
    assert (noted.kind, noted.subject) == ("drift", "charts.example.test/demo:1.0.0")
    assert noted.detail == "upstream has other content by now: sha256:ab"
    assert SEVERITIES[noted.kind] is Severity.WARNING
    assert tap.taken() == []


def test_what_repeats_is_one_event_and_its_last_detail_counts() -> None:
    clock = Clock()
    tap = EventTap(clock)
    tap("drift", DRIFT)
    began_at, clock.seconds = clock.seconds, clock.seconds + 60
    tap("drift", {**DRIFT, "seen_digest": "sha256:cd"})
    (noted,) = tap.taken()
    assert (noted.times, noted.first_at, noted.last_at) == (2, began_at, began_at + 60)
    assert noted.detail.endswith("sha256:cd")


def test_what_every_worker_says_counts_once() -> None:
    tap = EventTap(Clock())
    for _ in range(3):
        tap("rules_in_force", {"revision": 4, "origin": "file"})
    (noted,) = tap.taken()
    assert (noted.subject, noted.times, noted.is_everybodys) == ("revision 4", 1, True)


def test_a_flood_of_different_ones_is_counted_together() -> None:
    tap = EventTap(Clock())
    for number in range(700):
        tap("refused", {"code": "DENIED", "path": f"/v2/{number}", "reason": "no", "status": 403})
    noted = tap.taken()
    assert len(noted) == 501
    assert (noted[-1].subject, noted[-1].times) == ("others", 200)


def test_what_could_not_be_written_is_told_with_what_came_since() -> None:
    tap = EventTap(Clock())
    tap("drift", DRIFT)
    unwritten = tap.taken()
    tap("drift", DRIFT)
    tap.put_back(unwritten)
    (noted,) = tap.taken()
    assert noted.times == 2


def test_a_url_loses_what_may_sign_it_and_a_text_what_no_database_takes() -> None:
    tap = EventTap(Clock())
    url = "https://charts.example.test/index.yaml?X-Amz-Signature=S3CR3T"
    tap("index_not_refreshed", {"url": url, "reason": "a\0b\ud800" + "c" * 5000})
    (noted,) = tap.taken()
    assert noted.subject == "https://charts.example.test/index.yaml"
    assert noted.detail.startswith("a\ufffdb\ufffdccc")
    assert len(noted.detail) == 1000


def test_a_field_that_is_not_there_is_no_error() -> None:
    tap = EventTap(Clock())
    tap("served_stale", {"target": "charts.example.test/demo", "tag": "1.0.0", "exc_info": True})
    assert tap.taken()[0].detail == "1.0.0: the log says more"


def test_the_tap_is_told_of_what_the_level_of_the_log_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    tap = EventTap(Clock())
    configure_logs(LogLevel.ERROR, LogFormat.JSON, tap=tap)
    log = structlog.get_logger("gateway.somewhere")
    log.warning("drift", **DRIFT)
    log.info("upstream_back", origin="https://charts.example.test")
    log.error("rows_lost", count=1, means="they are fetched again")
    assert [noted.kind for noted in tap.taken()] == ["drift", "upstream_back", "rows_lost"]
    (line,) = capsys.readouterr().err.splitlines()
    assert '"event": "rows_lost"' in line


@pytest.mark.slow
def test_every_kind_is_a_line_that_is_really_logged() -> None:
    folder = Path(gateway.__file__).parent
    logged = {
        name for path in folder.rglob("*.py") for pair in _LOGGED.findall(path.read_text()) for name in pair
    }
    assert {_NAMED_OTHERWISE.get(kind, kind) for kind in SEVERITIES} - logged == set()
