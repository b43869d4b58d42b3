"""rules.yaml → values, or every mistake at once, each at its line."""

import math
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.oci.urls import HttpUrl
from gateway.rules.load import Complaint, load_rules
from gateway.rules.model import (
    Access,
    Deleted,
    DigestMismatch,
    Drift,
    Egress,
    EgressMode,
    Policy,
    Rules,
    RuleSet,
    SecretName,
    SecretOrigin,
    SourceName,
    Upstream,
    UpstreamKind,
)
from gateway.rules.problems import Problem, RulesError

SHIPPED = Path(__file__).resolve().parents[2] / "rules.yaml"
FULL = """\
version: 1
defaults:
  fresh_for: 1m
  recheck_for: 2d
  stale_for: 12h
  missing_for: 5
  digest_mismatch: warn
  provenance: true
  deleted: drop
  drift: follow
  chain: [registry, helm]
  chartproxy: chartproxy.example.org/charts
  min_age: 0
  rewrite_dependencies: false
egress: {mode: allowlist, hosts: ["*.jetstack.io", argoproj.github.io], ca_file: corp-ca.pem}
upstreams:
  charts.corp.example/stable:
    kind: helm
    url: http://nexus.corp.example:8081/repository/helm
    username_env: GATEWAY_SECRET_NEXUS_USER
    password_file: nexus-password
    ca_file: ca.pem
    cert_file: cert.pem
    key_file: key.pem
    allow_private: true
    trusted_by: [charts.jetstack.io]
    fresh_for: 10s
    stale_for: forever
    chain: [helm]
    deleted: keep
    drift: keep
  registry.corp.example:
    kind: registry
    urls: [https://one.corp.example/prefix, https://two.corp.example]
    token_env: GATEWAY_SECRET_TOKEN
    token_hosts: [auth.corp.example]
    chartproxy: nexus
  nexus: {kind: chartproxy, token_file: token}
  nexus:8443: {access: private}
  docker.io: {deny: "use images from registry.corp.example"}
  nothing.example:
rules: []
sync:
tests: []
"""


def problems_of(text: str | bytes) -> tuple[Problem, ...] | None:
    try:
        load_rules(text)
    except RulesError as error:
        return error.problems
    return None


def problems(text: str | bytes) -> tuple[Problem, ...]:
    found = problems_of(text)
    assert found is not None
    return found


def one_problem(text: str) -> Problem:
    (problem,) = problems(text)
    return problem


def on_upstream(entry: str) -> Problem:
    return one_problem(f"version: 1\nupstreams:\n  a.example: {entry}\n")


def test_beside_its_rules_the_shipped_file_says_what_happens_anyway() -> None:
    found = load_rules(SHIPPED.read_bytes())
    assert len(found.rules) > 0
    assert len(found.tests) > 0
    assert replace(found, rules=Rules(), tests=()) == RuleSet()


def test_the_shipped_examples_are_valid_when_uncommented() -> None:
    text = re.sub(r"(?m)^  # (?=[a-z -])", "  ", SHIPPED.read_text(encoding="utf-8"))
    found = load_rules(text)
    assert set(found.upstreams) == {"charts.corp.example", "registry.corp.example", "docker.io"}
    assert len(found.rules) == len(load_rules(SHIPPED.read_bytes()).rules) + 1


