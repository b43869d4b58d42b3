"""Fuzz targets: what operators write: rules and settings."""

from contextlib import suppress

from gateway.oci.errors import OciError
from gateway.oci.repository import Repository
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.problems import MAX_PROBLEMS, RulesError
from gateway.rules.route import Wanted, is_public_host, route
from gateway.rules.warnings import warn
from gateway.settings import SETTINGS, SettingsError, load_settings
from tests.fuzz.target import Target, parts_of, text_of
from tests.rules.test_load import FULL
from tests.rules.test_load_hostile import RULES

_NAMES = (
    *("argo/argo-cd", "team-a/b", "ghcr.io/a/b", "a", "10.0.0.1/x", "docker.io/nginx"),
    *("x.example.com/a/b/c", "metadata.google.internal/x", "localhost/a"),
)
_HOSTS = ("", "gw.example.com", "x.example.com")
_SECRET = "hunter2-hunter2"


def check_rules(data: bytes) -> None:
    """A file is rules, or problems with places; and rules give every name a place that may be, or a no."""
    try:
        rule_set = load_rules(data)
    except RulesError as error:
        assert 1 <= len(error.problems) <= MAX_PROBLEMS
        assert all(problem.line >= 1 and problem.column >= 1 for problem in error.problems)
        return
    assert all(problem.line >= 1 for problem in warn(rule_set, "rules.yaml"))
    for name in _NAMES:
        for host in _HOSTS:
            _check_route(rule_set, Wanted(Repository.parse(name), host))


def _check_route(rule_set: RuleSet, wanted: Wanted) -> None:
    try:
        routing = route(rule_set, wanted)
    except OciError as error:
        assert error.status in {400, 403, 404}, error
        return
    assert routing.routes
    assert route(rule_set, wanted) == routing
    for found in routing.routes:
        assert Repository.parse_with_port(str(found.target)) == found.target.repository
        assert found.chain
        assert found.upstream is not None or is_public_host(found.target.host)


def check_settings(data: bytes) -> None:
    """Settings are taken, or each that is wrong is named; a secret stands in no message."""
    config, environment, value = map(text_of, parts_of(data, 3))
    given = {
        f"GATEWAY_{name}": text for name, _, text in (line.partition("=") for line in environment.split("\n"))
    }
    given["GATEWAY_SECRET_X"] = _SECRET
    flags = {"config": "x.yaml", "port": value}
    try:
        settings = load_settings(given, flags, lambda _path: config)
    except SettingsError as error:
        assert error.problems
        assert _SECRET not in str(error)
    else:
        assert _SECRET not in repr(settings)
    for setting in SETTINGS:
        with suppress(ValueError):
            setting.parse(value)


TARGETS = (
    Target(
        "rules",
        check_rules,
        [
            RULES.encode(),
            FULL.encode(),
            b'version: 1\nrules: [{repository: "a/**", rewrite: b.example/$1}]\n',
        ],
        [
            *(
                "\n  ",
                "\n- ",
                ": ",
                "rules:\n",
                "upstreams:\n",
                "defaults:",
                "egress:",
                "tests:",
                "repository: ",
            ),
            *(
                "rewrite: ",
                "host: ",
                "**",
                "*",
                "~",
                "(?P<a>",
                "$1",
                "${a}",
                "deny: ",
                "channels: ",
                "versions: ",
            ),
            *(
                "chain: [",
                "helm",
                "registry",
                "chartproxy",
                "kind: ",
                "url: ",
                "allow_private: true",
                "min_age: ",
            ),
        ],
        4096,
    ),
    Target(
        "settings",
        check_settings,
        [
            b"port: 9000\ndata-dir: ./x\nworkers: 2\n\0OFFLINE=true\nPUBLIC_URL=https://gw.example\0"
            b"10.0.0.0/8",
            b"\0DATABASE_URL=postgresql://u:p@h/d\nSERVICE_HOST=10.0.0.1\nPORT=tcp://1.2.3.4\n\x0015s",
            b"max_cache_size: 10G\nlog_level: debug\n\0\0sqlite:////data/x.db",
        ],
        [
            *(f"{setting.name}=" for setting in SETTINGS),
            "tcp://",
            "sqlite:///",
            "postgresql://",
            "\n",
            "::1",
            "G",
            "15s",
        ],
        1024,
    ),
)
