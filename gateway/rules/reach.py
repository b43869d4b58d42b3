"""Where rewrites can lead, whatever the name: which upstreams no name leads to, and which refuse all."""

from collections.abc import Iterable, Iterator

from gateway.oci.errors import OciError
from gateway.oci.repository import Repository
from gateway.rules import docker_hub
from gateway.rules.covering import Cover
from gateway.rules.match import Look
from gateway.rules.model import EgressMode, Policy, Rule, RuleSet, Upstream
from gateway.rules.patterns import Subject, parse_pattern
from gateway.rules.rewrites import Rewrite


def refused_upstreams(rule_set: RuleSet) -> frozenset[str]:
    """The keys below which nothing is ever fetched: they deny, and so does every longer one."""
    denying = {key for key, upstream in rule_set.upstreams.items() if upstream.deny is not None}
    open_below = {prefix for key in rule_set.upstreams.keys() - denying for prefix in _prefixes(key)}
    return frozenset(denying - open_below)


def upstream_of(rule_set: RuleSet, rewrite: Rewrite) -> Upstream | None:
    """The upstream that everything it leads to is below, maybe below a longer key too."""
    first = rewrite.parts[0]
    if not isinstance(first, str):
        return None
    full = docker_hub.full_name(first) if len(rewrite.parts) == 1 else first
    return rule_set.upstream_for(full.rpartition("/")[0])


def unnamed_upstreams(rule_set: RuleSet, cover: Cover) -> Iterator[tuple[Upstream, int]]:
    """Upstreams that no name leads to, each with the number of the rule that takes all names below it.

    Left out is whatever may be there for URLs, in indexes, redirects and realms, for rules that are not
    enabled now, and where it is in doubt.
    """
    if rule_set.egress.mode is EgressMode.ALLOWLIST:
        return
    keeps_names = next((n for n, rule in enumerate(rule_set.rules.enabled) if _keeps_names(rule)), None)
    wanted = _Wanted(rule_set)
    for upstream in rule_set.upstreams.values():
        if _may_serve_urls(upstream) or not _is_name(upstream.key):
            continue
        below = Look(None, parse_pattern(f"{upstream.key}/**", Subject.REPOSITORY))
        taker = cover.first(below)
        if taker is None or (keeps_names is not None and keeps_names <= taker):
            continue
        if not wanted.may_be(upstream):
            yield upstream, taker


def _keeps_names(rule: Rule) -> bool:
    return not rule.rewrites and rule.deny is None


class _Wanted:
    """The places that are written somewhere: in rewrites, and as chart proxies and hosts of tokens."""

    def __init__(self, rule_set: RuleSet) -> None:
        rewrites = [rewrite for rule in rule_set.rules for rewrite in rule.rewrites]
        self._beginnings = {_written(rewrite) for rewrite in rewrites if len(rewrite.parts) > 1}
        proxies = set(_chartproxies(rule_set))
        places = {_written(rewrite) for rewrite in rewrites} | proxies
        self._above = {prefix for place in places for prefix in _prefixes(place.rstrip("/"))}
        self._proxies = proxies
        self._token_hosts = {host for one in rule_set.upstreams.values() for host in one.token_hosts}

    def may_be(self, upstream: Upstream) -> bool:
        begun = f"{upstream.key}/"
        return (
            upstream.key in self._above
            or upstream.host in self._token_hosts
            or any(begun[:end] in self._beginnings for end in range(len(begun) + 1))
            or any(prefix in self._proxies for prefix in _prefixes(upstream.key))
        )


def _may_serve_urls(upstream: Upstream) -> bool:
    return (
        upstream.deny is not None
        or bool(upstream.trusted_by)
        or ":" in upstream.key
        or docker_hub.is_on(upstream.key)
    )


def _is_name(key: str) -> bool:
    """Whether a client can write it: a key may also have what only a URL has."""
    try:
        Repository.parse(f"{key}/x")
    except OciError:
        return False
    return True


def _written(rewrite: Rewrite) -> str:
    """What stands before the first capture; nothing where one is in front."""
    first = rewrite.parts[0]
    return first if isinstance(first, str) else ""


def _chartproxies(rule_set: RuleSet) -> Iterable[str]:
    policies = [rule_set.defaults, *(upstream.policy for upstream in rule_set.upstreams.values())]
    policies += [rule.change(Policy()) for rule in rule_set.rules if "chartproxy" in rule.stated]
    return (policy.chartproxy for policy in policies if policy.chartproxy is not None)


def _prefixes(place: str) -> Iterator[str]:
    """``a/b/c``, ``a/b``, ``a``."""
    while place:
        yield place
        place = place.rpartition("/")[0]
