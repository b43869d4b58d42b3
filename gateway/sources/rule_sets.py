"""The rule sets that are asked under of late: what is worked out of each once, and its own number."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from cachetools import LRUCache

from gateway.oci.urls import HttpUrl
from gateway.rules.model import RuleSet, Upstream
from gateway.sources.places import by_authority

_REMEMBERED = 2  # one is in force; requests that began before it came end under the older one


@dataclass(frozen=True, slots=True)
class KnownRules:
    """``number`` is this rule set's and no other's, ever: who keeps something by it keeps no rules alive."""

    rules: RuleSet
    number: int
    _by_authority: Mapping[str, Sequence[Upstream]]

    def upstreams_at(self, url: HttpUrl) -> Iterable[Upstream]:
        """Those that may be on the URL's host."""
        return self._by_authority.get(url.authority, ())


class RuleSets:
    """Told apart by identity: two that read the same are two. One forgotten and met again is a new one."""

    def __init__(self) -> None:
        self._known: LRUCache[int, KnownRules] = LRUCache(_REMEMBERED)
        self._numbers = count(1)

    def of(self, rules: RuleSet) -> KnownRules:
        known = self._known.get(id(rules))  # no other has its id: what is remembered stays alive
        if known is None:
            known = KnownRules(rules, next(self._numbers), by_authority(rules.upstreams.values()))
            self._known[id(rules)] = known
        return known
