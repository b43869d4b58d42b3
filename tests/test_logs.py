"""One line an event, on standard error, whatever others put into it; each time in a process of its own."""

import json
import subprocess
import sys

import pytest

from gateway.settings_values import LogFormat, LogLevel

pytestmark = pytest.mark.slow  # many small tests, seconds together

_LOGGING = """
import logging
import sys

import structlog

from gateway.logs import access_log, configure_logs
from gateway.settings_values import LogFormat, LogLevel

level, log_format = LogLevel(sys.argv[1]), LogFormat(sys.argv[2])
configure_logs(level, log_format)
log = structlog.get_logger("gateway.somewhere")
log.debug("looked")
log.info("kept", reason="a\\nb \\x1b[2J\\x9b\\u2028c", size=3, digest=object)
log.warning("drift", tag="1.0.0")
try:
    raise ValueError("S3CR3T\\nsecond line")
except ValueError:
    log.exception("failed")
logging.getLogger("alembic").info("Context impl")
logging.getLogger("library").warning("it said %s", "so")
access_log(level, log_format)(method="GET", path="/v2/a\\\\nb", status=200, ms=0.1, cache=None)
"""


def lines_of(level: LogLevel, log_format: LogFormat) -> list[str]:
    command = [sys.executable, "-c", _LOGGING, level, log_format]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    return ran.stderr.split("\n")[:-1]


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.AUTO])
def test_for_programs_every_line_is_one_json_object(log_format: LogFormat) -> None:
    events = [json.loads(line) for line in lines_of(LogLevel.INFO, log_format)]
    assert [(event["event"], event["level"]) for event in events] == [
        ("kept", "info"),
        ("drift", "warning"),
        ("failed", "error"),
        ("it said so", "warning"),
        ("request", "info"),
    ]
    assert all(event["timestamp"].startswith("20") for event in events)
    assert events[0]["reason"] == "a\nb \x1b[2J\x9b\u2028c"
    assert events[2]["exception"].endswith("ValueError: S3CR3T\nsecond line")
    assert {"method": "GET", "path": "/v2/a\\nb", "status": 200}.items() <= events[4].items()


def test_for_people_no_value_can_break_a_line_or_steer_the_terminal() -> None:
    lines = lines_of(LogLevel.INFO, LogFormat.CONSOLE)
    text = "\n".join(lines)
    assert not any(control in text for control in ("\x1b[2J", "\x9b", "\u2028", "\r"))
    (kept,) = (line for line in lines if "kept" in line)
    assert "a\\nb" in kept
    assert sum("request" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("level", "events"),
    [
        (LogLevel.DEBUG, ["looked", "kept", "drift", "failed", "it said so", "request"]),
        (LogLevel.WARNING, ["drift", "failed", "it said so"]),
        (LogLevel.ERROR, ["failed"]),
    ],
)
def test_a_level_leaves_out_what_is_below_it(level: LogLevel, events: list[str]) -> None:
    lines = lines_of(level, LogFormat.JSON)
    assert [json.loads(line)["event"] for line in lines] == events
