"""What rules.yaml may say and surely does not mean: told, and obeyed all the same."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import TypeAlias

from gateway.rules.covering import Cover
from gateway.rules.model import Rule, RuleSet, is_local_host
from gateway.rules.patterns import Pattern, Subject
from gateway.rules.problems import Fault, Problem
from gateway.rules.reach import refused_upstreams, unnamed_upstreams, upstream_of
from gateway.rules.rule_section import entry_path
from gateway.rules.section import join
from gateway.rules.slips import slips
from gateway.rules.sync_reach import sync_remarks

_Remark: TypeAlias = tuple[str, Fault]  # the key's path, and what is odd there


def warn(rule_set: RuleSet, file: str) -> list[Problem]:
    """What to look at again, in the order of the file; ``file`` is what it is called."""
    cover = Cover([rule.look for rule in rule_set.rules.enabled])
    remarks = [
        *_never_matching(rule_set, cover),
        *_of_one_name(rule_set),
        *_always_refused(rule_set),
        *_suspect_patterns(rule_set),
        *_unused_captures(rule_set),
        *_unnamed(rule_set, cover),
        *_inside(rule_set),
        *sync_remarks(rule_set, cover),
    ]
    return [
        Problem(file, fault.place.line, fault.place.column, path, fault.message, fault.hint)
        for path, fault in sorted(remarks, key=lambda remark: remark[1].place)
    ]


def _never_matching(rule_set: RuleSet, cover: Cover) -> Iterator[_Remark]:
    rules = [(path, rule) for path, rule in _with_paths(rule_set) if rule.is_enabled]
    for number, first in cover.covered():
        path, rule = rules[number]
        yield (
            path,
            Fault(
                rule.place,
                f"it never matches: {_told(rules[first][1])} comes first and takes all that it would",
                "move it up, or remove it",
            ),
        )


def _inside(rule_set: RuleSet) -> Iterator[_Remark]:
    """Upstreams at an address, or a name, that only an inside network has."""
    for upstream in rule_set.upstreams.values():
        inside = [url.host for url in upstream.urls if _is_inside(url.host)]
        if inside and not upstream.allow_private:
            yield (
                join(join("upstreams", upstream.key), "url"),
                Fault(
                    upstream.place,
                    f"{inside[0]} is on a private network: it is refused",
                    "allow_private: true lets this upstream be dialled there",
                ),
            )


def _is_inside(host: str) -> bool:
    """Whether a host says of itself that it is on no public network."""
    try:
        return not ip_address(host.strip("[]")).is_global
    except ValueError:
        return is_local_host(host)


def _of_one_name(rule_set: RuleSet) -> Iterator[_Remark]:
    first_of: dict[str, Rule] = {}
    for path, rule in _with_paths(rule_set):
        first = first_of.setdefault(rule.name, rule)
        if first is not rule:
            yield (
                join(path, "name"),
                Fault(
                    rule.place,
                    f"{_told(first)} has the same name",
                    "a name of its own, so that `explain` and the log say which is meant",
                ),
            )


def _always_refused(rule_set: RuleSet) -> Iterator[_Remark]:
    """Rules whose first target is below an upstream with ``deny``: the others are not gone to."""
    refused = refused_upstreams(rule_set)
    for path, rule in _with_paths(rule_set):
        leads = bool(rule.rewrites) and rule.is_enabled
        upstream = upstream_of(rule_set, rule.rewrites[0]) if leads else None
        if upstream is not None and upstream.key in refused:
            yield (
                join(path, "rewrite"),
                Fault(
                    rule.place,
                    f"always refused: the upstream {upstream.key} in line {upstream.place.line} has `deny`",
                    "lead somewhere else, or put the message on the rule, as its `deny`",
                ),
            )


def _suspect_patterns(rule_set: RuleSet) -> Iterator[_Remark]:
    for path, rule in _with_paths(rule_set):
        for key, pattern, subject in _patterns(rule):
            for slip in slips(pattern, subject):
                yield join(path, key), Fault(rule.place, slip.message, slip.hint)


def _unused_captures(rule_set: RuleSet) -> Iterator[_Remark]:
    for path, rule in _with_paths(rule_set):
        used = frozenset[int]().union(*(rewrite.used for rewrite in rule.rewrites))
        if not rule.rewrites or 0 in used:
            continue
        before = 0
        for key, pattern, subject in _patterns(rule):
            numbers = range(before + 1, before + pattern.captures + 1)
            unused = [f"${number}" for number in numbers if number not in used]
            before += pattern.captures
            if unused and not (
                pattern.is_glob and subject is Subject.HOST
            ):  # no host has to show in a target
                yield join(path, key), Fault(rule.place, *_unused(unused, pattern))


def _unused(captures: Iterable[str], pattern: Pattern) -> tuple[str, str]:
    told = " and ".join(captures)
    if not pattern.is_glob:
        return f"no rewrite uses {told}", "(?:…) is a group that captures nothing"
    return (
        f"no rewrite uses {told}: names that differ only there lead to one target",
        "if that is meant, a regular expression says so: ~ and [^/]+ without brackets around",
    )


def _unnamed(rule_set: RuleSet, cover: Cover) -> Iterator[_Remark]:
    rules = rule_set.rules.enabled
    for upstream, taker in unnamed_upstreams(rule_set, cover):
        yield (
            join("upstreams", upstream.key),
            Fault(
                upstream.place,
                f"no name leads here: {_told(rules[taker])} takes all below it, and no rewrite leads here",
                "remove it, unless URLs in indexes or redirects lead here",
            ),
        )


def _with_paths(rule_set: RuleSet) -> Iterator[tuple[str, Rule]]:
    return ((entry_path("rules", number), rule) for number, rule in enumerate(rule_set.rules, start=1))


def _patterns(rule: Rule) -> Iterator[tuple[str, Pattern, Subject]]:
    """Those of a rule, with their keys, in the order in which captures count."""
    if rule.look.host is not None:
        yield "host", rule.look.host, Subject.HOST
    if rule.look.repository is not None:
        yield "repository", rule.look.repository, Subject.REPOSITORY


def _told(rule: Rule) -> str:
    return f"the rule {rule.name!r} in line {rule.place.line}"
