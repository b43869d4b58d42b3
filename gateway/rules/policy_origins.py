"""What a policy comes to in the words of rules.yaml, and where each value of it stands."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from gateway.rules.model import Policy, Rule, RuleSet, Upstream

Words: TypeAlias = str | bool | list[str] | dict[str, str] | dict[str, list[str]] | None

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60))


class PolicyOrigin(StrEnum):
    """Where a value stands: the first of these that has one wins."""

    RULE = "rule"
    UPSTREAM = "upstream"
    DEFAULTS = "defaults"
    BUILT_IN = "built in"


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """A key of rules.yaml, and its value as it could stand there; None for «nothing is said»."""

    key: str
    value: Words
    origin: PolicyOrigin


def policy_values(
    policy: Policy, rule: Rule | None, upstream: Upstream | None, rule_set: RuleSet
) -> Iterator[PolicyValue]:
    """Every key of the policy of a route by ``rule`` to a place on ``upstream``.

    What an upstream, or the defaults, say anew without a change counts as said before.
    """
    below = rule_set.defaults if upstream is None else upstream.policy
    for key, read in _READERS.items():
        value = read(policy)
        if rule is not None and (key in rule.stated or value != read(below)):
            origin = PolicyOrigin.RULE
        elif read(below) != read(rule_set.defaults) or _is_own_chartproxy(key, upstream):
            origin = PolicyOrigin.UPSTREAM
        elif value != read(_BUILT_IN):
            origin = PolicyOrigin.DEFAULTS
        else:
            origin = PolicyOrigin.BUILT_IN
        yield PolicyValue(key, value, origin)


def duration_words(seconds: float) -> str:
    """In the largest unit that divides it."""
    if math.isinf(seconds):
        return "forever"
    fitting = ((unit, size) for unit, size in _UNITS if seconds and seconds % size == 0)
    unit, size = next(fitting, ("s", 1))
    return f"{seconds / size:g}{unit}"


def _is_own_chartproxy(key: str, upstream: Upstream | None) -> bool:
    return key == "chartproxy" and upstream is not None and upstream.has_own_chartproxy


def _chain(policy: Policy) -> Words:
    return None if policy.chain is None else [source.value for source in policy.chain]


def _tags(policy: Policy) -> Words:
    lists = {"allow": list(policy.visibility.allow), "deny": list(policy.visibility.deny)}
    return {word: globs for word, globs in lists.items() if globs} or None


def _versions(policy: Policy) -> Words:
    return None if policy.visibility.versions is None else str(policy.visibility.versions)


def _channels(policy: Policy) -> Words:
    return {tag: str(versions) for tag, versions in policy.channels.items()} or None


_READERS: Final[Mapping[str, Callable[[Policy], Words]]] = {
    "chain": _chain,
    "chartproxy": lambda policy: policy.chartproxy,
    "fresh_for": lambda policy: duration_words(policy.fresh_for_seconds),
    "recheck_for": lambda policy: duration_words(policy.recheck_for_seconds),
    "stale_for": lambda policy: duration_words(policy.stale_for_seconds),
    "missing_for": lambda policy: duration_words(policy.missing_for_seconds),
    "deleted": lambda policy: policy.deleted.value,
    "drift": lambda policy: policy.drift.value,
    "digest_mismatch": lambda policy: policy.digest_mismatch.value,
    "deny": lambda policy: policy.deny,
    "tags": _tags,
    "versions": _versions,
    "min_age": lambda policy: duration_words(policy.visibility.min_age_seconds),
    "channels": _channels,
    "provenance": lambda policy: policy.provenance,
    "rewrite_dependencies": lambda policy: policy.rewrite_dependencies,
    "classic": lambda policy: policy.classic,
}
_BUILT_IN: Final = Policy()
