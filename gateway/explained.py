"""What an explanation holds: the rules that were tried, the targets, who would be asked, what is held."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from gateway.helm.ranges import VersionRange
from gateway.oci.errors import OciError
from gateway.oci.location import Location
from gateway.oci.reference import Tag
from gateway.oci.target import Target
from gateway.rules.freshness import Standing
from gateway.rules.model import Rule, SourceName
from gateway.rules.policy_origins import PolicyValue
from gateway.rules.rewrites import Captures
from gateway.rules.route import Route
from gateway.rules.visibility import digest_of_fallback_tag
from gateway.store.rows import TagRow


@dataclass(frozen=True, slots=True)
class RuleTried:
    """A rule that was looked at; ``number`` counts from 1, ``why_not`` is None for the one that decides."""

    number: int
    rule: Rule
    why_not: str | None
    captures: Captures | None = None


@dataclass(frozen=True, slots=True)
class SourceTold:
    """A source of the chain, and the URLs it would ask; each next one where those before are down.

    ``why_not`` is why it is left out. ``is_guessed``: it is asked only where upstream is a registry, and
    ``is_registry`` is what was learnt of that; None where nobody has asked yet.
    """

    name: SourceName
    urls: Sequence[str] = ()
    why_not: str | None = None
    is_guessed: bool = False
    is_registry: bool | None = None


@dataclass(frozen=True, slots=True)
class HeldTold:
    """A tag that is held; ``is_of_chain``: it came from a source of this route, and so counts."""

    row: TagRow
    standing: Standing
    is_of_chain: bool


@dataclass(frozen=True, slots=True)
class TargetTold:
    """One target: who would be asked for it, and what of it is held.

    ``held`` is what the reference means, what is served before the rest; all where it names nothing.
    ``hidden`` is what hides the tag here. ``has_digest``: the very digest that was asked for is held, under
    a tag or under none.
    """

    route: Route
    policy: Sequence[PolicyValue]
    chain: Sequence[SourceTold]
    held: Sequence[HeldTold]
    hidden: str | None = None
    has_digest: bool = False


@dataclass(frozen=True, slots=True)
class ChannelTold:
    """The range that a tag stands for, and the tag that this means by what is known now, if any."""

    versions: VersionRange
    tag: str | None

    @property
    def meant(self) -> Tag | None:
        return None if self.tag is None else Tag(self.tag)


@dataclass(frozen=True, slots=True)
class Explanation:
    """``refusal`` is what a client is told where nothing, or nothing behind ``targets``, is gone to.

    ``home`` is the target that the tag stays at: no other is asked for it. ``is_offline``: a pull would ask
    nobody. ``now`` is in seconds since the epoch.
    """

    asked: Location
    host: str
    tried: Sequence[RuleTried]
    now: float
    is_offline: bool
    targets: Sequence[TargetTold] = ()
    refusal: OciError | None = None
    channel: ChannelTold | None = None
    home: Target | None = None

    @property
    def rule(self) -> RuleTried | None:
        """The one that decides; None where the name is its own target."""
        return next((one for one in self.tried if one.why_not is None), None)

    def is_asked(self, target: TargetTold) -> bool:
        """Whether a pull gets to this target where those before have nothing.

        It stops at one where the tag is hidden; a fallback tag alone may be another target's.
        """
        if self.is_offline or target.hidden is not None or self.home not in (None, target.route.target):
            return False
        if self.home is not None or self._is_for_fallback_tag:
            return True
        return all(one.hidden is None for one in takewhile(lambda one: one is not target, self.targets))

    @property
    def _is_for_fallback_tag(self) -> bool:
        tag = self.asked.reference
        return isinstance(tag, Tag) and digest_of_fallback_tag(tag.name) is not None
