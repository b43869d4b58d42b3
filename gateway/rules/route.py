"""From the name that was asked for to the place upstream, and the policy that holds there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.oci.errors import OciError, Situation
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.rules import docker_hub
from gateway.rules.chain import Chain, chain_of
from gateway.rules.model import Access, EgressMode, Policy, Rule, RuleSet, SourceName, Upstream, UpstreamKind
from gateway.rules.registry_names import login_places
from gateway.rules.rewrites import Captures

MAX_HOST_LENGTH = 253
_UNWRITTEN: Final = RuleSet()
_LABEL = r"(?=[a-z0-9-]{1,63}\.)[a-z0-9](?:-*[a-z0-9])*"
_PUBLIC_HOST = re.compile(rf"(?:{_LABEL}\.)+(?:[a-z]{{2,63}}|xn--[a-z0-9-]{{1,59}})")


@dataclass(frozen=True, slots=True)
class Variant:
    """One of several answers about a target, never the same content; ``value`` is its word in the catalog."""

    value: str

    def __str__(self) -> str:
        return self.value


PLAIN: Final = Variant("plain")
PROVENANCE: Final = Variant("provenance")


def dependencies_at(host: str) -> Variant:
    """The charts whose dependencies are looked for on ``host``, which is this gateway's own."""
    return Variant(f"dependencies@{host}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks for: the name that rules match, and the host it was asked under, if any.

    ``rewrites_dependencies`` is the client's own wish, which wins over the rules.
    """

    name: Repository
    host: str = ""
    rewrites_dependencies: bool | None = None

    def __str__(self) -> str:
        return self.name.name

    def __hash__(self) -> int:
        return hash((self.name.name, self.host, self.rewrites_dependencies))


@dataclass(frozen=True, slots=True)
class Errand:
    """On behalf of which target upstream is asked, and under which rules."""

    target: Target
    rules: RuleSet = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Route:
    """What ``name`` stands for; the cache belongs to (target, variant).

    ``chain`` are the sources in the order they are asked; ``is_registry_guessed``: the registry among them
    only where the upstream turns out to be one. ``chartproxy`` is the place that plays the chart proxy,
    None where it must not learn of this target. ``access`` says who may read what comes from there.
    ``anew_since``: whatever upstream stood by before, in seconds since the epoch, it is asked for again.
    """

    name: Repository
    target: Target
    variant: Variant
    upstream: Upstream | None
    policy: Policy
    chain: tuple[SourceName, ...] = (SourceName.HELM,)
    is_registry_guessed: bool = False
    chartproxy: str | None = None
    access: Access = Access.ANONYMOUS
    rules: RuleSet = field(default=_UNWRITTEN, compare=False, repr=False)
    anew_since: float | None = field(default=None, compare=False)

    @property
    def errand(self) -> Errand:
        return Errand(self.target, self.rules)

    @property
    def cache_key(self) -> tuple[str, str]:
        """What the cache belongs to, in words that every process has for it."""
        return (str(self.target), self.variant.value)

    @property
    def asking_key(self) -> tuple[str, ...]:
        """What the cache belongs to, and who is asked for it: another rule may ask others for the same."""
        guessed = "?" if self.is_registry_guessed else ""
        return (*self.cache_key, guessed, self.chartproxy or "", *self.chain)

    @property
    def is_offline(self) -> bool:
        """Whether the rules say that nobody is asked."""
        return self.rules.egress.mode is EgressMode.OFFLINE

    @property
    def rewrites_dependencies(self) -> bool:
        return self.variant not in (PLAIN, PROVENANCE)

    @property
    def own_host(self) -> str:
        """Where rewritten dependencies are looked for: this gateway, as clients know it."""
        return self.rules.own_host or ""

    @property
    def plain(self) -> "Route":
        """The same without changes to the content."""
        return replace(self, variant=PLAIN)

    @property
    def as_upstream(self) -> "Route":
        """As upstream is asked: rewritten charts are made here, of the plain ones."""
        return self.plain if self.rewrites_dependencies else self


@dataclass(frozen=True, slots=True)
class Routing:
    """Where a name leads: to one target, or to several that are asked first to last.

    ``refusal`` is why the target after these is not gone to; nothing behind it is.
    """

    routes: Sequence[Route]
    rule: Rule | None = None
    captures: Captures | None = None
    refusal: OciError | None = None

    @property
    def first(self) -> Route:
        return self.routes[0]

    def names(self, target: Target) -> bool:
        """Whether the rule leads there, also where whoever asks may not go."""
        if self.rule is None or self.captures is None:
            return False
        return str(target) in map(docker_hub.full_name, self.rule.targets(self.captures))


def route(rule_set: RuleSet, wanted: Wanted) -> Routing:
    """Return where a name leads by the first rule that matches, or raise the OciError that says no.

    NAME_NOT_KNOWN, DENIED, or QUERY_MALFORMED for dependencies rewritten where nobody knows our own host.
    """
    found = rule_set.rules.first(wanted.host, wanted.name.name)
    if found is None:
        return Routing((_route_to(rule_set, wanted, Target(wanted.name), None),))
    rule, captures = found
    if rule.deny is not None:
        raise OciError(Situation.DENIED, f"{wanted}: {rule.deny}")
    if not rule.rewrites:
        return Routing((_route_to(rule_set, wanted, Target(wanted.name), rule),), rule, captures)
    routes: list[Route] = []
    for text in rule.targets(captures):
        try:
            routes.append(_route_to(rule_set, wanted, _rewritten(rule, text), rule))
        except OciError as refusal:
            if not routes:
                raise
            return Routing(tuple(routes), rule, captures, refusal)
    return Routing(tuple(routes), rule, captures)


def _rewritten(rule: Rule, text: str) -> Target:
    try:
        return Target(Repository.parse(text))
    except OciError as error:
        raise OciError(
            Situation.NAME_NOT_KNOWN, f"the rule {rule.name!r} leads to no name: {error.message}"
        ) from error


def _route_to(rule_set: RuleSet, wanted: Wanted, asked: Target, rule: Rule | None) -> Route:
    """The route to one target, under the rule's policy over its upstream's."""
    name = asked.repository.name
    full_name = docker_hub.full_name(name)
    target = asked if full_name == name else Target.parse(full_name)
    place = target.place
    upstream = rule_set.upstream_for(place)
    _refuse_what_is_no_place(rule_set, target, upstream, rule)
    whole = rule_set.upstreams.get(full_name)  # a key may be all of a name: what that closes is closed
    denial = (whole and whole.deny) or rule_set.denial(place)
    if denial is not None:
        raise OciError(Situation.DENIED, f"{wanted}: {denial}")
    if rule_set.is_local_name(place):
        raise OciError(Situation.HOST_NOT_KNOWN, unknown_host_message(target.host))
    policy = rule_set.defaults if upstream is None else upstream.policy
    if rule is not None:
        policy = rule.change(policy)
    has_login = signs_in_by_docker(rule_set, target, upstream)
    is_proxy_ruled = rule is not None and "chartproxy" in rule.stated
    chain = chain_of(policy, upstream, target.host, has_login=has_login, is_proxy_ruled=is_proxy_ruled)
    if not chain.sources:
        message = f"{wanted}: no source is left to ask: {chain.emptied_by}"
        raise OciError(Situation.NAME_NOT_KNOWN, message)
    return Route(
        name=wanted.name,
        target=target,
        variant=_variant(rule_set, wanted, policy),
        upstream=upstream,
        policy=policy,
        chain=chain.sources,
        is_registry_guessed=chain.is_registry_guessed,
        chartproxy=chain.chartproxy,
        access=_access(
            upstream, whole, chain, has_login=has_login, was_private=str(target) in rule_set.private_targets
        ),
        rules=rule_set,
    )


def _variant(rule_set: RuleSet, wanted: Wanted, policy: Policy) -> Variant:
    asked = wanted.rewrites_dependencies
    if not (policy.rewrite_dependencies if asked is None else asked):
        return PROVENANCE if policy.provenance else PLAIN
    if rule_set.own_host is None:
        raise OciError(
            Situation.QUERY_MALFORMED,
            "dependencies cannot be rewritten: this gateway does not know its own name (setting PUBLIC_URL)",
        )
    return dependencies_at(rule_set.own_host)


def is_open_to_all(rule_set: RuleSet, target: Target) -> bool:
    """Whether everybody may read what a target holds, under its own name."""
    try:
        found = _route_to(rule_set, Wanted(target.repository), target, None)
    except OciError:  # denied by now, or unknown
        return False
    return found.access is Access.ANONYMOUS


def signs_in_by_docker(rule_set: RuleSet, target: Target, upstream: Upstream | None) -> bool:
    """Whether a docker config.json has credentials for this target's registry, and rules.yaml has none."""
    if not rule_set.logins or (upstream is not None and upstream.has_credentials):
        return False
    places = login_places(target.repository.name, upstream)
    return any(rule_set.login_for(place) is not None for place in places)


def _access(
    upstream: Upstream | None,
    whole: Upstream | None,
    chain: Chain,
    *,
    has_login: bool,
    was_private: bool,
) -> Access:
    """A login is used for registries alone: what is none has nothing private for it.

    A rule's chain opens nothing: what another rule's brought by the login is held for the same target. Nor do
    credentials that were taken away open what they brought (``was_private``).
    """
    if whole is not None and whole.access is Access.PRIVATE:
        return Access.PRIVATE
    is_stated = upstream is not None and upstream.stated_access is not None
    if was_private and not is_stated:
        return Access.PRIVATE
    may_be_registry = upstream is None or upstream.kind is not UpstreamKind.HELM
    if has_login and (may_be_registry or SourceName.REGISTRY in chain.sources) and not is_stated:
        return Access.PRIVATE
    return Access.ANONYMOUS if upstream is None else upstream.access


def unknown_host_message(host: str) -> str:
    """What is said of every first segment that leads nowhere, whatever the reason.

    One text for what is no host name, for one that does not resolve and for one whose address is refused:
    else it would tell strangers what our network knows.
    """
    return (
        f"{host} cannot be reached from here: it is no host name, no such host, or one on a private network "
        f"that rules.yaml does not allow; a key {host} under `upstreams` there, with a url, says what it "
        "stands for, and needs `allow_private: true` where that is on a private network"
    )


def _unruled_message(target: Target) -> str:
    """With a pattern that would match, beside the rules for this first segment that are there already."""
    below = target.place.count("/")  # `*` takes one segment alone
    pattern, end = (
        (f'"{target.host}/{"**" if below else "*"}"', "$1") if target.place else (target.host, "<name>")
    )
    return (
        f"no rule matches {target}, and {target.host} is no host: in rules.yaml a rule with "
        f"`repository: {pattern}` and `rewrite: <host>/<path>/{end}` would say where it leads"
    )


def _refuse_what_is_no_place(
    rules: RuleSet, target: Target, upstream: Upstream | None, rule: Rule | None
) -> None:
    host = target.host
    is_key_alone = not target.place and host in rules.upstreams
    if upstream is None and not is_key_alone and not is_public_host(host):
        message = unknown_host_message(host)
        if rule is None and "." not in host:
            message = _unruled_message(target)
        raise OciError(Situation.NAME_NOT_KNOWN, message)
    if not target.place:
        raise OciError(Situation.NAME_NOT_KNOWN, f"{host} is a host alone: a name on it is needed, {host}/…")


def is_public_host(host: str) -> bool:
    """Whether the name alone says that it is a host: dotted, with an alphabetic top level."""
    return len(host) <= MAX_HOST_LENGTH and _PUBLIC_HOST.fullmatch(host) is not None