def test_every_key_goes_where_it_belongs() -> None:
    rule_set = load_rules(FULL)
    defaults = Policy(
        fresh_for_seconds=60,
        recheck_for_seconds=172_800,
        stale_for_seconds=43_200,
        missing_for_seconds=5,
        deleted=Deleted.DROP,
        drift=Drift.FOLLOW,
        chain=(SourceName.REGISTRY, SourceName.HELM),
        chartproxy="chartproxy.example.org/charts",
        digest_mismatch=DigestMismatch.WARN,
        provenance=True,
    )
    assert rule_set.defaults == defaults
    assert rule_set.egress == Egress(
        EgressMode.ALLOWLIST, ("*.jetstack.io", "argoproj.github.io"), "corp-ca.pem"
    )
    assert rule_set.upstreams["charts.corp.example/stable"] == Upstream(
        key="charts.corp.example/stable",
        urls=(HttpUrl("http", "nexus.corp.example", 8081, "/repository/helm"),),
        kind=UpstreamKind.HELM,
        username=SecretName(SecretOrigin.ENVIRONMENT, "GATEWAY_SECRET_NEXUS_USER"),
        password=SecretName(SecretOrigin.FILE, "nexus-password"),
        ca_file="ca.pem",
        cert_file="cert.pem",
        key_file="key.pem",
        allow_private=True,
        trusted_by=("charts.jetstack.io",),
        policy=replace(
            defaults,
            fresh_for_seconds=10,
            stale_for_seconds=math.inf,
            chain=(SourceName.HELM,),
            deleted=Deleted.KEEP,
            drift=Drift.KEEP,
        ),
    )
    assert rule_set.upstreams["registry.corp.example"] == Upstream(
        key="registry.corp.example",
        urls=(
            HttpUrl("https", "one.corp.example", 443, "/prefix"),
            HttpUrl("https", "two.corp.example", 443),
        ),
        kind=UpstreamKind.REGISTRY,
        token=SecretName(SecretOrigin.ENVIRONMENT, "GATEWAY_SECRET_TOKEN"),
        token_hosts=("auth.corp.example",),
        policy=replace(defaults, chartproxy="nexus"),
        has_own_chartproxy=True,
    )
    assert rule_set.upstreams["nexus"].kind is UpstreamKind.CHARTPROXY
    assert rule_set.upstreams["nexus"].token == SecretName(SecretOrigin.FILE, "token")
    assert rule_set.upstreams["nothing.example"] == Upstream(
        key="nothing.example", urls=(HttpUrl("https", "nothing.example", 443),), policy=defaults
    )


def test_an_upstream_is_private_where_we_sign_in_unless_it_says_otherwise() -> None:
    upstreams = load_rules(FULL).upstreams
    assert upstreams["charts.corp.example/stable"].access is Access.PRIVATE
    assert upstreams["nexus:8443"].access is Access.PRIVATE
    assert upstreams["nothing.example"].access is Access.ANONYMOUS
    signed_in = "{username_env: GATEWAY_SECRET_U, password_env: GATEWAY_SECRET_P, access: anonymous}"
    rule_set = load_rules(f"version: 1\nupstreams: {{a.example: {signed_in}}}")
    assert rule_set.upstreams["a.example"].access is Access.ANONYMOUS


def test_an_upstream_knows_its_host_and_why_it_is_denied() -> None:
    upstreams = load_rules(FULL).upstreams
    assert upstreams["nexus:8443"].host == "nexus"
    assert upstreams["charts.corp.example/stable"].host == "charts.corp.example"
    assert upstreams["docker.io"].deny == "use images from registry.corp.example"


def test_rules_can_be_handed_to_another_process() -> None:
    rule_set = load_rules(FULL)
    assert pickle.loads(pickle.dumps(rule_set)) == rule_set  # noqa: S301 (our own bytes)


TEN_MISTAKES = """\
version: 2
default:
  fresh_for: 5m
egress:
  mode: publik
  hosts: [good.example, "bad..example", "*.*a*.example"]
upstreams:
  charts.example.com:
    knd: helm
    url: https://user:S3CR3T@charts.example.com
    username_env: NEXUS_USER
    password_file: ../../etc/passwd
    allow_private: "yes"
  Charts.example.com: {}
rules:
  - repositry: "argo/*"
"""


def test_every_mistake_is_told_at_once_and_at_its_line() -> None:
    found = problems(TEN_MISTAKES)
    assert [(problem.line, problem.key_path) for problem in found] == [
        (1, "version"),
        (2, "default"),
        (5, "egress.mode"),
        (6, "egress.hosts"),
        (6, "egress.hosts"),
        (9, 'upstreams."charts.example.com".knd'),
        (10, 'upstreams."charts.example.com".url'),
        (11, 'upstreams."charts.example.com".username_env'),
        (12, 'upstreams."charts.example.com".password_file'),
        (13, 'upstreams."charts.example.com".allow_private'),
        (14, 'upstreams."Charts.example.com"'),
        (16, "rules[1].repositry"),
    ]
    assert "S3CR3T" not in str(found)
    hints = {problem.line: problem.hint for problem in found}
    assert hints[2] == "did you mean defaults?"
    assert hints[5] == "did you mean public?"
    assert hints[9] == "did you mean kind?"
    assert [problem.column for problem in found[3:5]] == [25, 41]


