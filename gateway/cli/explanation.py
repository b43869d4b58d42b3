"""An explanation as a person reads it: a word in front of each line, at most 100 columns but for URLs."""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Final

from gateway import explained_words as words
from gateway.explained import Explanation, RuleTried, TargetTold
from gateway.rules.model import Access
from gateway.rules.policy_origins import PolicyOrigin, PolicyValue
from gateway.rules.route import PLAIN

_WIDTH: Final = 100
_LABEL: Final = 10
_SHOWN_RULES: Final = 3
_SHOWN_TAGS: Final = 5


def text_of(told: Explanation, *, is_all: bool) -> str:
    """``is_all``: also each rule that does not match, and each tag that is held."""
    lines = list(_labelled("asked", [f"{told.asked}{_under(told.host)}"]))
    lines += _labelled("rules", _rules(told, is_all=is_all))
    if told.channel is not None:
        lines += _labelled("channel", words.channel(told, told.channel))
    if len(told.targets) > 1 or told.home is not None:
        lines += _labelled("targets", [words.order(told)])
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
    else:
        yield words.without_rule(told)


def _title(tried: RuleTried) -> str:
    name = "" if tried.rule.name == f"rule {tried.number}" else f"{tried.rule.name} "
    return f"{tried.number}. {name}(line {tried.rule.place.line})"


def _decision(tried: RuleTried) -> Iterator[str]:
    yield f"{_title(tried)} decides: {words.matching(tried)}"
    indent = " " * len(f"{tried.number}. ")
    captures = words.captured(tried)
    if captures:
        yield f"{indent}with {captures}"
    yield f"{indent}it {words.leading(tried)}"


def _target(
    told: Explanation, target: TargetTold, before: TargetTold | None, *, is_all: bool
) -> Iterator[str]:
    route = target.route
    if len(told.targets) > 1:
        yield ""
    yield from _labelled("target", [str(route.target)])
    if route.variant != PLAIN:
        yield from _labelled("variant", [words.variant(route)])
    yield from _labelled("upstream", [words.upstream(route)])
    if route.access is Access.PRIVATE:
        yield from _labelled("access", ["private: a client that has not signed in is answered 401"])
    is_same = before is not None and before.policy == target.policy
    yield from _labelled("policy", ["as for the target before"] if is_same else _policy(target.policy))
    if target.hidden is not None:
        yield from _labelled("hidden", [f"this tag is not shown here: {target.hidden}"])
    yield from _labelled("asks", _asks(told, target))
    yield from _labelled("cached", _cached(told, target, is_all=is_all))


def _policy(values: Sequence[PolicyValue]) -> Iterator[str]:
    """What somebody wrote, a line each; the rest together, but for what is not there."""
    written = [value for value in values if value.origin is not PolicyOrigin.BUILT_IN]
    width = max((len(value.key) for value in written), default=0)
    for value in written:
        yield f"{value.key:<{width}}  {words.value(value)}  (from the {value.origin})"
    others = [value for value in values if value.origin is PolicyOrigin.BUILT_IN]
    told = [f"{value.key} {words.value(value)}" for value in others if value.value not in (None, False, "0s")]
    yield f"built in: {', '.join(told)}"


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
        note = words.source_note(source)
        if note is not None:
            yield f"{rest if source.urls else lead}{note}"


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
        confirmed = f"by {held.row.source}, confirmed {words.age(told, held)} ago"
        yield f"{'':<{width}}  {confirmed}; {words.served(told, held)}"
    if len(shown) < len(target.held):
        yield f"and {len(target.held) - len(shown)} tags more (--all shows them)"


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
