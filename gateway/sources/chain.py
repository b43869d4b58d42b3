"""Asks the sources of a route in turn; one that is down never reads as «not there»."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from gateway.oci.outcomes import (
    Corrupt,
    Missing,
    MissingName,
    NotThisKind,
    Outcome,
    Skipped,
    Unavailable,
    UnknownHost,
)
from gateway.oci.target import Target
from gateway.rules.model import SourceName
from gateway.sources.base import Source

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    """What one source said instead of an answer."""

    source: SourceName
    outcome: Outcome

    def __str__(self) -> str:
        return f"{self.source}: {self.outcome.message}"

    @property
    def is_outage_of_proxy(self) -> bool:
        return self.source is SourceName.CHARTPROXY and isinstance(self.outcome, Unavailable)

    @property
    def ends_it(self) -> bool:
        """Whether nobody else is asked; above all, nobody is told the name of a host that is not dialled."""
        outcome = self.outcome
        if isinstance(outcome, UnknownHost) and outcome.is_refused:
            return True
        return self.is_final or not isinstance(outcome, Missing | Unavailable)

    @property
    def is_final(self) -> bool:
        """Whether nobody knows better: a Helm index that is there, and has not what was asked."""
        outcome = self.outcome
        return self.source is SourceName.HELM and isinstance(outcome, Missing) and not _is_vague(outcome)


async def ask_in_turn(target: Target, sources: Sequence[Source], ask: Callable[[Source], Awaitable[T]]) -> T:
    """Return the first answer. Missing and Unavailable move on to the next source; Corrupt and Denied end it.

    What is raised tells in ``tried`` what each of several sources said.
    """
    failures: list[Failure] = []
    skipped: list[Failure] = []
    for source in sources:
        try:
            return await ask(source)
        except NotThisKind as error:
            log.debug("source_skipped", source=source.name.value, reason=error.message)
            skipped.append(Failure(source.name, error))
        except Skipped as error:
            log.warning("source_skipped", source=source.name.value, reason=error.message)
            skipped.append(Failure(source.name, error))
        except Outcome as error:
            if isinstance(error, Corrupt):
                told = {"source": source.name.value, "reason": error.reason, "message": error.message}
                log.warning("upstream_corrupt", target=str(target), **told)
            failures.append(Failure(source.name, error))
            if failures[-1].ends_it:
                break
    raise summary(failures) if failures else _nobody(skipped)


def summary(failures: Sequence[Failure]) -> Outcome:
    """What several failures come to, in the order they came."""
    outcome = _decisive(failures)
    if isinstance(outcome, UnknownHost):  # one answer, whoever said it: see unknown_host_message
        return replace(outcome)
    if len(failures) == 1:
        return replace(outcome)  # the one that came may be raised to others too
    outcome = replace(outcome, message="; ".join(map(str, failures)))
    outcome.tried = tuple(map(str, failures))
    return outcome


def _nobody(skipped: Sequence[Failure]) -> Outcome:
    """Every source was left out, each for its reason."""
    reasons = tuple(map(str, skipped))
    outcome = Unavailable("; ".join(("there is no source that could be asked", *reasons)))
    outcome.tried = reasons
    return outcome


def _decisive(failures: Sequence[Failure]) -> Outcome:
    """The refusal, the end, the outage, the host that is unknown, the absence: in this order.

    The chart proxy speaks for the same index: its outage is nothing once the Helm repository has answered.
    """
    last = failures[-1]
    if last.is_final or not isinstance(last.outcome, Missing | Unavailable):
        return last.outcome
    has_helm = any(one.source is SourceName.HELM and isinstance(one.outcome, Missing) for one in failures)
    counted = [one for one in failures if not (has_helm and one.is_outage_of_proxy)]
    down = [one.outcome for one in counted if isinstance(one.outcome, Unavailable)]
    if down:
        return _outage(down)
    unknown = [one.outcome for one in counted if isinstance(one.outcome, UnknownHost)]
    return next(iter(unknown), None) or min((one.outcome for one in counted), key=_is_vague)


def _outage(down: Sequence[Unavailable]) -> Unavailable:
    waits = [one.retry_after_seconds for one in down if one.retry_after_seconds is not None]
    return Unavailable(
        "; ".join(one.message for one in down),
        min(waits, default=None),
        is_rate_limited=all(one.is_rate_limited for one in down),
    )


def _is_vague(outcome: Outcome) -> bool:
    """Whether it says that the name is not there, which says less than that the version is not."""
    return isinstance(outcome, MissingName)
