"""What rules.yaml surely does not mean is told with its place, and nothing else is."""

import re
import time
from pathlib import Path

import pytest

from gateway.rules.load import load_rules
from gateway.rules.warnings import warn

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

DENYING = """\
upstreams:
  docker.io: {deny: "no"}
  partly.example: {deny: "no"}
  partly.example/ok: {kind: helm}
  partly.example/no: {kind: helm, deny: "no"}
"""
SHIPPED = Path(__file__).resolve().parents[2] / "rules.yaml"


def warnings(text: str) -> list[str]:
    return [str(problem) for problem in warn(load_rules(f"version: 1\n{text}"), "rules.yaml")]


def on_rules(*entries: str, before: str = "") -> list[str]:
    return warnings(before + "rules:\n" + "".join(f"- {entry}\n" for entry in entries))


def test_the_shipped_file_has_nothing_to_warn_of() -> None:
    assert warn(load_rules(SHIPPED.read_bytes()), "rules.yaml") == []


def test_no_rules_no_warnings() -> None:
    assert warnings("") == []


def test_a_rule_that_never_matches_is_told_with_the_one_that_covers_it() -> None:
    told = on_rules(
        '{name: all of argo, repository: "argo/*", rewrite: a.example/x/$1}',
        "{repository: argo/argo-cd, rewrite: b.example/x/argo-cd}",
    )
    assert told == [
        "rules.yaml:4:3: rules[2]: it never matches: the rule 'all of argo' in line 3 comes first and takes "
        "all that it would (move it up, or remove it)"
    ]


def test_two_rules_of_one_name_are_told_once() -> None:
    told = on_rules("{name: a, repository: x, deny: no}", "{name: a, repository: y, deny: no}")
    assert told == [
        "rules.yaml:4:3: rules[2].name: the rule 'a' in line 3 has the same name "
        "(a name of its own, so that `explain` and the log say which is meant)"
    ]


def test_patterns_of_hosts_and_names_are_questioned_each_at_its_key() -> None:
    told = on_rules(r'{host: "~a.example", repository: "argo.*", deny: no}')
    assert [line.split(": ")[1] for line in told] == ["rules[1].host", "rules[1].repository"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('repository: "argo/*", rewrite: a.example/x', r"rules\[1\]\.repository: no rewrite uses \$1: names"),
        ('repository: "*/a/**", rewrite: a.example/x', r"no rewrite uses \$1 and \$2: names"),
        ('repository: "*/a/**", rewrite: a.example/$2', r"no rewrite uses \$1: names"),
        ('repository: "~(a|b)/c", rewrite: a.example/x', r"no rewrite uses \$1 \(\(\?:…\) is"),
        (
            'host: "~(a|b)", repository: "x/*", rewrite: a.example/$2',
            r"rules\[1\]\.host: no rewrite uses \$1",
        ),
        ('host: "*.example", repository: "x/*", rewrite: a.example/$1', r"\.repository: no rewrite uses \$2"),
    ],
)
def test_a_capture_that_no_rewrite_uses_is_told(rule: str, expected: str) -> None:
    (told,) = on_rules(f"{{{rule}}}")
    assert re.search(expected, told)


@pytest.mark.parametrize(
    "rule",
    [
        'repository: "argo/*", rewrite: a.example/x/$1',
        'repository: "argo/*", rewrite: a.example/x/$0',
        'repository: "*/a/*", rewrite: [a.example/$1/x, b.example/$2]',
        'repository: "~(?P<chart>a|b)", rewrite: "a.example/${chart}"',
        'repository: "~(?:a|b)/c", rewrite: a.example/x',
        'host: "*.example", repository: "x/*", rewrite: a.example/$2',
        'repository: "argo/*"',
        'repository: "argo/*", deny: no',
    ],
)
def test_a_capture_that_is_used_or_need_not_be_is_no_matter(rule: str) -> None:
    assert on_rules(f"{{{rule}}}") == []


@pytest.mark.parametrize(
    ("rewrite", "is_refused"),
    [
        ("docker.io/$1", True),
        ("docker.io/nginx/$1", True),
        ("[docker.io/$1, a.example/$1]", True),
        ("[a.example/$1, docker.io/$1]", False),
        ("partly.example/$1", False),
        ("partly.example/$1/x", False),
        ("partly.example/no/$1", True),
        ("$1", False),
        ("a.example/$1", False),
    ],
)
def test_a_rule_that_leads_to_a_denied_upstream_is_told(rewrite: str, *, is_refused: bool) -> None:
    told = on_rules(f'{{repository: "x/**", rewrite: {rewrite}}}', before=DENYING)
    assert bool(told) == is_refused
    assert all("rules[1].rewrite: always refused" in line for line in told)


def test_the_upstream_that_refuses_is_told_with_its_line() -> None:
    (told,) = on_rules('{repository: "x/*", rewrite: docker.io/$1}', before=DENYING)
    assert "always refused: the upstream docker.io in line 3 has `deny`" in told


TAKEN = '{name: all of old, repository: "old.example/**", rewrite: new.example/$1}'


