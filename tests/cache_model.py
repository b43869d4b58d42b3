"""What a gateway may answer, as far as its own words go: a small model of one cache."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.oci.digest import Digest

MISSING_SECONDS: Final = 30.0  # missing_for
QUIET_SECONDS: Final = 60.0  # after a trouble: every pause and every remembered refusal is over
INDEX_SECONDS: Final = 301.0  # a Helm index is believed for so long
REFUSALS: Final = frozenset({404, 429, 502, 503})


@dataclass(frozen=True, slots=True)
class Policy:
    """What the rules say just now; times in seconds."""

    fresh: float = 300.0
    recheck: float = 86_400.0
    follows: bool = False
    drops: bool = False
    is_offline: bool = False


@dataclass(slots=True)
class Tag:
    """``now`` is what upstream has; ``may_hold`` what the gateway may have kept, None for nothing."""

    is_chart: bool
    now: Digest | None = None
    changed_at: float = float("-inf")
    former: set[Digest | None] = field(default_factory=set)  # what an index may still say that was read then
    may_hold: set[Digest | None] = field(default_factory=lambda: {None})
    confirmed_at: float = float("-inf")
    refused_at: float = float("-inf")
    manifest: bytes = b""  # as it was served last

    @property
    def is_held(self) -> bool:
        return None not in self.may_hold

    def publish(self, content: Digest | None, clock: float, *, is_asked_just_now: bool) -> None:
        if self.is_chart:
            self.former.add(self.now)
        self.now, self.changed_at = content, clock
        if is_asked_just_now and content is not None:
            self.may_hold.add(content)

    def is_fresh(self, policy: Policy, clock: float) -> bool:
        """Served unasked."""
        lasts = policy.recheck if self.is_chart else policy.fresh
        return self.is_held and clock < self.confirmed_at + lasts

    def keeps(self, policy: Policy) -> bool:
        """Whether what is held stays whatever upstream does: an exact version of a chart."""
        return self.is_chart and self.is_held and not policy.follows

    def may_answer(self, policy: Policy, *, is_clear: bool) -> set[Digest | None]:
        """What a 200 may hold, and None where there may be another answer.

        ``is_clear``: whoever asks upstream now learns what is there now.
        """
        if policy.is_offline or self.keeps(policy):
            return set(self.may_hold)
        return {*self.may_hold, self.now, *(() if is_clear else self.former)}

    def is_certain(self, clock: float) -> bool:
        """Whether an honest upstream is asked, and what it has seen."""
        waits = INDEX_SECONDS if self.is_chart else 0.0
        return clock > max(self.refused_at + MISSING_SECONDS, self.changed_at + waits)

    def asked_unseen(self, policy: Policy) -> None:
        """Upstream may be asked for it, and nobody here sees what comes of that."""
        may_come = self.may_answer(policy, is_clear=False)
        self.may_hold |= may_come if policy.drops or not self.is_held else may_come - {None}

    def answered(self, content: Digest, policy: Policy, confirmed_at: float, clock: float) -> None:
        """Whoever is served what upstream did not just confirm has it asked for behind."""
        self.confirmed_at = confirmed_at
        self.may_hold = {content}
        if confirmed_at < clock:
            self.asked_unseen(policy)


@dataclass(slots=True)
class Repository:
    """What one name had upstream, ever, and what the gateway served of it for sure."""

    is_chart: bool
    tags: dict[str, Tag]
    manifests: dict[Digest, bytes] = field(default_factory=dict)
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    named: set[Digest] = field(default_factory=set)  # by manifests, ever
    served: dict[Digest, bytes] = field(default_factory=dict)  # manifests
    rights: set[Digest] = field(default_factory=set)  # blobs

    def serve(self, manifest: bytes, named: Iterable[Digest]) -> None:
        self.served[Digest.of(manifest)] = manifest
        self.named |= set(named)
