"""Single things of an explanation in words, for whoever shows it: a terminal, a page."""

import json
from collections.abc import Iterator
from typing import Final

from gateway.explained import ChannelTold, Explanation, HeldTold, RuleTried, SourceTold
from gateway.oci.digest import Digest
from gateway.rules.freshness import Standing
from gateway.rules.model import Upstream
from gateway.rules.policy_origins import PolicyValue
from gateway.rules.quantities import rough_duration
from gateway.rules.route import PROVENANCE, Route

_STANDS: Final = {
    Standing.FRESH: "served at once, nobody is asked",
    Standing.JUST_STALE: "served at once, upstream is asked behind",
    Standing.STALE: "upstream is asked first, else this is served",
    Standing.EXPIRED: "served once upstream confirms it again",
}


def matching(tried: RuleTried) -> str:
    """``host … and repository … match``."""
    look = tried.rule.look
    patterns = (("host", look.host), ("repository", look.repository))
    found = [f"{word} {pattern.text}" for word, pattern in patterns if pattern is not None]
    return f"{' and '.join(found)} {'match' if len(found) > 1 else 'matches'}"


def captured(tried: RuleTried) -> str:
    captures = {} if tried.captures is None else tried.captures.told()
    return ", ".join(f"{name} = {text}" for name, text in captures.items())


def leading(tried: RuleTried) -> str:
    """What the rule does, behind «it»."""
    if tried.rule.deny is not None:
        return "denies"
    if tried.rule.rewrites:
        return f"leads to {', then '.join(rewrite.text for rewrite in tried.rule.rewrites)}"
    return "keeps the name"


def without_rule(told: Explanation) -> str:
    return f"{'none matches' if told.tried else 'there are none'}: the name is its own target"


def channel(told: Explanation, found: ChannelTold) -> Iterator[str]:
    yield f'{told.asked.reference} means the newest version in "{found.versions}"'
    if found.tag is None:
        yield "none is known here: a pull asks for the list of versions first"
    else:
        yield f"by what is known here that is {found.tag}"


def order(told: Explanation) -> str:
    if told.home is None:
        return f"{len(told.targets)}, in this order: only a definite «not there» leads on to the next"
    return (
        f"{len(told.targets)}, and the tag stays at {told.home}, where it was found first: "
        "none of the others is asked for it"
    )


def variant(route: Route) -> str:
    if route.variant == PROVENANCE:
        return "provenance: with the .prov file, where there is one"
    return f"dependencies: their URLs are rewritten to lead to {route.own_host}"


def upstream(route: Route) -> str:
    found = route.upstream
    if found is None:
        return f"{route.target.host}, of which rules.yaml says nothing: https, anonymous, public"
    return f"{found.key} (line {found.place.line}): {', '.join(_traits(found))}"


def _traits(found: Upstream) -> Iterator[str]:
    yield f"kind {found.kind}"
    if found.has_credentials:
        yield "signs in"
    if found.cert_file is not None:
        yield "shows a certificate"
    if found.allow_private:
        yield "may lie on a private network"
    yield found.access.value


def value(policy: PolicyValue) -> str:
    """As rules.yaml could have it on one line."""
    return policy.value if isinstance(policy.value, str) else json.dumps(policy.value, ensure_ascii=False)


def source_note(source: SourceTold) -> str | None:
    if source.why_not is not None:
        return f"left out: {source.why_not}"
    if not source.is_guessed:
        return None
    if source.is_registry is None:
        return "if it is a registry: that is found out first"
    return "it is a registry" if source.is_registry else "left out: it is no registry, as was found out"


def served(told: Explanation, held: HeldTold) -> str:
    if isinstance(told.asked.reference, Digest):
        return "served for good"
    if told.is_offline:
        return "served at once: offline"
    if not held.is_of_chain:
        return "not served, for that source is not asked here"
    return f"{held.standing}: {_STANDS[held.standing]}"


def age(told: Explanation, held: HeldTold) -> str:
    return rough_duration(told.now - held.row.confirmed_at)
