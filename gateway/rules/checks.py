"""What shows once all of rules.yaml is read: keys that contradict each other, rules that lead nowhere."""

from collections.abc import Iterator, Sequence

from gateway.rules.chain import chain_of
from gateway.rules.model import Policy, Rule, RuleSet, SourceName, Upstream
from gateway.rules.problems import Report
from gateway.rules.route import is_public_host
from gateway.rules.section import join
from gateway.rules.tree import MappingNode, Node, Place, ScalarNode, SequenceNode

PROVENANCE_AND_PROXY = "`provenance: true` and a chart proxy in `chain` exclude each other: it has none"
_EXCLUSIVE = ("provenance", "rewrite_dependencies")


def check_exclusive(root: Node, report: Report) -> None:
    """What a rewritten chart is signed with does not fit it any more: never both in one place."""
    for path, node in _policy_nodes(root):
        if all(_is_true(node, name) for name in _EXCLUSIVE):
            report.add(
                place_of_key(node, _EXCLUSIVE[1]),
                join(path, _EXCLUSIVE[1]),
                "excludes `provenance: true`: a chart that is changed has no signature",
                "keep one of them",
            )


_NO_PLACE = (
    "a target is <host>/<path>/<name>; any other host gets a key under upstreams, with a url, and with "
    "allow_private where that is on a private network"
)


def check_rules(root: Node, rule_set: RuleSet, report: Report) -> None:
    """Rules whose written target, or chart proxy, is no place, or that leave nobody to ask."""
    hosts = frozenset(key.partition("/")[0] for key in rule_set.upstreams)
    nodes = [(path, node) for path, node in _policy_nodes(root) if path.startswith("rules[")]
    for (path, node), rule in zip(nodes, rule_set.rules, strict=True):
        if "chartproxy" in rule.stated:
            check_chartproxy(node, path, rule_set, rule.change(Policy()), report)
        for host in dict.fromkeys(rewrite.host for rewrite in rule.rewrites):
            if host is not None and host not in hosts and not _is_reachable(rule_set, host):
                message = f"{host} is no public host, and no key of upstreams"
                report.add(rule.place, f"{path}.rewrite", message, _NO_PLACE)
        fault = _chain_fault_of(rule_set, rule)
        if fault is not None:
            report.add(rule.place, f"{path}.chain", fault)


def check_chartproxy(node: Node, path: str, rule_set: RuleSet, policy: Policy, report: Report) -> None:
    place = policy.chartproxy
    if place is None or not has_key(node, "chartproxy") or rule_set.upstream_for(place) is not None:
        return
    if not _is_reachable(rule_set, place.partition("/")[0]):
        where = place_of_key(node, "chartproxy")
        report.add(where, join(path, "chartproxy"), "no public host, and no key of upstreams")


def chain_fault(policy: Policy, upstream: Upstream | None, *, is_proxy_ruled: bool = False) -> str | None:
    """Why nothing can be asked under a policy."""
    if policy.provenance and policy.chain is not None and SourceName.CHARTPROXY in policy.chain:
        return PROVENANCE_AND_PROXY
    host = "" if upstream is None else upstream.host
    chain = chain_of(policy, upstream, host, has_login=False, is_proxy_ruled=is_proxy_ruled)
    return None if chain.sources else f"no source is left to ask: {chain.emptied_by}"


def _is_reachable(rule_set: RuleSet, host: str) -> bool:
    """Whether a host that is no key may be dialled, as far as its name says."""
    return is_public_host(host) and not rule_set.is_local_name(host)


def _chain_fault_of(rule_set: RuleSet, rule: Rule) -> str | None:
    """That of any target whose host is written; where the name is kept, what every upstream makes of it."""
    if not rule.stated & {"chain", "chartproxy", "provenance"}:
        return None  # then the fault is told where it stands
    if rule.rewrites:
        places = (rewrite.parts[0] for rewrite in rule.rewrites if rewrite.host is not None)
        ways = (rule_set.upstream_for(str(place).rpartition("/")[0]) for place in places)
        return next(filter(None, (_fault_under(rule_set, rule, upstream) for upstream in ways)), None)
    fault = _fault_under(rule_set, rule, None)
    if fault is None or not all(_fault_under(rule_set, rule, one) for one in rule_set.upstreams.values()):
        return None
    return fault


def _fault_under(rule_set: RuleSet, rule: Rule, upstream: Upstream | None) -> str | None:
    policy = rule.change(rule_set.defaults if upstream is None else upstream.policy)
    return chain_fault(policy, upstream, is_proxy_ruled="chartproxy" in rule.stated)


def _policy_nodes(root: Node) -> Iterator[tuple[str, Node]]:
    """Every mapping that policy keys may stand in, with its path."""
    for key, node in members(root):
        if key.text == "defaults":
            yield "defaults", node
        if key.text == "upstreams":
            yield from ((join("upstreams", name.text), one) for name, one in members(node))
        if key.text == "rules" and isinstance(node, SequenceNode):
            yield from ((f"rules[{number}]", one) for number, one in enumerate(node.items, start=1))


def _is_true(node: Node, name: str) -> bool:
    found = next((value for key, value in members(node) if key.text == name), None)
    return isinstance(found, ScalarNode) and found.is_plain and found.text.lower() == "true"


def place_of_key(node: Node, name: str, otherwise: Place | None = None) -> Place:
    found = (key.place for key, _ in members(node) if key.text == name)
    return next(found, otherwise or node.place)


def place_below(root: Node, keys: Sequence[str]) -> Place:
    """Where the last of these keys stands, or the last one that is there; numbers count from 1."""
    place, node = root.place, root
    for name in keys:
        found = _child(node, name)
        if found is None:
            break
        place, node = found
    return place


def has_key(node: Node, *names: str) -> bool:
    return any(key.text in names for key, _ in members(node))


def members(node: Node) -> Sequence[tuple[ScalarNode, Node]]:
    return node.entries if isinstance(node, MappingNode) else ()


def _child(node: Node, name: str) -> tuple[Place, Node] | None:
    if isinstance(node, SequenceNode):
        is_there = name.isdigit() and 0 < int(name) <= len(node.items)
        item = node.items[int(name) - 1] if is_there else None
        return None if item is None else (item.place, item)
    return next(((key.place, value) for key, value in members(node) if key.text == name), None)
