"""An explanation as a person reads it: a word in front of each line, at most 100 columns but for URLs."""

import json
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Final

from gateway.explained import ChannelTold, Explanation, HeldTold, RuleTried, SourceTold, TargetTold
from gateway.oci.digest import Digest
from gateway.rules.freshness import Standing
from gateway.rules.model import Access, Upstream
from gateway.rules.policy_origins import PolicyOrigin, PolicyValue
from gateway.rules.route import PLAIN, PROVENANCE, Route

_WIDTH: Final = 100
_LABEL: Final = 10
_SHOWN_RULES: Final = 3
_SHOWN_TAGS: Final = 5
_AGES: Final = (("d", 86_400), ("h", 3_600), ("min", 60))
_STANDS: Final = {
    Standing.FRESH: "served at once, nobody is asked",
    Standing.JUST_STALE: "served at once, upstream is asked behind",
    Standing.STALE: "upstream is asked first, else this is served",
    Standing.EXPIRED: "served once upstream confirms it again",
}


def text_of(told: Explanation, *, is_all: bool) -> str:
    """``is_all``: also each rule that does not match, and each tag that is held."""
    lines = list(_labelled("asked", [f"{told.asked}{_under(told.host)}"]))
    lines += _labelled("rules", _rules(told, is_all=is_all))
    if told.channel is not None:
        lines += _labelled("channel", _channel(told, told.channel))
    if len(told.targets) > 1 or told.home is not None:
        lines += _labelled("targets", [_order(told)])
    for number, target in enumerate(told.targets):
        before = told.targets[number - 1] if number else None
        lines += _target(told, target, before, is_all=is_all)
    lines += _labelled("refused", _refusal(told))
    return "\n".join(lines)


