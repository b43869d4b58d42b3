"""From the name that was asked for to the place upstream, and the policy that holds there."""

import re
from dataclasses import dataclass
from enum import StrEnum

from gateway.oci.errors import OciError, Situation
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.rules.model import Policy, RuleSet, Upstream

MAX_HOST_LENGTH = 253
_LABEL = r"(?=[a-z0-9-]{1,63}\.)[a-z0-9](?:-*[a-z0-9])*"
_PUBLIC_HOST = re.compile(rf"(?:{_LABEL}\.)+(?:[a-z]{{2,63}}|xn--[a-z0-9-]{{1,59}})")


class Variant(StrEnum):
    """Two answers about one target that are never the same content."""

    PLAIN = "plain"
    PROVENANCE = "provenance"


@dataclass(frozen=True, slots=True)
class Route:
    """What ``name`` stands for; the cache belongs to (target, variant)."""

    name: Repository
    target: Target
    variant: Variant
    upstream: Upstream | None
    policy: Policy


def route(rule_set: RuleSet, repository: Repository) -> Route:
    """Return the route of a name, or raise OciError NAME_NOT_KNOWN or DENIED."""
    target = Target(repository)
    upstream = rule_set.upstream_for(target.place)
    policy = rule_set.policy_for(target.place)
    _refuse_what_is_no_place(target, upstream)
    denial = rule_set.denial(target.place)
    if denial is not None:
        raise OciError(Situation.DENIED, f"{repository}: {denial}")
    if rule_set.is_local_name(target.place):
        raise OciError(Situation.NAME_NOT_KNOWN, unknown_host_message(target.host))
    variant = Variant.PROVENANCE if policy.provenance else Variant.PLAIN
    return Route(repository, target, variant, upstream, policy)


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
    if upstream is None and not _is_public_host(host):
        raise OciError(Situation.NAME_NOT_KNOWN, unknown_host_message(host))
    if not target.place:
        raise OciError(Situation.NAME_NOT_KNOWN, f"{host} is a host alone: a name on it is needed, {host}/…")


def _is_public_host(host: str) -> bool:
    return len(host) <= MAX_HOST_LENGTH and _PUBLIC_HOST.fullmatch(host) is not None
