"""What the desk shows of an explanation: its steps as texts, for pages that set two beside each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway import explained_words as words
from gateway.explained import Explanation, HeldTold, RuleTried, SourceTold, TargetTold
from gateway.oci.reference import Tag
from gateway.rules.freshness import Standing
from gateway.rules.model import Access
from gateway.rules.policy_origins import PolicyOrigin
from gateway.rules.route import PLAIN

_SHOWN_RULES: Final = 4
_SHOWN_TAGS: Final = 5
_AT_ONCE: Final = frozenset({Standing.FRESH, Standing.JUST_STALE})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of it, in one line; ``look`` is ok, info or bad."""

    look: str
    text: str


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A rule that does not match. Where it stands is no difference between two explanations."""

    name: str
    why_not: str
    number: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """The rule that decides; ``number`` 0 where none does."""

    name: str
    text: str
    captured: str
    number: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Asked:
    source: str
    urls: Sequence[str]
    note: str | None


@dataclass(frozen=True, slots=True)
class Held:
    tag: str
    digest: str
    text: str


@dataclass(frozen=True, slots=True)
class Written:
    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class TargetShown:
    """``nobody`` is why nobody is asked. ``more_held`` are tags that are held beside those in ``held``."""

    name: str
    facts: Sequence[str]
    asks: Sequence[Asked]
    nobody: str | None
    held: Sequence[Held]
    more_held: int
    policy: Sequence[Written]
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """``looked_at`` are the last rules before the one that decides, ``passed`` how many were before them."""

    outcome: Outcome
    looked_at: Sequence[LookedAt]
    decision: Decision
    notes: Sequence[str]
    targets: Sequence[TargetShown]
    passed: int = field(compare=False)


def told(explanation: Explanation) -> Told:
    others = [tried for tried in explanation.tried if tried.why_not is not None]
    return Told(
        outcome=_outcome(explanation),
        looked_at=tuple(
            LookedAt(tried.rule.name, tried.why_not or "", tried.number) for tried in others[-_SHOWN_RULES:]
        ),
        decision=_decision(explanation),
        notes=tuple(_notes(explanation)),
        targets=tuple(_target(explanation, target) for target in explanation.targets),
        passed=max(0, len(others) - _SHOWN_RULES),
    )


def _decision(explanation: Explanation) -> Decision:
    tried = explanation.rule
    if tried is None:
        return Decision("", words.without_rule(explanation), "", 0)
    return Decision(_name(tried), _decided(tried), words.captured(tried), tried.number)


def _name(tried: RuleTried) -> str:
    """One that nobody named is called by its number, which another rule above it would change."""
    return "" if tried.rule.name == f"rule {tried.number}" else tried.rule.name


def _decided(tried: RuleTried) -> str:
    return f"{words.matching(tried)}; it {words.leading(tried)}"


def _notes(explanation: Explanation) -> Iterator[str]:
    if explanation.channel is not None:
        yield "; ".join(words.channel(explanation, explanation.channel))
    if len(explanation.targets) > 1 or explanation.home is not None:
        yield f"targets: {words.order(explanation)}"


def _target(explanation: Explanation, target: TargetTold) -> TargetShown:
    shown = target.held[:_SHOWN_TAGS]
    nobody = _nobody(explanation, target)
    return TargetShown(
        name=str(target.route.target),
        facts=tuple(_facts(target)),
        asks=() if nobody else tuple(_asked(source) for source in target.chain),
        nobody=nobody,
        held=tuple(_held(explanation, target, held) for held in shown) or tuple(_bare(explanation, target)),
        more_held=len(target.held) - len(shown),
        policy=tuple(
            Written(value.key, words.value(value), value.origin.value)
            for value in target.policy
            if value.origin is not PolicyOrigin.BUILT_IN
        ),
        warning=None if target.hidden is None else f"this tag is not shown here: {target.hidden}",
    )


def _facts(target: TargetTold) -> Iterator[str]:
    route = target.route
    yield words.upstream(route)
    if route.variant != PLAIN:
        yield words.variant(route)
    if route.access is Access.PRIVATE:
        yield "private: a client that has not signed in is answered 401"


def _nobody(explanation: Explanation, target: TargetTold) -> str | None:
    if explanation.is_offline:
        return "nobody: offline"
    if explanation.is_asked(target):
        return None
    return f"nobody for this tag: it {'is hidden' if explanation.home is None else 'stays elsewhere'}"


def _asked(source: SourceTold) -> Asked:
    return Asked(source.name.value, tuple(source.urls), words.source_note(source))


def _held(explanation: Explanation, target: TargetTold, held: HeldTold) -> Held:
    confirmed = f"by {held.row.source}, confirmed {words.age(explanation, held)} ago"
    served = words.served(explanation, held) if target.hidden is None else "not served, for it is hidden"
    return Held(held.row.tag, str(held.row.digest), f"{confirmed}; {served}")


def _bare(explanation: Explanation, target: TargetTold) -> Iterator[Held]:
    if target.has_digest:
        yield Held("", str(explanation.asked.reference), "held under no tag; served for good")


def _outcome(explanation: Explanation) -> Outcome:
    """The end of it all: what a client gets, by what is known here."""
    refusal = explanation.refusal
    if refusal is not None and not explanation.targets:
        return Outcome("bad", f"Refused: {refusal.status} {refusal.code.value}, {refusal.message}")
    if explanation.asked.reference is None:
        names = ", then ".join(str(target.route.target) for target in explanation.targets)
        return Outcome("ok", f"Leads to {names}.")
    return _of_targets(explanation)


def _of_targets(explanation: Explanation) -> Outcome:
    served = next((one for one in explanation.targets if _is_served(explanation, one)), None)
    if served is not None:
        return Outcome("ok", f"Served from the cache, {served.route.target}: nobody has to be asked first.")
    if explanation.is_offline:
        return Outcome("bad", "Not served: it is not held, and offline nobody is asked.")
    asked = [target for target in explanation.targets if explanation.is_asked(target)]
    for target in asked:
        sources = ", then ".join(_dialled(target))
        if sources:
            first = "Held, and asked for again" if target.held else "Not held yet: asked for"
            return Outcome("ok" if target.held else "info", f"{first} upstream, by {sources}.")
    hidden = next((target.hidden for target in explanation.targets if target.hidden is not None), None)
    if hidden is not None:
        return Outcome("bad", f"Refused: 404 MANIFEST_UNKNOWN, this tag is hidden by {hidden}.")
    return Outcome("bad", "Nobody can be asked: every source is left out.")


def _is_served(explanation: Explanation, target: TargetTold) -> bool:
    """Whether what is held is answered at once."""
    if target.hidden is not None or explanation.home not in (None, target.route.target):
        return False
    if not isinstance(explanation.asked.reference, Tag):
        return target.has_digest or bool(target.held)
    if not target.held or explanation.is_offline:
        return bool(target.held)
    is_first = explanation.home is not None or target is explanation.targets[0]
    return is_first and target.held[0].is_of_chain and target.held[0].standing in _AT_ONCE


def _dialled(target: TargetTold) -> Iterator[str]:
    for source in target.chain:
        if source.why_not is None and source.is_registry is not False:
            yield f"{source.name} (if it is one)" if source.is_guessed else source.name.value
