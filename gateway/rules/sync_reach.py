"""Which entries of ``sync:`` lists lead nowhere by the rules, whatever upstream has."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from gateway.oci.errors import OciError
from gateway.oci.repository import Repository
from gateway.rules.covering import Cover
from gateway.rules.match import Look
from gateway.rules.model import Rule, RuleSet
from gateway.rules.patterns import Pattern
from gateway.rules.problems import Fault
from gateway.rules.route import Wanted, route
from gateway.rules.rule_section import entry_path
from gateway.rules.section import join
from gateway.rules.sync_lists import SyncEntry

_ANY_HOST: Final = "gateway.invalid"  # this is about targets: our own name does not change them
_STAND_IN: Final = "x"


def sync_remarks(rule_set: RuleSet, cover: Cover) -> Iterator[tuple[str, Fault]]:
    """The entries that no rule lets anything through for, each with its path; they are tried all the same."""
    rules = replace(rule_set, own_host=rule_set.own_host or _ANY_HOST)
    for path, entry in _with_paths(rules):
        told = _refusal(rules, cover, entry.repository)
        if told is not None:
            yield (
                join(path, "repository"),
                Fault(entry.place, f"nothing comes of it: {told}", "see `gateway explain`"),
            )


def _with_paths(rules: RuleSet) -> Iterator[tuple[str, SyncEntry]]:
    for number, wanted in enumerate(rules.sync, start=1):
        for section, entries in (("charts", wanted.charts), ("images", wanted.images)):
            path = join(entry_path("sync", number), section)
            yield from ((entry_path(path, count), entry) for count, entry in enumerate(entries, start=1))


def _refusal(rules: RuleSet, cover: Cover, pattern: Pattern) -> str | None:
    """Why every name of the pattern is refused; None where any may lead somewhere, or it is in doubt."""
    if pattern.captures and not _is_as_any(rules, cover, pattern):
        return None
    name = pattern.text.replace("**", _STAND_IN).replace("*", _STAND_IN)
    try:
        route(rules, Wanted(Repository.parse_with_port(name)))
    except OciError as error:
        return error.message
    return None


def _is_as_any(rules: RuleSet, cover: Cover, pattern: Pattern) -> bool:
    """Whether any name of a glob tells of all: one rule denies them, or none takes any of them."""
    taker = cover.first(Look(None, pattern))
    enabled = rules.rules.enabled
    if taker is not None and enabled[taker].rewrites:
        return False  # what its targets are refused for is told of the rule
    begins = pattern.text.partition("*")[0]
    if any(key.startswith(begins) for key in rules.upstreams):
        return False
    host = pattern.text.partition("/")[0]
    return not any(_may_take(rule, host) for rule in enabled[:taker])


def _may_take(rule: Rule, first_segment: str) -> bool:
    """Whether a rule may match any name that begins so; a list is asked for under no host."""
    look = rule.look
    if look.host is not None and look.host.match("") is None:
        return False
    if look.repository is None or look.repository.segments is None:
        return True
    begins = look.repository.segments[0]
    return "*" in begins or begins == first_segment