def _labelled(label: str, texts: Iterable[str]) -> Iterator[str]:
    """The label once; what is too long goes on below, where it began."""
    for text in texts:
        hanging = " " * (_LABEL + len(text) - len(text.lstrip()))
        yield from wrap(
            text,
            _WIDTH,
            initial_indent=f"{label:<{_LABEL}}",
            subsequent_indent=hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
        label = ""


def _under(host: str) -> str:
    return f", under the host {host}" if host else ""


def _rules(told: Explanation, *, is_all: bool) -> Iterator[str]:
    others = [tried for tried in told.tried if tried.why_not is not None]
    if is_all or len(others) <= _SHOWN_RULES:
        yield from (f"{_title(tried)}: {tried.why_not}" for tried in others)
    else:
        yield f"1 to {len(others)} do not match (--all tells why)"
    if told.rule is not None:
        yield from _decision(told.rule)
    elif not others:
        yield "there are none: the name is its own target"
    else:
        yield "none matches: the name is its own target"


def _title(tried: RuleTried) -> str:
    name = "" if tried.rule.name == f"rule {tried.number}" else f"{tried.rule.name} "
    return f"{tried.number}. {name}(line {tried.rule.place.line})"


def _decision(tried: RuleTried) -> Iterator[str]:
    rule, look = tried.rule, tried.rule.look
    patterns = (("host", look.host), ("repository", look.repository))
    matching = [f"{word} {pattern.text}" for word, pattern in patterns if pattern is not None]
    yield f"{_title(tried)} decides: {' and '.join(matching)} {'match' if len(matching) > 1 else 'matches'}"
    captures = {} if tried.captures is None else tried.captures.told()
    indent = " " * len(f"{tried.number}. ")
    if captures:
        yield f"{indent}with {', '.join(f'{name} = {text}' for name, text in captures.items())}"
    if rule.deny is not None:
        yield f"{indent}it denies"
    elif rule.rewrites:
        yield f"{indent}it leads to {', then '.join(rewrite.text for rewrite in rule.rewrites)}"
    else:
        yield f"{indent}it keeps the name"


def _channel(told: Explanation, channel: ChannelTold) -> Iterator[str]:
    yield f'{told.asked.reference} means the newest version in "{channel.versions}"'
    if channel.tag is None:
        yield "none is known here: a pull asks for the list of versions first"
    else:
        yield f"by what is known here that is {channel.tag}"


def _order(told: Explanation) -> str:
    if told.home is None:
        return f"{len(told.targets)}, in this order: only a definite «not there» leads on to the next"
    return (
        f"{len(told.targets)}, and the tag stays at {told.home}, where it was found first: "
        "none of the others is asked for it"
    )


def _target(
    told: Explanation, target: TargetTold, before: TargetTold | None, *, is_all: bool
) -> Iterator[str]:
    route = target.route
    if len(told.targets) > 1:
        yield ""
    yield from _labelled("target", [str(route.target)])
    if route.variant != PLAIN:
        yield from _labelled("variant", [_variant(route)])
    yield from _labelled("upstream", [_upstream(route)])
    if route.access is Access.PRIVATE:
        yield from _labelled("access", ["private: a client that has not signed in is answered 401"])
    is_same = before is not None and before.policy == target.policy
    yield from _labelled("policy", ["as for the target before"] if is_same else _policy(target.policy))
    if target.hidden is not None:
        yield from _labelled("hidden", [f"this tag is not shown here: {target.hidden}"])
    yield from _labelled("asks", _asks(told, target))
    yield from _labelled("cached", _cached(told, target, is_all=is_all))


def _variant(route: Route) -> str:
    if route.variant == PROVENANCE:
        return "provenance: with the .prov file, where there is one"
    return f"dependencies: their URLs are rewritten to lead to {route.own_host}"


def _upstream(route: Route) -> str:
    upstream = route.upstream
    if upstream is None:
        return f"{route.target.host}, of which rules.yaml says nothing: https, anonymous, public"
    return f"{upstream.key} (line {upstream.place.line}): {', '.join(_traits(upstream))}"


def _traits(upstream: Upstream) -> Iterator[str]:
    yield f"kind {upstream.kind}"
    if upstream.has_credentials:
        yield "signs in"
    if upstream.cert_file is not None:
        yield "shows a certificate"
    if upstream.allow_private:
        yield "may lie on a private network"
    yield upstream.access.value


def _policy(values: Sequence[PolicyValue]) -> Iterator[str]:
    """What somebody wrote, a line each; the rest together, but for what is not there."""
    written = [value for value in values if value.origin is not PolicyOrigin.BUILT_IN]
    width = max((len(value.key) for value in written), default=0)
    for value in written:
        yield f"{value.key:<{width}}  {_words(value)}  (from the {value.origin})"
    others = [value for value in values if value.origin is PolicyOrigin.BUILT_IN]
    told = [f"{value.key} {_words(value)}" for value in others if value.value not in (None, False, "0s")]
    yield f"built in: {', '.join(told)}"


def _words(value: PolicyValue) -> str:
    """As rules.yaml could have it on one line."""
    if isinstance(value.value, str):
        return value.value
    return json.dumps(value.value, ensure_ascii=False)


def _asks(told: Explanation, target: TargetTold) -> Iterator[str]:
    if told.is_offline:
        yield "nobody: offline"
        return
    if not told.is_asked(target):
        yield f"nobody for this tag: it {'is hidden' if told.home is None else 'stays elsewhere'}"
        return
    width = max(len(source.name) for source in target.chain)
    for number, source in enumerate(target.chain, start=1):
        lead = f"{number}. {source.name:<{width}}  "
        rest = " " * len(lead)
        for place, url in enumerate(source.urls):
            yield f"{lead if place == 0 else rest}{url}{', where that is down' if place else ''}"
        notes = list(_notes(source))
        yield from (f"{rest}{note}" for note in notes) if source.urls else (f"{lead}{note}" for note in notes)


def _notes(source: SourceTold) -> Iterator[str]:
    if source.why_not is not None:
        yield f"left out: {source.why_not}"
    elif source.is_guessed and source.is_registry is None:
        yield "if it is a registry: that is found out first"
    elif source.is_guessed:
        yield "it is a registry" if source.is_registry else "left out: it is no registry, as was found out"


def _cached(told: Explanation, target: TargetTold, *, is_all: bool) -> Iterator[str]:
    if target.has_digest and not target.held:
        yield f"{told.asked.reference}"
        yield "held under no tag; served for good"
    elif not target.held:
        yield "nothing of it"
    shown = target.held if is_all else target.held[:_SHOWN_TAGS]
    width = max((len(held.row.tag) for held in shown), default=0)
    for held in shown:
        yield f"{held.row.tag:<{width}}  {held.row.digest}"
        yield f"{'':<{width}}  by {held.row.source}, confirmed {_age(told, held)} ago; {_served(told, held)}"
    if len(shown) < len(target.held):
        yield f"and {len(target.held) - len(shown)} tags more (--all shows them)"


def _served(told: Explanation, held: HeldTold) -> str:
    if isinstance(told.asked.reference, Digest):
        return "served for good"
    if told.is_offline:
        return "served at once: offline"
    if not held.is_of_chain:
        return "not served, for that source is not asked here"
    return f"{held.standing}: {_STANDS[held.standing]}"


def _age(told: Explanation, held: HeldTold) -> str:
    seconds = max(0, round(told.now - held.row.confirmed_at))
    unit, size = next(((unit, size) for unit, size in _AGES if seconds >= size), ("s", 1))
    return f"{seconds // size} {unit}"


def _refusal(told: Explanation) -> Iterator[str]:
    """What a client hears; nothing where a pull ends before it gets there."""
    refusal = told.refusal
    if refusal is None:
        return
    text = f"{refusal.code} ({refusal.status}): {refusal.message}"
    targets = [target.route.target for target in told.targets]
    if not targets or told.home not in (None, *targets):
        yield text
    elif told.is_offline or all(told.is_asked(target) for target in told.targets):
        yield f"where none of the targets above has it, {text}"
