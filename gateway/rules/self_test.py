"""Runs a file's own ``tests``: does every name lead where the file expects?"""

from dataclasses import replace
from typing import Final

from gateway.oci.errors import OciError
from gateway.oci.repository import Repository
from gateway.rules import docker_hub
from gateway.rules.model import RuleSet, RuleTest
from gateway.rules.problems import Report
from gateway.rules.route import Routing, Wanted, route
from gateway.rules.rule_section import entry_path

_ANY_HOST: Final = "gateway.invalid"  # the tests are about targets: our own name does not change them


def run_tests(rule_set: RuleSet, report: Report) -> None:
    """Report each test that does not come out as it is expected."""
    rules = replace(rule_set, own_host=rule_set.own_host or _ANY_HOST)
    for number, test in enumerate(rules.tests, start=1):
        told = _difference(rules, test)
        if told is not None:
            report.add(test.place, entry_path("tests", number), *told)


def _difference(rules: RuleSet, test: RuleTest) -> tuple[str, str] | None:
    """What came out instead, and by which rule; None where all is well."""
    wanted = test.refusal or " then ".join(test.expected)
    try:
        routing = route(rules, Wanted(Repository.parse_with_port(test.ask), test.host))
    except OciError as error:
        if error.code == test.refusal:
            return None
        return f"{test.ask} is refused with {error.code}, expected was {wanted}", error.message
    targets = tuple(str(one.target) for one in routing.routes)
    if targets == tuple(map(docker_hub.full_name, test.expected)):
        return None
    return f"{test.ask} leads to {' then '.join(targets)}, expected was {wanted}", _decided_by(routing)


def _decided_by(routing: Routing) -> str:
    if routing.rule is None:
        return "no rule matches: the name is its own target"
    decided = f"decided by the rule {routing.rule.name!r} in line {routing.rule.place.line}"
    return (
        decided
        if routing.refusal is None
        else f"{decided}; nobody is asked behind: {routing.refusal.message}"
    )
