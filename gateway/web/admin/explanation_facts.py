"""An explanation as the admin API gives it: what ``gateway explain --json`` prints, as types."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec

from gateway.explain_facts import facts
from gateway.explained import Explanation

_RULES_TOLD: Final = 200


class TriedRule(msgspec.Struct, frozen=True):
    """A rule that was looked at; ``why_not`` is null for the one that decides."""

    number: int
    name: str
    line: int
    host: str | None
    repository: str | None
    rewrite: Sequence[str]
    matched: bool
    why_not: str | None
    captures: dict[str, str] | None


class ChannelMeant(msgspec.Struct, frozen=True):
    """The range that a tag stands for, and the tag that this means by what is known now."""

    versions: str
    tag: str | None


class PolicyKey(msgspec.Struct, frozen=True, rename={"origin": "from"}):
    """A value as it could stand in rules.yaml, and where it stands."""

    value: str | bool | Sequence[str] | dict[str, str | list[str]] | None
    origin: str


class SourceAsked(msgspec.Struct, frozen=True):
    """A source, and the URLs it would ask; ``why_not`` is why it is left out."""

    source: str
    asks: Sequence[str]
    why_not: str | None
    is_guessed: bool
    is_registry: bool | None


class HeldTag(msgspec.Struct, frozen=True):
    tag: str
    digest: str
    source: str
    origin: str
    age_seconds: int
    standing: str
    is_fresh: bool
    is_of_chain: bool


class TargetFacts(msgspec.Struct, frozen=True):
    """One target: who would be asked for it, and what of it is held."""

    target: str
    variant: str
    upstream: str | None
    access: str
    policy: dict[str, PolicyKey]
    chartproxy: str | None
    chain: Sequence[SourceAsked]
    hidden: str | None
    is_asked: bool
    held: Sequence[HeldTag]
    has_digest: bool


class RefusalFacts(msgspec.Struct, frozen=True):
    code: str
    status: int
    message: str


class ExplanationFacts(msgspec.Struct, frozen=True):
    """``rule`` is the number of the one that decides; of very many ``rules`` the last ones are told."""

    asked: str
    host: str
    rule: int | None
    rules: Sequence[TriedRule]
    channel: ChannelMeant | None
    targets: Sequence[TargetFacts]
    tag_stays_at: str | None
    refusal: RefusalFacts | None
    is_offline: bool


def explanation_facts(told: Explanation) -> ExplanationFacts:
    return msgspec.convert(facts(replace(told, tried=told.tried[-_RULES_TOLD:])), ExplanationFacts)
