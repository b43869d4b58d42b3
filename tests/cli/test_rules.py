"""``gateway rules check``: every mistake with its place, warnings, and what was counted."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import group
from gateway.cli.rules import FileUnreadable
from gateway.settings import SETTINGS

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

GOOD = """version: 1
upstreams: {corp.example.test: {kind: helm, url: "https://nexus.example.test", token_file: token}}
rules:
  - {name: ours, repository: "ours/*", rewrite: corp.example.test/$1}
  - {name: Argo, repository: "argo/*", rewrite: argoproj.github.io/argo-helm/$1}
tests:
  - {ask: ours/redis, target: corp.example.test/redis}
"""
BAD = """version: 1
defaults: {fresh_four: 5m}
rules:
  - {repositry: "ours/*", rewrite: corp.example.test/$1}
"""
COVERED = """version: 1
rules: [{repository: "a/**", deny: "no"}, {repository: "a/b", rewrite: one.example.test/b}]
"""


def check(*arguments: str, stdin: bytes | None = None, **environment: str) -> Result:
    cleared = {row.variable: None for row in SETTINGS}
    return CliRunner().invoke(
        group, ["rules", "check", *arguments], input=stdin, env={**cleared, **environment}
    )


def written(folder: Path, text: str) -> str:
    path = folder / "rules.yaml"
    path.write_text(text)
    return str(path)


def test_a_good_file_is_counted_and_its_secrets_are_not_needed(tmp_path: Path) -> None:
    result = check(written(tmp_path, GOOD))
    assert (result.exit_code, result.stdout) == (0, "2 rules, 1 upstream, 1 test passed\n")
    assert list(tmp_path.iterdir()) == [tmp_path / "rules.yaml"]


def test_every_mistake_is_told_with_its_place_and_a_hint(tmp_path: Path) -> None:
    file = written(tmp_path, BAD)
    result = check(file)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{file}:2:12: defaults.fresh_four: unknown key (did you mean fresh_for?)",
        f"{file}:4:6: rules[1].repositry: unknown key (did you mean repository?)",
        "2 errors",
    ]


def test_a_failed_test_of_the_file_is_a_mistake(tmp_path: Path) -> None:
    result = check(written(tmp_path, GOOD.replace("target: corp.example.test/redis", "target: DENIED")))
    assert result.exit_code == 1
    assert "tests[1]: ours/redis leads to corp.example.test/redis, expected was DENIED" in result.stdout


def test_warnings_are_marked_and_are_no_mistakes(tmp_path: Path) -> None:
    result = check(written(tmp_path, COVERED))
    first, *_, last = result.stdout.splitlines()
    assert result.exit_code == 0
    assert ": warning: rules[2]: it never matches: " in first
    assert last == "2 rules, no upstreams, no tests, 1 warning"


def test_json_has_the_same_facts(tmp_path: Path) -> None:
    file = written(tmp_path, BAD)
    result = check(file, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["rules"], told["warnings"]) == (1, None, [])
    assert told["errors"][0] == {
        "line": 2,
        "column": 12,
        "key": "defaults.fresh_four",
        "message": "unknown key",
        "hint": "did you mean fresh_for?",
    }
    (tmp_path / "rules.yaml").write_text(COVERED)
    told = json.loads(check(file, "--json").stdout)
    assert (told["errors"], told["rules"], told["upstreams"], told["tests"]) == ([], 2, 0, 0)
    assert [warning["key"] for warning in told["warnings"]] == ["rules[2]"]


def test_standard_input_is_read_for_a_dash() -> None:
    result = check("-", stdin=BAD.encode())
    assert result.stdout.startswith("stdin:2:12: defaults.fresh_four: ")
    assert check("-", stdin=GOOD.encode()).exit_code == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "stdin:1:1: version: this key is missing (start the file with version: 1)\n1 error\n"),
        (b"\xff", "stdin:1:1: it is not UTF-8\n1 error\n"),
        (b"\0" * 100, "stdin:1:1: the character U+0000 may not stand in YAML\n1 error\n"),
        (b"# " * (6 << 20), "stdin:1:1: larger than 10485760 bytes\n1 error\n"),
        (b"version: 1\n---\nversion: 1\n", "stdin:2:1: a second document starts here"),
    ],
)
def test_what_is_no_rules_file_is_told_as_a_mistake_in_it(content: bytes, told: str) -> None:
    result = check("-", stdin=content)
    assert result.exit_code == 1
    assert result.stdout.startswith(told)


def test_where_a_hundred_mistakes_end_the_reading_there_may_be_more() -> None:
    rules = "".join(f"  - {{repository: a{number}, oops: 1}}\n" for number in range(150))
    result = check("-", stdin=f"version: 1\nrules:\n{rules}".encode())
    assert result.stdout.splitlines()[-1] == "100 errors, and perhaps more: it was not read further"


@pytest.mark.parametrize(("name", "reason"), [("absent.yaml", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_told(name: str, reason: str, tmp_path: Path) -> None:
    result = check(str(tmp_path / name))
    assert isinstance(result.exception, FileUnreadable)
    assert str(result.exception).startswith(f"{tmp_path / name}"[:-1])
    assert f" cannot be read: {reason}" in str(result.exception)


@pytest.mark.parametrize("arguments", [("a", "b"), ("a", "--frobnicate")])
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert check(*arguments).exit_code == 2


def test_without_a_name_the_file_of_the_settings_is_checked(tmp_path: Path) -> None:
    good = written(tmp_path, GOOD)
    assert check(GATEWAY_RULES=good).stdout == check(good).stdout


def test_what_is_not_looked_up_is_told(tmp_path: Path) -> None:
    outside = "upstreams: {a.example.org: {token_env: GATEWAY_SECRET_TOKEN}}"
    told = "not looked up: what the file names outside, and PUBLIC_URL (--secrets does)\n"
    assert check(written(tmp_path, f"version: 1\n{outside}\n")).stderr == told
    assert check(written(tmp_path, "version: 1\ndefaults: {rewrite_dependencies: true}\n")).stderr == told
    assert check(written(tmp_path, "version: 1\n")).stderr == ""


def test_a_broken_setting_is_told_as_wrong_usage(tmp_path: Path) -> None:
    result = check(written(tmp_path, GOOD), GATEWAY_PORT="http")
    assert result.exit_code == 2
    assert "GATEWAY_PORT" in result.stderr
