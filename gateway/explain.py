"""The decisions of a pull, told instead of done: where a name leads, who would be asked, what is held."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from anyio import to_thread

from gateway.ages import LAST_SECOND
from gateway.explained import ChannelTold, Explanation, HeldTold, RuleTried, SourceTold, TargetTold
from gateway.helm.ranges import newest_tag_in
from gateway.helm.version import resolve
from gateway.homes import home_name
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.location import Location
from gateway.oci.reference import Reference, Tag, is_tag
from gateway.oci.target import Target
from gateway.oci.urls import HttpUrl, parse_upstream_url
from gateway.rules.freshness import Standing, counts, in_force, standing
from gateway.rules.model import EgressMode, Rule, RuleSet, SourceName
from gateway.rules.policy_origins import policy_values
from gateway.rules.registry_names import API
from gateway.rules.route import Route, Routing, Wanted
from gateway.rules.visibility import digest_of_fallback_tag, visible
from gateway.sources.base import Source
from gateway.sources.places import Meaning, meaning
from gateway.store.catalog import Catalog
from gateway.store.rows import TagList, TagRow
from gateway.tag_lists import listed_tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """What is told from: the very parts that a pull has. Nothing is dialled, and nothing written."""

    rule_set: RuleSet
    route_of: Callable[[Wanted], Routing]
    sources: Mapping[SourceName, Source]
    catalog: Catalog
    now: Callable[[], float]
    is_offline: bool = False

    async def explain(self, location: Location, wanted: Wanted) -> Explanation:
        """Tell what a pull of ``location`` would do."""
        told = Explanation(
            asked=location,
            host=wanted.host,
            tried=await to_thread.run_sync(_tried, self.rule_set, wanted),
            now=self.now(),
            is_offline=self._is_offline,
        )
        try:
            routing = self.route_of(wanted)
        except OciError as error:
            return replace(told, refusal=error)
        home = await self._home(routing, location.reference)
        channel = await self._channel(location.reference, routing, home)
        meant = location.reference if channel is None else channel.meant
        return replace(
            told,
            targets=[await self._target(route, routing.rule, meant) for route in routing.routes],
            refusal=routing.refusal,
            channel=channel,
            home=home,
        )

    @property
    def _is_offline(self) -> bool:
        return self.is_offline or self.rule_set.egress.mode is EgressMode.OFFLINE

    async def _channel(
        self, reference: Reference | None, routing: Routing, home: Target | None
    ) -> ChannelTold | None:
        """Of the target that it stays at, or of the first that has any version in the range."""
        if not isinstance(reference, Tag):
            return None
        versions = routing.first.policy.channels.get(reference.name)
        if versions is None:
            return None
        for route in routing.routes:
            if home in (None, route.target):
                newest = newest_tag_in(versions, sorted(await self._known_tags(route)))
                if newest is not None:
                    return ChannelTold(versions, newest)
        return ChannelTold(versions, None)

    async def _known_tags(self, route: Route) -> Sequence[str]:
        """The tags that are shown of those listed the last time, and of those held."""
        held = await self.catalog.versions_of(route.target)
        tags = [listed_tag(*one) for one in held]
        if not self._is_offline:
            lists = await self.catalog.find_tag_list(route.target, route.as_upstream.variant.value)
            mine = [one for one in lists if one.source in route.chain]
            listed = in_force(mine, route.chain, partial(self._is_fresh, route))
            tags += [] if listed is None else listed.names
        shown = [tag for tag in tags if is_tag(tag) and tag not in route.policy.channels]
        return visible(route.policy.visibility, shown, lambda _digest: False)

    def _is_fresh(self, route: Route, known: TagRow | TagList) -> bool:
        is_exact = isinstance(known, TagRow) and known.is_exact
        state = standing(route.policy, known.confirmed_at, self.now(), is_exact=is_exact)
        return state is Standing.FRESH

    async def _home(self, routing: Routing, meant: Reference | None) -> Target | None:
        if not isinstance(meant, Tag) or (len(routing.routes) == 1 and routing.refusal is None):
            return None
        home = await self.catalog.find_tag_target(home_name(routing), meant.name)
        return home if home is not None and _leads_to(routing, home) else None

    async def _target(self, route: Route, rule: Rule | None, meant: Reference | None) -> TargetTold:
        rows = await self.catalog.find_versions(route.target, route.variant.value)
        digest = meant if isinstance(meant, Digest) else None
        manifest = None if digest is None else await self.catalog.find_manifest(route.target, digest)
        return TargetTold(
            route=route,
            policy=tuple(policy_values(route.policy, rule, route.upstream, self.rule_set)),
            chain=[await self._source(route, name) for name in route.chain],
            held=[self._held(route, row) for row in self._served_first(route, _named(meant, rows))],
            hidden=await self._hidden(route, meant, rows),
            has_digest=manifest is not None,
        )

    def _served_first(self, route: Route, rows: Sequence[TagRow]) -> Sequence[TagRow]:
        mine = [row for row in rows if self._is_offline or counts(row, route.chain)]
        served = in_force(mine, route.chain, partial(self._is_fresh, route))
        return sorted(rows, key=lambda row: row is not served)

    def _held(self, route: Route, row: TagRow) -> HeldTold:
        state = standing(route.policy, row.confirmed_at, self.now(), is_exact=row.is_exact)
        return HeldTold(row, state, counts(row, route.chain))

    async def _hidden(self, route: Route, meant: Reference | None, rows: Sequence[TagRow]) -> str | None:
        """What hides the tag, by what is known of its age; a fallback tag is shown where its digest is."""
        visibility = route.policy.visibility
        if visibility.is_open or not isinstance(meant, Tag):
            return None
        digest = digest_of_fallback_tag(meant.name)
        if digest is not None:
            shown = {row.digest for row in rows if visibility.shows(row.tag)}
            return None if digest in shown else str(visibility)
        if not visibility.shows(meant.name):
            return visibility.why_hidden(meant.name)
        is_held = any(counts(row, route.chain) for row in _named(meant, rows))
        if is_held or self._is_offline or not visibility.min_age_seconds:
            return None
        known = await self.catalog.find_tag_times(route.target)
        position = resolve(meant.name, list(known))
        shown_from = 0.0 if position is None else list(known.values())[position] + visibility.min_age_seconds
        return None if shown_from <= self.now() else f"min_age: it is shown from {_time(shown_from)}"

    async def _source(self, route: Route, name: SourceName) -> SourceTold:
        told = [parse_upstream_url(text) for text in self.sources[name].tells(route)]
        if not told:
            return SourceTold(name, why_not="it is this gateway itself, or has no name for this target")
        own = route.upstream
        if name is SourceName.CHARTPROXY:  # it is asked in its own right
            own = self.rule_set.upstream_for(f"{route.chartproxy}/{route.target.place}")
        meant = [meaning(url, own, self.rule_set.upstreams.values()) for url in told]
        denials = (self._denial(url, where) for url, where in zip(told, meant, strict=True))
        is_guessed = route.is_registry_guessed and name is SourceName.REGISTRY
        known = await self.catalog.find_registry(f"{told[0].origin}{API}/") if is_guessed else None
        return SourceTold(
            name=name,
            urls=[str(url) for where in meant for url in where.urls],
            why_not=next((denial for denial in denials if denial is not None), None),
            is_guessed=is_guessed,
            is_registry=None if known is None else known.is_registry,
        )

    def _denial(self, url: HttpUrl, where: Meaning) -> str | None:
        """Why the URL of a source may not be dialled at all."""
        for upstream in (where.upstream, where.innermost):
            place = url.place if upstream is None else upstream.key
            denial = self.rule_set.denial(place)
            if denial is not None:
                return denial
        return None


def _tried(rule_set: RuleSet, wanted: Wanted) -> Sequence[RuleTried]:
    """The rules down to the one that decides."""
    found = rule_set.rules.first(wanted.host, wanted.name.name)
    tried: list[RuleTried] = []
    for number, rule in enumerate(rule_set.rules, start=1):
        if found is not None and rule is found[0]:
            return [*tried, RuleTried(number, rule, None, found[1])]
        tried.append(RuleTried(number, rule, _why_not(rule, wanted)))
    return tried


def _why_not(rule: Rule, wanted: Wanted) -> str:
    if not rule.is_enabled:
        return "disabled"
    host, repository = rule.look.host, rule.look.repository
    if host is not None and host.match(wanted.host) is None:
        return f"host {host.text} does not match {wanted.host or 'a request without a host'}"
    return "" if repository is None else f"repository {repository.text} does not match"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(min(seconds, LAST_SECOND), UTC).isoformat(timespec="minutes")


def _leads_to(routing: Routing, target: Target) -> bool:
    """Whether the rule names a target, be it one that is not gone to."""
    is_gone_to = any(route.target == target for route in routing.routes)
    return is_gone_to or (routing.refusal is not None and routing.names(target))


def _named(reference: Reference | None, rows: Sequence[TagRow]) -> Sequence[TagRow]:
    """The rows that a reference means, also by another spelling of the tag; all where there is none."""
    match reference:
        case None:
            return rows
        case Digest() as digest:
            return [row for row in rows if row.digest == digest]
        case tag:
            position = resolve(tag.name, [row.tag for row in rows])
            return [] if position is None else [row for row in rows if row.tag == rows[position].tag]
