"""How what is held stands against the clock: decided here, and nowhere else."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar

from gateway.rules.model import Policy, SourceName


class Standing(StrEnum):
    """What is done with something held when it is asked for."""

    FRESH = "fresh"  # served, nobody is asked
    JUST_STALE = "just stale"  # served, upstream is asked behind
    STALE = "stale"  # upstream is asked first, and the copy served if it does not answer
    EXPIRED = "expired"  # as if nothing were held, unless upstream still stands by it


def standing(
    policy: Policy, confirmed_at: float, now: float, *, is_exact: bool, since: float | None = None
) -> Standing:
    """Judge what upstream confirmed at ``confirmed_at``; both in seconds since the epoch.

    ``is_exact``: an exact chart version, which never expires. A time to come is no confirmation. ``since`` is
    a time before which none counts, whatever the policy says.
    """
    if since is not None:
        return Standing.FRESH if since <= confirmed_at <= now else Standing.STALE
    age_seconds = now - confirmed_at
    lasts_seconds = policy.recheck_for_seconds if is_exact else policy.fresh_for_seconds
    past_seconds = age_seconds - lasts_seconds
    if 0 <= age_seconds < lasts_seconds:
        return Standing.FRESH
    if not is_exact and past_seconds >= policy.stale_for_seconds:
        return Standing.EXPIRED
    if 0 <= past_seconds < policy.fresh_for_seconds:
        return Standing.JUST_STALE
    return Standing.STALE


class Confirmed(Protocol):
    """Something a source said, and when it last stood by it."""

    @property
    def source(self) -> str: ...

    @property
    def confirmed_at(self) -> float: ...


class Given(Protocol):
    """Something that a source gave, or a bundle brought as given by that source."""

    @property
    def source(self) -> str: ...

    @property
    def is_imported(self) -> bool: ...


def counts(one: Given, chain: Sequence[SourceName]) -> bool:
    """Whether it may be served where these are asked; of what was imported nobody asks who gave it."""
    return one.is_imported or one.source in chain


Row = TypeVar("Row", bound=Confirmed)


def in_force(rows: Sequence[Row], chain: Sequence[SourceName], is_fresh: Callable[[Row], bool]) -> Row | None:
    """Which of several sources' words counts: the first fresh one in the chain's order, else the newest.

    Not simply the first source's: while it is down, what another one said since would be forgotten again.
    """
    order = {name.value: place for place, name in enumerate(chain)}
    fresh = [row for row in rows if is_fresh(row)]
    if fresh:
        return min(fresh, key=lambda row: order.get(row.source, len(order)))
    return max(rows, key=lambda row: row.confirmed_at, default=None)
