"""``rules`` and ``tests`` of rules.yaml, entry by entry."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import Final

from gateway.rules.identity import look_key
from gateway.rules.keys import RULE, TEST, AskDraft, RuleDraft
from gateway.rules.match import Look
from gateway.rules.model import Policy, Rule, Rules, RuleTest
from gateway.rules.patterns import Pattern, PatternError
from gateway.rules.problems import Report
from gateway.rules.rewrites import Rewrite, capture_names, parse_rewrite
from gateway.rules.rule_values import fault_at
from gateway.rules.section import Change, fold
from gateway.rules.tree import MappingNode, Node, ScalarNode, SequenceNode

MAX_RULES: Final = 10_000
_PATTERNS: Final = frozenset({"host", "repository"})


def read_rules(node: Node, report: Report) -> Rules:
    """Every rule that can be read; the others are reported."""
    found = [_rule(number, item, report) for number, item in items(node, "rules", report)]
    return Rules([rule for rule in found if rule is not None])


def read_tests(node: Node, report: Report) -> tuple[RuleTest, ...]:
    found = (_test(number, item, report) for number, item in items(node, "tests", report))
    return tuple(test for test in found if test is not None)


def entry_path(section: str, number: int) -> str:
    """``rules[3]``; entries count from 1, as people do."""
    return f"{section}[{number}]"


def items(
    node: Node, section: str, report: Report, limit: int = MAX_RULES
) -> Iterator[tuple[int, MappingNode]]:
    """The entries of a list, numbered; whatever has no keys is reported, and so is too much."""
    if isinstance(node, ScalarNode) and node.is_null:
        return
    if not isinstance(node, SequenceNode):
        report.add(node.place, section, "expected a list", "each entry begins with a dash: - repository: …")
        return
    if len(node.items) > limit:
        report.add(node.place, section, f"more than {limit} entries")
        return
    for number, item in enumerate(node.items, start=1):
        if isinstance(item, MappingNode):
            yield number, item
        else:
            report.add(item.place, entry_path(section, number), "expected keys and values")


def _rule(number: int, node: MappingNode, report: Report) -> Rule | None:
    path = entry_path("rules", number)
    before = report.count
    draft = fold(node, RuleDraft(), RULE, path, report)
    _check_keys(node, path, report)
    look = Look(draft.host, draft.repository)
    patterns = [one for one in (look.host, look.repository) if one is not None]
    _check_groups(patterns, node, path, report)
    is_known = report.count == before or len(patterns) == _count_of_patterns(node)
    rewrites = tuple(_rewrites(draft.rewrites, patterns, path, report)) if is_known else ()
    if report.count > before:
        return None
    change = _joined(draft.changes)
    deny = change(Policy()).deny if "deny" in draft.stated else None
    name = draft.name or f"rule {number}"
    return Rule(
        name,
        node.place,
        look,
        rewrites,
        draft.stated,
        change,
        deny,
        capture_names=tuple(capture_names(patterns).items()),
        key=look_key(look),
        is_enabled=draft.is_enabled,
    )


def _count_of_patterns(node: MappingNode) -> int | None:
    """How many a rule should have; None where one may hide behind a misspelt key, or there is none."""
    names = [key.text for key, _ in node.entries]
    if not RULE.keys() >= set(names):
        return None
    return sum(name in _PATTERNS for name in names) or None


def _check_keys(node: MappingNode, path: str, report: Report) -> None:
    names = {key.text: key.place for key, _ in node.entries}
    if not names.keys() & _PATTERNS and names.keys() <= RULE.keys():  # a misspelt one is told already
        report.add(
            node.place,
            path,
            "it matches nothing in particular",
            'it needs `host` or `repository` under the same dash; "**" matches every name',
        )
    if "classic" in names and "host" not in names:
        report.add(
            names["classic"],
            f"{path}.classic",
            "it is about the host that was asked, and this rule has no `host`",
            "put `host` under the same dash, such as host: argoproj.github.io",
        )
    if "deny" in names and "rewrite" in names:
        report.add(names["rewrite"], path, "a rule that denies leads nowhere", "keep one: deny, or rewrite")


def _check_groups(patterns: Sequence[Pattern], node: MappingNode, path: str, report: Report) -> None:
    """A name stands for one capture, of the host or of the name."""
    names = [name for pattern in patterns for name in pattern.names]
    place = next((key.place for key, _ in node.entries if key.text == "repository"), node.place)
    for name in sorted({name for name in names if names.count(name) > 1}):
        message = f"the group {name} stands in `host` too"
        report.add(place, f"{path}.repository", message, "give one of them another name")


def _rewrites(
    nodes: Iterable[ScalarNode], patterns: Sequence[Pattern], path: str, report: Report
) -> Iterator[Rewrite]:
    for node in nodes:
        try:
            yield parse_rewrite(node.text, patterns)
        except PatternError as error:
            fault = fault_at(node, error.offset, str(error), error.hint)
            report.add(fault.place, f"{path}.rewrite", fault.message, fault.hint)


def _joined(changes: Iterable[Change[Policy]]) -> Callable[[Policy], Policy]:
    steps = tuple(changes)

    def change(policy: Policy) -> Policy:
        return reduce(lambda changed, step: step(changed), steps, policy)

    return change


def _test(number: int, node: MappingNode, report: Report) -> RuleTest | None:
    path = entry_path("tests", number)
    before = report.count
    draft = fold(node, AskDraft(), TEST, path, report)
    if report.count > before:
        return None
    if draft.ask is None or draft.expected is None:
        report.add(
            node.place, path, "a test has a name to ask for and the target it leads to", "{ask: …, target: …}"
        )
        return None
    return RuleTest(draft.ask, draft.host, node.place, draft.expected.targets, draft.expected.refusal)
