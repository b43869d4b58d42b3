"""What edited rules would do beside the saved ones: to names that the catalog knows, and to references."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from anyio import to_thread

from gateway.explain import Explainer
from gateway.explain_facts import facts
from gateway.explained import Explanation
from gateway.oci.errors import OciError
from gateway.oci.location import Location, parse_location
from gateway.oci.repository import Repository
from gateway.rule_edited import Compared, Impact, Rerouted
from gateway.rules.model import RuleSet
from gateway.rules.route import PLAIN, Route, Wanted, route
from gateway.store import asked_names
from gateway.store.engine import Engines

_SECONDS: Final = 2.0
_SHOWN: Final = 200
_PAGE: Final = 1000
_DECISIVE: Final = ("targets", "channel", "tag_stays_at", "refusal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """``names`` is the database that has the names that clients asked for; ``explainer`` gives the parts."""

    names: Engines
    explainer: Callable[[], Explainer]
    own_hosts: Collection[str]
    monotonic: Callable[[], float] = time.monotonic

    async def impact(self, saved: RuleSet, edited: RuleSet) -> Impact:
        """Compare for two seconds at most; a name is routed as one that is asked under no host."""
        ends_at = self.monotonic() + _SECONDS
        changed: list[Rerouted] = []
        looked_at, after = 0, ""
        while True:
            page = await self.names.ask(asked_names.page, after, _PAGE)
            count, found = await to_thread.run_sync(self._compare, saved, edited, page, ends_at)
            changed += found
            looked_at += count
            is_complete = count == len(page) and len(page) < _PAGE
            if is_complete or count < len(page) or len(changed) > _SHOWN or self.monotonic() > ends_at:
                return Impact(changed[:_SHOWN], looked_at, is_complete and len(changed) <= _SHOWN)
            after = page[-1]

    async def dry_run(
        self, saved: RuleSet, edited: RuleSet | None, references: Sequence[str], host: str
    ) -> Sequence[Compared]:
        return [await self._tried(saved, edited, reference, host) for reference in references]

    async def _tried(self, saved: RuleSet, edited: RuleSet | None, reference: str, host: str) -> Compared:
        try:
            location = parse_location(reference, self.own_hosts)
        except OciError as error:
            return Compared(reference, error=error)
        before = await self._explain(saved, location, host)
        if edited is None:
            return Compared(reference, before)
        after = await self._explain(edited, location, host)
        return Compared(reference, before, after, _outcome(before) == _outcome(after))

    async def _explain(self, rules: RuleSet, location: Location, host: str) -> Explanation:
        explainer = replace(self.explainer(), rule_set=rules, route_of=partial(route, rules))
        return await explainer.explain(location, Wanted(location.name, host))

    def _compare(
        self, saved: RuleSet, edited: RuleSet, names: Sequence[str], ends_at: float
    ) -> tuple[int, Sequence[Rerouted]]:
        found: list[Rerouted] = []
        for count, name in enumerate(names):
            if self.monotonic() > ends_at:
                return count, found
            before, after = (_told(rules, name) for rules in (saved, edited))
            if before != after:
                found.append(Rerouted(name, before, after))
        return len(names), found


def _outcome(told: Explanation) -> Sequence[object]:
    found = facts(replace(told, tried=()))  # by which rule does not matter
    return [found[key] for key in _DECISIVE]


def _told(rules: RuleSet, name: str) -> str:
    """Where a name leads and what is shown there, or the refusal."""
    try:
        routing = route(rules, Wanted(Repository.parse_with_port(name)))
    except OciError as error:
        return f"{error.code}: {error.message}"
    told = " then ".join(" ".join(_words(one)) for one in routing.routes)
    return (
        told if routing.refusal is None else f"{told} then {routing.refusal.code}: {routing.refusal.message}"
    )


def _words(one: Route) -> Iterator[str]:
    yield str(one.target)
    if one.variant != PLAIN:
        yield f"({one.variant})"
    yield f"by {', '.join(one.chain)}"
    if not one.policy.visibility.is_open:
        yield f"showing {one.policy.visibility}"
    if one.policy.channels:
        yield f"with channels {', '.join(f'{tag}: {wanted}' for tag, wanted in one.policy.channels.items())}"
