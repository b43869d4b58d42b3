"""The command line as a whole: help, wrong usage, and mistakes told in a line."""

import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gateway.app import version
from gateway.cli import Verbs, group
from gateway.store.data_dir import DataDir

COMMANDS = [
    *("demo", "explain", "export", "gc", "import", "list", "migrate", "pin", "pull", "purge", "refresh"),
    *("rules", "scrub", "serve", "sync", "token", "unpin", "wire"),
]


def test_these_are_the_commands() -> None:
    assert sorted(group.commands) == COMMANDS


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command_with_what_it_does(flag: str) -> None:
    result = CliRunner().invoke(group, [flag])
    assert result.exit_code == 0
    for name, command in group.commands.items():
        assert any(
            line.split()[:1] == [name] and len(line.split()) > 3 for line in result.output.splitlines()
        ), name
        assert command.help


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does(name: str) -> None:
    result = CliRunner().invoke(group, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage:")
    assert "--help" in result.output


def test_the_version_is_told() -> None:
    assert version() in CliRunner().invoke(group, ["--version"]).output


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["pull"],
        ["pull", "a", "b"],
        ["explain"],
        ["list", "extra"],
        ["migrate", "--frobnicate"],
        ["serve", "--port", "http"],
        ["demo", "--port", "65536"],
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what(arguments: list[str]) -> None:
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.output
    assert "Error:" in result.output


def test_an_interrupted_command_ends_quietly_with_130() -> None:
    @click.group(cls=Verbs)
    def verbs() -> None: ...

    @verbs.command()
    def work() -> None:
        raise KeyboardInterrupt

    result = CliRunner().invoke(verbs, ["work"])
    assert (result.exit_code, result.output) == (130, "")
    assert isinstance(group, Verbs)


def ran(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gateway", *arguments, "--data-dir", str(folder / "data")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pull", "not//a/name"], "no repository name"),
        (["pull", "redis"], "redis"),
        (["pull", "localhost:9000/charts.example.test"], "charts.example.test is a host alone"),
        (["explain", "a.example/b@sha256:0"], "is no digest"),
        (["list", "--rules", "absent.yaml"], "there is no rules file absent.yaml (setting RULES)"),
        (["pull", "127.0.0.1/x:1"], "127.0.0.1 cannot be reached from here"),
    ],
)
def test_a_mistake_is_told_in_a_line_and_exit_code_1(tmp_path: Path, arguments: list[str], told: str) -> None:
    result = ran(tmp_path, *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("gateway: ")
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_data_directory_that_cannot_be_used_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    result = ran(tmp_path, "list")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("gateway: the data directory")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_catalog_that_fails_beside_a_running_server_is_told_in_a_line(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    data_dir.prepare()
    data_dir.catalog.write_bytes(b"a letter home\n" * 1000)
    result = ran(tmp_path, "list")
    data_dir.close()
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("gateway: the catalog")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_interrupted_demo_takes_its_leave() -> None:
    command = [sys.executable, "-m", "gateway", "demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("curl -i" in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        output, errors = demo.communicate(timeout=60)
    assert (demo.returncode, output.split(), errors) == (0, ["bye"], "")


@pytest.mark.slow
def test_nothing_held_is_an_empty_list(tmp_path: Path) -> None:
    assert ran(tmp_path, "list").stdout == ""
    assert ran(tmp_path, "list", "--json").stdout == "[]\n"