def test_an_upstream_whose_names_all_lead_elsewhere_is_told() -> None:
    (told,) = on_rules(TAKEN, before="upstreams: {old.example: {kind: helm}}\n")
    assert told == (
        'rules.yaml:2:13: upstreams."old.example": no name leads here: the rule '
        "'all of old' in line 4 takes all below it, and no rewrite leads here "
        "(remove it, unless URLs in indexes or redirects lead here)"
    )


@pytest.mark.parametrize(
    "upstream",
    [
        "old.example: {deny: no}",
        "old.example: {trusted_by: [a.example]}",
        "old.example:8443: {kind: helm}",
        "docker.io/library: {kind: registry}",
        "old.example/Stable: {kind: helm}",
        "other.example: {kind: helm}",
    ],
)
def test_an_upstream_that_may_be_there_for_something_else_is_no_matter(upstream: str) -> None:
    docker = '{repository: "docker.io/library/**", rewrite: new.example/$1}'
    assert on_rules(TAKEN, docker, before=f"upstreams: {{{upstream}}}\n") == []


@pytest.mark.parametrize(
    "rewrite",
    ["old.example/x/$1", "old.example/$1", "old.example/x/y", "old.example/x-$1", "old.$1/$1", "$1/x"],
)
def test_an_upstream_that_a_rewrite_may_lead_to_is_no_matter(rewrite: str) -> None:
    leads = f'{{repository: "x/*", rewrite: ["{rewrite}", "a.example/$1"]}}'
    assert on_rules(TAKEN, leads, before="upstreams: {old.example: {kind: helm}}\n") == []


def test_a_rewrite_beside_an_upstream_does_not_lead_to_it() -> None:
    leads = '{repository: "x/*", rewrite: [old.example/x/y/$1, old.example/xy/$1, "old.example.org/$1"]}'
    (told,) = on_rules(TAKEN, leads, before="upstreams: {old.example/x/z: {kind: helm}}\n")
    assert "no name leads here" in told


def test_a_rule_before_that_keeps_names_may_lead_to_the_upstream() -> None:
    keeps = '{host: a.example, repository: "**", fresh_for: 1m}'
    upstream = "upstreams: {old.example: {kind: helm}}\n"
    assert on_rules(keeps, TAKEN, before=upstream) == []
    assert len(on_rules(TAKEN, keeps, before=upstream)) == 1


@pytest.mark.parametrize(
    "before",
    [
        "defaults: {chartproxy: old.example}\nupstreams: {old.example: {kind: registry}}\n",
        "defaults: {chartproxy: old.example}\nupstreams: {old.example/below: {kind: registry}}\n",
        "upstreams: {old.example/p: {}, a.example: {chartproxy: old.example/p/q}}\n",
        "upstreams: {old.example: {}, a.example: {kind: registry, token_hosts: [old.example]}}\n",
        "upstreams: {old.example: {}}\negress: {mode: allowlist}\n",
    ],
)
def test_chart_proxies_hosts_of_tokens_and_an_allowlist_need_their_upstream(before: str) -> None:
    assert on_rules(TAKEN, before=before) == []


def test_a_chart_proxy_of_a_rule_needs_its_upstream() -> None:
    rule = '{repository: "x/*", rewrite: a.example/$1, chartproxy: old.example}'
    assert on_rules(TAKEN, rule, before="upstreams: {old.example: {}}\n") == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:8099/lib", "http://[fd00::1]/", "http://nexus.corp.svc/x"])
def test_an_upstream_inside_needs_leave_to_be_dialled(url: str) -> None:
    text = f"upstreams:\n  lib.example: {{url: '{url}'"
    (told,) = warnings(f"{text}}}\n")
    assert 'upstreams."lib.example".url: ' in told
    assert told.endswith(
        "is on a private network: it is refused (allow_private: true lets this upstream be dialled there)"
    )
    assert warnings(f"{text}, allow_private: true}}\n") == []
    assert warnings("upstreams:\n  lib.example: {url: 'https://192.0.9.1/'}\n") == []


def test_warnings_come_in_the_order_of_the_file() -> None:
    told = on_rules(
        TAKEN,
        '{repository: "x.*", rewrite: docker.io/x}',
        '{repository: "x.*", rewrite: a.example/x}',
        before=DENYING,
    )
    lines = [int(line.split(":")[1]) for line in told]
    assert lines == sorted(lines)
    assert len(lines) == 6


@pytest.mark.slow
def test_ten_thousand_rules_are_looked_through_in_the_time_that_loading_takes() -> None:
    entries = [
        f'{{repository: "{pattern}", rewrite: a.example/x/$1}}'
        for number in range(2500)
        for pattern in (f"team{number}/*", f"t-*/x{number}/**", f"~u{number}-([a-z]+)/(?:.+)", f"x{number}/*")
    ]
    start = time.process_time()
    rule_set = load_rules("version: 1\nrules:\n" + "".join(f"- {entry}\n" for entry in entries))
    loaded = time.process_time()
    assert len(warn(rule_set, "rules.yaml")) == 2500  # no rewrite uses the **
    assert time.process_time() - loaded < 1.5 * (loaded - start)
