"""Upstreams at a glance: what every worker knows of each origin, put together; and one asked on purpose."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.activity_seen import UpstreamHealth, UpstreamState
from gateway.rules.model import RuleSet, Upstream
from gateway.sources.origins import OriginFacts
from gateway.sources.upstream_check import CheckedUpstream, UpstreamCheck
from gateway.store.activity_book import ActivityBook
from gateway.store.activity_rows import ToldState
from gateway.store.conditions import Trouble

_WORST_FIRST: Final = (
    UpstreamHealth.PAUSED,
    UpstreamHealth.FAILING,
    UpstreamHealth.PROBING,
    UpstreamHealth.OK,
    UpstreamHealth.UNASKED,
)


class UpstreamDesk:
    """``now`` gives seconds since the epoch; ``instance`` is this gateway's, ``rules`` those in force."""

    def __init__(
        self,
        book: ActivityBook,
        check: UpstreamCheck,
        instance: str,
        rules: Callable[[], RuleSet],
        now: Callable[[], float],
    ) -> None:
        self._book = book
        self._check = check
        self._instance = instance
        self._rules = rules
        self._now = now

    async def states(self) -> Sequence[UpstreamState]:
        """Origins that were asked of late, and upstreams of the rules that were not; the worst first."""
        now = self._now()
        told = await self._book.states(self._instance, now)
        return merged(told, self._rules().upstreams.values(), now)

    async def troubles(self) -> Mapping[str, Trouble]:
        """What is wrong with the storage for any worker, by condition, since it began for the first."""
        told = await self._book.states(self._instance, self._now())
        return merged_troubles(told)

    async def test(self, place: str) -> CheckedUpstream:
        """Ask an upstream, ``host[:port][/path]``, as a pull by the rules in force would."""
        return await self._check.test(self._rules(), place)


def merged(told: Iterable[ToldState], upstreams: Iterable[Upstream], now: float) -> Sequence[UpstreamState]:
    """What is told as one state an origin."""
    keys: dict[str, list[str]] = {}
    unasked: dict[str, UpstreamState] = {}
    for upstream in upstreams:
        for base in upstream.urls:
            keys.setdefault(base.authority, []).append(upstream.key)
        origin, host = upstream.url.origin, upstream.url.authority
        unasked[origin] = UpstreamState(origin, host, (), UpstreamHealth.UNASKED)
    states: dict[str, UpstreamState] = {}
    for one in told:
        state = _state(one, now)
        if state is not None:
            before = states.get(one.origin)
            states[one.origin] = state if before is None else _both(before, state)
    asked = {state.host for state in states.values()}
    found = [*states.values(), *(state for state in unasked.values() if state.host not in asked)]
    shown = [replace(state, keys=tuple(keys.get(state.host, ()))) for state in found]
    return sorted(shown, key=lambda state: (_WORST_FIRST.index(state.state), state.origin))


def merged_troubles(told: Iterable[ToldState]) -> Mapping[str, Trouble]:
    troubles: dict[str, Trouble] = {}
    for one in told:
        for name, trouble in _troubles(one).items():
            before = troubles.get(name)
            if before is None or trouble.since < before.since:
                troubles[name] = trouble
    return troubles


def _troubles(told: ToldState) -> Mapping[str, Trouble]:
    if told.origin:
        return {}
    try:
        return msgspec.json.decode(told.facts, type=dict[str, Trouble])
    except msgspec.DecodeError:  # another version's
        return {}


def _state(told: ToldState, now: float) -> UpstreamState | None:
    if not told.origin:
        return None
    try:
        facts = msgspec.json.decode(told.facts, type=OriginFacts)
    except msgspec.DecodeError:  # another version's
        return None
    paused_seconds = 0 if facts.paused_until is None else max(round(facts.paused_until - now), 0)
    return UpstreamState(
        origin=facts.origin,
        host=urlsplit(facts.origin).netloc,
        keys=(),
        state=_health(facts, paused_seconds),
        paused_seconds=paused_seconds,
        is_rate_limited=facts.is_rate_limited and paused_seconds > 0,
        running=facts.running,
        waiting=facts.waiting,
        requests=facts.requests,
        failures=facts.failures,
        last_error=facts.last_error,
        last_error_at=facts.last_error_at,
        last_ok_at=facts.last_ok_at,
        workers=1,
        noted_at=told.noted_at,
    )


def _health(facts: OriginFacts, paused_seconds: int) -> UpstreamHealth:
    if facts.is_closed:
        return UpstreamHealth.FAILING if facts.has_failed else UpstreamHealth.OK
    return UpstreamHealth.PAUSED if paused_seconds else UpstreamHealth.PROBING


def _both(one: UpstreamState, other: UpstreamState) -> UpstreamState:
    """The worse of two workers' states, their figures added up, and the newest of what happened."""
    worse = min(one, other, key=lambda state: _WORST_FIRST.index(state.state))
    newer = max(one, other, key=lambda state: state.last_error_at or 0.0)
    return replace(
        worse,
        paused_seconds=max(one.paused_seconds, other.paused_seconds),
        is_rate_limited=one.is_rate_limited or other.is_rate_limited,
        running=one.running + other.running,
        waiting=one.waiting + other.waiting,
        requests=one.requests + other.requests,
        failures=one.failures + other.failures,
        last_error=newer.last_error,
        last_error_at=newer.last_error_at,
        last_ok_at=max((at for at in (one.last_ok_at, other.last_ok_at) if at is not None), default=None),
        workers=one.workers + other.workers,
        noted_at=max(one.noted_at, other.noted_at),
    )