def test_a_problem_reads_as_one_line_an_editor_can_jump_to() -> None:
    problem = one_problem("version: 1\nupstreams:\n  a.example: {ulr: x}\n")
    assert str(problem) == 'rules.yaml:3:15: upstreams."a.example".ulr: unknown key (did you mean url?)'
    assert str(one_problem("version: [")).startswith("rules.yaml:2:1: it is no YAML")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("rules:\n\t- repository: x", "a tab stands there"),
        ("rules:\n  - name: x\n     host: y", "a line is indented too far"),
        ("rules:\n  - name: x\n   host: y", "begins in one column, here that of line 2, column 3"),
        ("rules:\n  - name: x\n    deny: y\n     host: z", "a line is indented too far"),
        ('rules:\n  - name: "x"\n     host: z', "begins in one column, here that of line 2, column 5"),
        ("rules: [{rewrite: x/${chart}}]", 'needs quotes, such as "host/${chart}"'),
        ('rules:\n- {name: "a, host: b}\n- {name: "c"}', "it begins in line 2, column 3: a quote or bracket"),
        ('rules: [{repository: "~ghcr\\.io/x"}]', r"single quotes: '~ghcr\.io/(.+)'"),
        ('rules: [{repository: "x', "the quote in line 1, column 22 is not closed"),
        ("rules: @x", "text that begins with '@' needs quotes"),
    ],
)
def test_what_is_no_yaml_is_answered_with_what_most_likely_went_wrong(text: str, hint: str) -> None:
    assert hint in (one_problem(text).hint or "")


def test_a_key_that_resembles_none_is_answered_with_all() -> None:
    hint = one_problem("version: 1\negress: {zzzzzz: 1}").hint
    assert hint == "known here: ca_file, hosts, mode, no_proxy, proxy"


def test_odd_characters_of_a_key_are_escaped_in_messages() -> None:
    problem = one_problem('version: 1\negress: {"a\\e[31m\\nb": 1}')
    assert problem.key_path == 'egress."a\\u001b[31m\\nb"'


@pytest.mark.parametrize("text", ["", "# nothing\n", "defaults: {}", "version:"])
def test_a_file_without_a_version_is_refused(text: str) -> None:
    assert one_problem(text).key_path == "version"


@pytest.mark.parametrize("text", ["[]", "text", "1"])
def test_a_document_that_is_no_mapping_is_refused(text: str) -> None:
    assert problems(text)[0].message == "expected keys and values"


@pytest.mark.parametrize("version", ["2", "1.0", "true", "[1]", "~"])
def test_only_version_one_is_read(version: str) -> None:
    assert one_problem(f"version: {version}").key_path == "version"


@pytest.mark.parametrize("text", ["defaults: {classic: true}", "upstreams: {a.example: {classic: false}}"])
def test_what_is_said_of_one_host_stands_on_its_rule_alone(text: str) -> None:
    problem = one_problem(f"version: 1\n{text}")
    assert (problem.line, problem.message) == (2, "it stands on rules that have a `host` alone")


@pytest.mark.parametrize(
    "entry",
    [
        "{url: ftp://a.example}",
        "{url: 'https://a.example/?q=1'}",
        "{url: 'https://a.example/#f'}",
        "{url: 'https://good.com\\@evil.com/'}",
        "{url: 'https://evil.com%2f.good.com/'}",
        "{url: [https://a.example]}",
        "{url: }",
        "{kind: hlm}",
        "{kind: {}}",
        "{ca_file: /etc/ssl/ca.pem}",
        "{ca_file: ..}",
        "{ca_file: .hidden}",
        "{ca_file: 'a/b'}",
        "{allow_private: 'true'}",
        "{allow_private: 1}",
        "{allow_private: yes}",
        "{allow_private: }",
        "{trusted_by: a.example}",
        "{trusted_by: [A.example]}",
        "{trusted_by: [a.example/x]}",
        "{trusted_by: [" + "a" * 254 + "]}",
        "{access: public}",
        "{deny: true}",
        "{deny: }",
        "{deny: ' '}",
        "{deny: [a]}",
        '{deny: "a\\nb"}',
        "{deny: " + "a" * 501 + "}",
        "{fresh_for: 5x}",
        "{fresh_for: -1}",
        "{fresh_for: forever}",
        "{fresh_for: [5m]}",
        "{fresh_for: }",
        "{missing_for: " + "9" * 9000 + "}",
        "{stale_for: never}",
        "{stale_for: Forever}",
        "{stale_for: [1d]}",
        "{stale_for: }",
        "{deleted: true}",
        "{deleted: follow}",
        "{drift: drop}",
        "{chain: helm}",
        "{chain: []}",
        "{chain: }",
        "{chain: [helm, helm]}",
        "{chain: [registri]}",
        "{chain: [auto]}",
        "{chartproxy: }",
        "{chartproxy: [a.example]}",
        "{chartproxy: https://a.example}",
        "{chartproxy: 'a.example:5000'}",
        "{chartproxy: A.example}",
        "{chartproxy: a.example/}",
        "{chartproxy: proxy}",
        "{chartproxy: 127.0.0.1}",
        "{chartproxy: proxy.svc}",
        "{urls: https://b.example}",
        "{urls: []}",
        "{urls: [https://b.example, https://b.example/]}",
        "{urls: [ftp://b.example]}",
        "{urls: [https://b.example], url: https://b.example}",
        "{token_env: TOKEN}",
        "{token_file: a/b}",
        "{token_env: GATEWAY_SECRET_T, token_file: t}",
        "{token_env: GATEWAY_SECRET_T, username_file: u, password_file: p}",
        "{token_hosts: auth.example}",
        "{token_hosts: ['auth.example:443']}",
        "{token_hosts: [https://auth.example]}",
        "{digest_mismatch: ignore}",
        "{provenance: maybe}",
        "{password_env: GATEWAY_SECRET_P, username_env: HOME}",
        "{password_env: GATEWAY_SECRET_P, username_env: GATEWAY_SECRET_}",
        "{password_env: GATEWAY_SECRET_P, username_env: [a]}",
        "{username_env: GATEWAY_SECRET_U}",
        "{password_file: p}",
        "{cert_file: c}",
        "{key_file: k}",
        "{username_env: GATEWAY_SECRET_U, username_file: u, password_file: p}",
        "{username_file: u, password_file: p, password_env: GATEWAY_SECRET_P}",
        "{url: https://a.example, url: https://b.example}",
        "[]",
        "text",
    ],
)
def test_a_value_that_is_not_what_its_key_needs_is_refused(entry: str) -> None:
    problem = on_upstream(entry)
    assert problem.key_path.startswith('upstreams."a.example"')
    assert problem.line == 3


