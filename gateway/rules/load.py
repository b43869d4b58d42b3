"""rules.yaml → RuleSet, or every problem in it at once."""

from collections.abc import Mapping

from gateway.rules import values
from gateway.rules.keys import EGRESS, POLICY, SECTIONS, UPSTREAM, Sections
from gateway.rules.model import Egress, Policy, RuleSet, Upstream
from gateway.rules.problems import Problem, Report, RulesError, Unreadable
from gateway.rules.section import entries, fold, join
from gateway.rules.tree import MappingNode, Node, ScalarNode, TreeError, parse_tree

_EITHER = (("username_env", "username_file"), ("password_env", "password_file"))


def load_rules(text: str | bytes, name: str = "rules.yaml") -> RuleSet:
    """Read the text of a rules file; ``name`` is what problems call it. Raise RulesError."""
    report = Report(name)
    root = _parse(text, name)
    sections = fold(root, Sections(), SECTIONS, "", report)
    if not _has(root, "version"):
        report.add(root.place, "version", "this key is missing", "start the file with version: 1")
    defaults = fold(sections.defaults, Policy(), POLICY, "defaults", report)
    rule_set = RuleSet(
        defaults=defaults,
        egress=fold(sections.egress, Egress(), EGRESS, "egress", report),
        upstreams=_upstreams(sections.upstreams, defaults, report),
    )
    report.raise_if_any()
    return rule_set


def _parse(text: str | bytes, name: str) -> Node:
    try:
        return parse_tree(text)
    except TreeError as error:
        place = error.place
        raise RulesError([Problem(name, place.line, place.column, "", error.message, error.hint)]) from error


def _upstreams(node: Node, defaults: Policy, report: Report) -> Mapping[str, Upstream]:
    found = (_upstream(key, value, defaults, report) for key, value in entries(node, "upstreams", report))
    return {upstream.key: upstream for upstream in found if upstream is not None}


def _upstream(key: ScalarNode, node: Node, defaults: Policy, report: Report) -> Upstream | None:
    path = join("upstreams", key.text)
    try:
        url = values.upstream_key(key)
    except Unreadable as error:
        for fault in error.faults:
            report.add(fault.place, path, fault.message, fault.hint)
        return None
    upstream = fold(node, Upstream(key=key.text, url=url, policy=defaults), UPSTREAM, path, report)
    _check_pairs(key, node, path, report)
    return upstream


def _check_pairs(key: ScalarNode, node: Node, path: str, report: Report) -> None:
    """Keys that exclude each other, and keys that mean nothing alone."""
    for one, other in _EITHER:
        if _has(node, one) and _has(node, other):
            report.add(key.place, path, f"{one} and {other} exclude each other", "keep one of them")
    if _has(node, *_EITHER[0]) != _has(node, *_EITHER[1]):
        report.add(key.place, path, "a user name needs a password, and a password a user name")
    if _has(node, "cert_file") != _has(node, "key_file"):
        report.add(key.place, path, "cert_file and key_file need each other")


def _has(node: Node, *names: str) -> bool:
    return isinstance(node, MappingNode) and any(key.text in names for key, _ in node.entries)
