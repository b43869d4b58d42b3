"""rules.yaml → RuleSet, or every problem in it at once."""

from collections.abc import Mapping, Sequence

from gateway.rules import values
from gateway.rules.chain import chain_of
from gateway.rules.keys import EGRESS, POLICY, SECTIONS, UPSTREAM, Sections
from gateway.rules.model import Egress, Policy, RuleSet, SourceName, Upstream
from gateway.rules.problems import Problem, Report, RulesError, Unreadable
from gateway.rules.route import is_public_host
from gateway.rules.section import entries, fold, join
from gateway.rules.tree import MappingNode, Node, Place, ScalarNode, TreeError, parse_tree

_USERNAME = ("username_env", "username_file")
_PASSWORD = ("password_env", "password_file")
_TOKEN = ("token_env", "token_file")
_EITHER = (_USERNAME, _PASSWORD, _TOKEN, ("url", "urls"))


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
    _check_chains(sections, rule_set, report)
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
    upstream = fold(node, Upstream(key=key.text, urls=(url,), policy=defaults), UPSTREAM, path, report)
    _check_pairs(key, node, path, report)
    return upstream


def _check_pairs(key: ScalarNode, node: Node, path: str, report: Report) -> None:
    """Keys that exclude each other, and keys that mean nothing alone."""
    for one, other in _EITHER:
        if _has(node, one) and _has(node, other):
            report.add(key.place, path, f"{one} and {other} exclude each other", "keep one of them")
    if _has(node, *_TOKEN) and _has(node, *_USERNAME, *_PASSWORD):
        report.add(key.place, path, "a token and a user name exclude each other", "keep one of them")
    if _has(node, *_USERNAME) != _has(node, *_PASSWORD):
        report.add(key.place, path, "a user name needs a password, and a password a user name")
    if _has(node, "cert_file") != _has(node, "key_file"):
        report.add(key.place, path, "cert_file and key_file need each other")


def _check_chains(sections: Sections, rule_set: RuleSet, report: Report) -> None:
    """What only shows once all policies are known."""
    defaults = rule_set.defaults
    _check_chartproxy(sections.defaults, "defaults", rule_set, defaults, report)
    fault = _chain_fault(defaults, None)
    if fault is not None:
        report.add(_place_of_key(sections.defaults, "chain"), "defaults.chain", fault)
    for key, node in _members(sections.upstreams):
        upstream = rule_set.upstreams.get(key.text)
        if upstream is None:
            continue
        path = join("upstreams", key.text)
        _check_chartproxy(node, path, rule_set, upstream.policy, report)
        its_fault = _chain_fault(upstream.policy, upstream)
        if its_fault is not None and (fault is None or _has(node, "chain", "chartproxy", "provenance")):
            report.add(_place_of_key(node, "chain", key.place), join(path, "chain"), its_fault)


def _chain_fault(policy: Policy, upstream: Upstream | None) -> str | None:
    if policy.provenance and policy.chain is not None and SourceName.CHARTPROXY in policy.chain:
        return "`provenance: true` and a chart proxy in `chain` exclude each other: it has none"
    chain = chain_of(policy, upstream, upstream.host if upstream else "", has_login=False)
    return None if chain.sources else f"no source is left to ask: {chain.emptied_by}"


def _check_chartproxy(node: Node, path: str, rule_set: RuleSet, policy: Policy, report: Report) -> None:
    place = policy.chartproxy
    if place is None or not _has(node, "chartproxy") or rule_set.upstream_for(place) is not None:
        return
    if not is_public_host(place.partition("/")[0]) or rule_set.is_local_name(place):
        where = _place_of_key(node, "chartproxy")
        report.add(where, join(path, "chartproxy"), "no public host, and no key of upstreams")


def _place_of_key(node: Node, name: str, otherwise: Place | None = None) -> Place:
    found = (key.place for key, _ in _members(node) if key.text == name)
    return next(found, otherwise or node.place)


def _has(node: Node, *names: str) -> bool:
    return any(key.text in names for key, _ in _members(node))


def _members(node: Node) -> Sequence[tuple[ScalarNode, Node]]:
    return node.entries if isinstance(node, MappingNode) else ()
