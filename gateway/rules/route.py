"""From the name that was asked for to the place upstream, and the policy that holds there."""

import re
from dataclasses import dataclass, field
from typing import Final

from gateway.oci.errors import OciError, Situation
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.rules import docker_hub
from gateway.rules.chain import Chain, chain_of
from gateway.rules.model import Access, Policy, RuleSet, SourceName, Upstream
from gateway.rules.registry_names import login_places

MAX_HOST_LENGTH = 253
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
    rules: RuleSet = field(default_factory=RuleSet, compare=False, repr=False)

    @property
    def errand(self) -> Errand:
        return Errand(self.target, self.rules)

    @property
    def cache_key(self) -> tuple[str, str]:
        """What the cache belongs to, in words that every process has for it."""
        return (str(self.target), self.variant.value)


def route(rule_set: RuleSet, repository: Repository) -> Route:
    """Return the route of a name, or raise OciError NAME_NOT_KNOWN or DENIED."""
    target = Target.parse(docker_hub.full_name(repository.name))
    upstream = rule_set.upstream_for(target.place)
    policy = rule_set.policy_for(target.place)
    _refuse_what_is_no_place(target, upstream)
    denial = rule_set.denial(target.place)
    if denial is not None:
        raise OciError(Situation.DENIED, f"{repository}: {denial}")
    if rule_set.is_local_name(target.place):
        raise OciError(Situation.NAME_NOT_KNOWN, unknown_host_message(target.host))
    has_login = signs_in_by_docker(rule_set, target, upstream)
    chain = chain_of(policy, upstream, target.host, has_login=has_login)
    if not chain.sources:
        raise OciError(
            Situation.NAME_NOT_KNOWN, f"{repository}: no source is left to ask: {chain.emptied_by}"
        )
    return Route(
        name=repository,
        target=target,
        variant=PROVENANCE if policy.provenance else PLAIN,
        upstream=upstream,
        policy=policy,
        chain=chain.sources,
        is_registry_guessed=chain.is_registry_guessed,
        chartproxy=chain.chartproxy,
        access=_access(upstream, chain, has_login=has_login),
        rules=rule_set,
    )


def signs_in_by_docker(rule_set: RuleSet, target: Target, upstream: Upstream | None) -> bool:
    """Whether a docker config.json has credentials for this target's registry, and rules.yaml has none."""
    if upstream is not None and upstream.has_credentials:
        return False
    places = login_places(target.repository.name, upstream)
    return any(rule_set.login_for(place) is not None for place in places)


def _access(upstream: Upstream | None, chain: Chain, *, has_login: bool) -> Access:
    """A login is used for registries alone: what comes from elsewhere is not private for it."""
    is_stated = upstream is not None and upstream.stated_access is not None
    if has_login and SourceName.REGISTRY in chain.sources and not is_stated:
        return Access.PRIVATE
    return Access.ANONYMOUS if upstream is None else upstream.access


def unknown_host_message(host: str) -> str:
    """What is said of every first segment that leads nowhere, whatever the reason.

    One text for what is no host name, for one that does not resolve and for one whose address is refused:
    else it would tell strangers what our network knows.
    """
    return (
        f"{host} cannot be reached from here: it is no host name, no such host, or one on a private network "
        f"that rules.yaml does not allow; a key {host} under `upstreams` there, with a url, would say what "
        "it stands for"
    )


def _refuse_what_is_no_place(target: Target, upstream: Upstream | None) -> None:
    host = target.host
    if upstream is None and not is_public_host(host):
        raise OciError(Situation.NAME_NOT_KNOWN, unknown_host_message(host))
    if not target.place:
        raise OciError(Situation.NAME_NOT_KNOWN, f"{host} is a host alone: a name on it is needed, {host}/…")


def is_public_host(host: str) -> bool:
    """Whether the name alone says that it is a host: dotted, with an alphabetic top level."""
    return len(host) <= MAX_HOST_LENGTH and _PUBLIC_HOST.fullmatch(host) is not None