_DEFAULT_PROXY = "defaults: {chartproxy: proxy.example, "


@pytest.mark.parametrize(
    ("text", "key_path", "message"),
    [
        ("defaults: {chain: [chartproxy]}", "defaults.chain", "no `chartproxy` is named"),
        (
            "defaults: {chain: [chartproxy]}\nupstreams: {a.example: {fresh_for: 1d}}",
            "defaults.chain",
            "no `chartproxy` is named",
        ),
        (_DEFAULT_PROXY + "chain: [chartproxy, helm], provenance: true}", "defaults.chain", "provenance"),
        (
            _DEFAULT_PROXY + "chain: [chartproxy]}\nupstreams: {b.example: {}, a.example: {ca_file: ca.pem}}",
            'upstreams."a.example".chain',
            "is not public",
        ),
        (
            _DEFAULT_PROXY + "provenance: true}\nupstreams: {a.example: {chain: [helm, chartproxy]}}",
            'upstreams."a.example".chain',
            "provenance",
        ),
        (
            _DEFAULT_PROXY + "chain: [chartproxy]}\nupstreams: {a.example: {provenance: true}}",
            'upstreams."a.example".chain',
            "provenance",
        ),
        (
            _DEFAULT_PROXY + "fresh_for: 1d}\nupstreams: {proxy.example: {chain: [chartproxy]}}",
            'upstreams."proxy.example".chain',
            "is the chart proxy itself",
        ),
    ],
)
def test_a_chain_that_can_lead_nowhere_is_refused(text: str, key_path: str, message: str) -> None:
    problem = one_problem(f"version: 1\n{text}")
    assert problem.key_path == key_path
    assert message in problem.message


def test_an_upstream_may_help_itself_where_the_defaults_chain_would_not_do() -> None:
    own = "a.example: {ca_file: ca.pem, chartproxy: inside}, inside: {allow_private: true, chain: [registry]}"
    rule_set = load_rules(f"version: 1\n{_DEFAULT_PROXY}chain: [chartproxy]}}\nupstreams: {{{own}}}")
    assert rule_set.upstreams["a.example"].policy.chartproxy == "inside"


def test_a_problem_of_a_chain_stands_at_its_line() -> None:
    text = "version: 1\nupstreams:\n  a.example:\n    fresh_for: 1d\n    chain: [chartproxy]\n"
    assert one_problem(text).line == 5


