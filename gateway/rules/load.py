"""rules.yaml → RuleSet, or every problem in it at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.rules import values
from gateway.rules.checks import (
    chain_fault,
    check_chartproxy,
    check_exclusive,
    check_rules,
    has_key,
    members,
    place_below,
    place_of_key,
)
from gateway.rules.keys import EGRESS, POLICY, SECTIONS, UPSTREAM, Sections
from gateway.rules.model import Egress, Policy, RuleSet, Upstream
from gateway.rules.problems import Problem, Report, RulesError, Unreadable
from gateway.rules.rule_section import read_rules, read_tests
from gateway.rules.section import entries, fold, join
from gateway.rules.self_test import run_tests
from gateway.rules.sync_section import read_sync
from gateway.rules.tree import Node, ScalarNode, TreeError, parse_tree

_USERNAME = ("username_env", "username_file")
_PASSWORD = ("password_env", "password_file")
_TOKEN = ("token_env", "token_file")
_EITHER = (_USERNAME, _PASSWORD, _TOKEN, ("url", "urls"))


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something wrong with what a key names, found outside the file; ``keys`` lead there from the top."""

    keys: tuple[str, ...]
    message: str
    hint: str | None = None


def _no_complaints(_rule_set: RuleSet) -> Iterable[Complaint]:
    return ()


def load_rules(
    text: str | bytes,
    name: str = "rules.yaml",
    verify: Callable[[RuleSet], Iterable[Complaint]] = _no_complaints,
) -> RuleSet:
    """Read the text of a rules file and run its tests; raise RulesError with every problem.

    ``name`` is what problems call the file; ``verify`` looks for what it names outside.
    """
    report = Report(name)
    root = _parse(text, name)
    sections = fold(root, Sections(), SECTIONS, "", report)
    if not has_key(root, "version"):
        report.add(root.place, "version", "this key is missing", "start the file with version: 1")
    defaults = fold(sections.defaults, Policy(), POLICY, "defaults", report)
    rule_set = RuleSet(
        defaults=defaults,
        egress=fold(sections.egress, Egress(), EGRESS, "egress", report),
        upstreams=_upstreams(sections.upstreams, defaults, report),
        rules=read_rules(sections.rules, report),
        tests=read_tests(sections.tests, report),
        sync=read_sync(sections.sync, report),
    )
    _check_chains(sections, rule_set, report)
    check_exclusive(root, report)
    if not report.count:
        check_rules(root, rule_set, report)
        run_tests(rule_set, report)
    for complaint in verify(rule_set):
        report.add(
            place_below(root, complaint.keys), _path(complaint.keys), complaint.message, complaint.hint
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
    upstream = fold(
        node, Upstream(key=key.text, urls=(url,), policy=defaults, place=key.place), UPSTREAM, path, report
    )
    _check_pairs(key, node, path, report)
    return upstream


def _check_pairs(key: ScalarNode, node: Node, path: str, report: Report) -> None:
    """Keys that exclude each other, and keys that mean nothing alone."""
    for one, other in _EITHER:
        if has_key(node, one) and has_key(node, other):
            report.add(key.place, path, f"{one} and {other} exclude each other", "keep one of them")
    if has_key(node, *_TOKEN) and has_key(node, *_USERNAME, *_PASSWORD):
        report.add(key.place, path, "a token and a user name exclude each other", "keep one of them")
    if has_key(node, *_USERNAME) != has_key(node, *_PASSWORD):
        report.add(key.place, path, "a user name needs a password, and a password a user name")
    if has_key(node, "cert_file") != has_key(node, "key_file"):
        report.add(key.place, path, "cert_file and key_file need each other")


def _check_chains(sections: Sections, rule_set: RuleSet, report: Report) -> None:
    """What only shows once all policies are known."""
    defaults = rule_set.defaults
    check_chartproxy(sections.defaults, "defaults", rule_set, defaults, report)
    fault = chain_fault(defaults, None)
    if fault is not None:
        report.add(place_of_key(sections.defaults, "chain"), "defaults.chain", fault)
    for key, node in members(sections.upstreams):
        upstream = rule_set.upstreams.get(key.text)
        if upstream is None:
            continue
        path = join("upstreams", key.text)
        check_chartproxy(node, path, rule_set, upstream.policy, report)
        its_fault = chain_fault(upstream.policy, upstream)
        if its_fault is not None and (fault is None or has_key(node, "chain", "chartproxy", "provenance")):
            report.add(place_of_key(node, "chain", key.place), join(path, "chain"), its_fault)


def _path(keys: Sequence[str]) -> str:
    path = ""
    for key in keys:
        path = f"{path}[{key}]" if key.isdigit() else join(path, key)
    return path
