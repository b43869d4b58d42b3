"""One line an event: for people on a terminal, JSON elsewhere."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias

import structlog
from structlog.typing import EventDict, Processor

from gateway.settings_values import LogFormat, LogLevel

_ENCODER = json.JSONEncoder(default=repr)

Tap: TypeAlias = Callable[[str, Mapping[str, object]], None]  # is told an event's name, and its fields


def configure_logs(
    level: LogLevel, log_format: LogFormat, *, for_good: bool = False, tap: Tap | None = None
) -> None:
    """Send structlog's events and the standard library's records to standard error, alike.

    ``for_good``: each logger is made once, which is quicker, and cannot be undone. ``tap`` is told of each
    event from INFO up, also of those that the level leaves out.
    """
    threshold = _threshold(level)
    chain = _console_chain() if _is_console(log_format) else [_json_line]
    taken = threshold if tap is None else min(threshold, logging.INFO)
    structlog.configure(
        processors=chain if tap is None else [_tapped(tap, threshold), *chain],
        wrapper_class=structlog.make_filtering_bound_logger(taken),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=for_good,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[_drop_meta, *chain]))
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.INFO), force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def access_log(level: LogLevel, log_format: LogFormat) -> Callable[..., None]:
    """Return what writes a line for each request, from keywords.

    JSON is written here and now: the way through structlog costs as much as finding the answer does.
    """
    if _threshold(level) > logging.INFO:
        return _nothing
    if _is_console(log_format):
        return partial(structlog.get_logger("gateway.access").info, "request")
    write = sys.stderr.write

    def record(**fields: object) -> None:
        fields["event"] = "request"
        write(_json_line(None, "info", fields) + "\n")

    return record


def _tapped(tap: Tap, threshold: int) -> Processor:
    """What is below ``threshold`` ends here."""

    def tapped(_logger: object, level: str, event: EventDict) -> EventDict:
        tap(event["event"], event)
        if logging.getLevelNamesMapping().get(level.upper(), logging.ERROR) < threshold:
            raise structlog.DropEvent
        return event

    return tapped


def _nothing(**_fields: object) -> None:
    """Who wants warnings alone gets no line for a request."""


def _threshold(level: LogLevel) -> int:
    threshold: int = getattr(logging, level.value.upper())
    return threshold


def _is_console(log_format: LogFormat) -> bool:
    return log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and sys.stderr.isatty())


def _console_chain() -> list[Processor]:
    """For a terminal: no local variables in tracebacks, no control characters of others in values."""
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(
            repr_native_str=True, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _json_line(logger: object, level: str, event: EventDict) -> str:
    """Do in one step what structlog's own processors do in four: this runs for every request."""
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, level, event)
    event["level"] = level
    event["timestamp"] = datetime.now(UTC).isoformat()
    return _ENCODER.encode(event)


def _drop_meta(logger: object, name: str, event: EventDict) -> EventDict:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(logger, name, event)