@pytest.mark.parametrize(
    "key",
    [
        "https://a.example",
        "A.example",
        "a.example/",
        "/a",
        "a..b",
        "a.b:0",
        "a.b:443",
        "a.b:99999",
        "a.b:x",
        "u@a.b",
        "a.b/../c",
        "a.b/%2e",
        "a.b?c",
        "1.2.3",
        "2130706433",
        "*.example",
        "é.example",
        "a b",
        "",
        "a" * 9000,
    ],
)
def test_a_key_of_upstreams_is_a_place(key: str) -> None:
    problem = one_problem(f'version: 1\nupstreams:\n  "{key}": {{}}\n')
    assert problem.line == 3


@pytest.mark.parametrize("key", ["nexus", "10.0.0.5:8081", "a.b", "a.b/C/d_e~f", "a_b.c", "localhost:5000/x"])
def test_a_place_may_be_short_private_or_have_a_port(key: str) -> None:
    upstream = load_rules(f'version: 1\nupstreams: {{"{key}": {{}}}}').upstreams[key]
    assert str(upstream.url).rstrip("/") == f"https://{key}"


@pytest.mark.parametrize(
    "host", ["*", "**.a", "a.*b*.c", ".a", "a.", "a..b", "A.b", "a b.c", "a/b", "[a]", "a" * 300]
)
def test_a_pattern_of_hosts_is_refused_unless_it_is_one(host: str) -> None:
    assert one_problem(f'version: 1\negress: {{hosts: ["{host}"]}}').key_path == "egress.hosts"


def test_an_anchor_is_shared() -> None:
    text = "version: 1\nupstreams:\n  a.example: &x {allow_private: true}\n  b.example: *x\n"
    upstreams = load_rules(text).upstreams
    assert upstreams["a.example"].allow_private
    assert upstreams["b.example"].allow_private


def test_what_is_missing_outside_is_told_where_the_file_names_it() -> None:
    text = """\
version: 1
egress: {ca_file: ca.pem}
upstreams:
  a.example:
    ca_file: absent.pem
rules:
  - {repository: a/*, rewrite: a.example/$1}
  - {repository: b/*, rewrite: a.example/$1, fresh_for: 1s}
"""
    keys = [
        ("egress", "ca_file"),
        ("upstreams", "a.example", "ca_file"),
        ("upstreams", "a.example", "cert_file"),
        ("rules", "2", "fresh_for"),
        ("rules", "2", "name"),
        ("rules", "3"),
        ("rules", "0"),
        ("rules", "x"),
        ("version", "a"),
    ]
    with pytest.raises(RulesError) as caught:
        load_rules(
            text, "my.yaml", verify=lambda _: [Complaint(one, "is not there", "put it") for one in keys]
        )
    told = {problem.key_path: (problem.line, problem.column) for problem in caught.value.problems}
    assert told == {
        "egress.ca_file": (2, 10),
        'upstreams."a.example".ca_file': (5, 5),
        'upstreams."a.example".cert_file': (4, 3),
        "rules[2].fresh_for": (8, 46),
        "rules[2].name": (8, 5),
        "rules[3]": (6, 1),
        "rules[0]": (6, 1),
        "rules.x": (6, 1),
        "version.a": (1, 1),
    }
    assert str(caught.value).startswith("my.yaml:1:1: version.a: is not there (put it)\n")


@pytest.mark.parametrize("sync", ["", "~", "[]"])
def test_a_section_for_later_may_stand_there_empty(sync: str) -> None:
    assert load_rules(f"version: 1\nsync: {sync}") == RuleSet()


@pytest.mark.parametrize("sync", ["{a: b}", "{}", "text"])
def test_and_not_otherwise(sync: str) -> None:
    assert one_problem(f"version: 1\nsync: {sync}").key_path == "sync"


def test_two_sets_of_rules_are_equal_where_every_rule_is_the_same() -> None:
    rules = load_rules("version: 1\nrules: [{repository: a, deny: no}]").rules
    assert rules == Rules(list(rules))
    assert hash(rules) == hash(Rules(list(rules)))
    assert rules != Rules()
    assert Rules() == Rules()
    assert rules != list(rules)


@pytest.mark.parametrize(
    ("key", "entries", "most"),
    [
        ("channels", "{" + ", ".join(f"c{number}: '1'" for number in range(1001)) + "}", 1000),
        ("tags", "{deny: [" + ", ".join(f"c{number}" for number in range(101)) + "]}", 100),
    ],
)
def test_a_policy_has_no_more_parts_than_anybody_needs(key: str, entries: str, most: int) -> None:
    problem = one_problem(f"version: 1\ndefaults: {{{key}: {entries}}}")
    assert problem.key_path == f"defaults.{key}"
    assert problem.message.startswith(f"more than {most} ")
