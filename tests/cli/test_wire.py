"""``gateway wire``: files printed or written, never over what somebody else wrote."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.wire import NotWritten, command
from gateway.settings import SETTINGS

pytestmark = pytest.mark.slow  # each opens a data directory

RULES = 'version: 1\nrules: [{repository: "argo/*", rewrite: argoproj.github.io/argo-helm/$1}]\n'


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


def wire(rules: Path, *arguments: str, **environment: str) -> Result:
    cleared = {row.variable: None for row in SETTINGS}
    flags = ("--rules", str(rules), "--data-dir", str(rules.parent / "data"))
    return CliRunner().invoke(command, [*arguments, *flags], env={**cleared, **environment})


def test_files_are_printed_under_their_names(rules: Path) -> None:
    result = wire(rules, "containerd", "--url", "https://gw.example")
    assert result.exit_code == 0
    assert result.stdout.startswith("# --- certs.d/docker.io/hosts.toml\nserver = ")
    assert "note: certs.d goes to /etc/containerd" in result.stderr
    assert not (rules.parent / "data").exists()


def test_where_clients_reach_us_is_the_setting_or_where_we_listen(rules: Path) -> None:
    told = json.loads(wire(rules, "docker", "--json", GATEWAY_PUBLIC_URL="https://gw.example").stdout)
    assert '"https://gw.example"' in told["files"]["daemon.json"]
    listened = wire(rules, "docker", GATEWAY_PORT="9100")
    assert '"http://127.0.0.1:9100"' in listened.stdout
    assert "127.0.0.1 leads other machines nowhere" in listened.stderr


def test_files_are_written_once_and_not_over_others(rules: Path, tmp_path: Path) -> None:
    arguments = ("helmfile", "--url", "https://gw.example", "--output", str(tmp_path / "out"))
    file = tmp_path / "out" / "helmfile-repositories.yaml"
    assert wire(rules, *arguments).stdout == f"Wrote: {file}\n"
    assert file.stat().st_mode & 0o777 == 0o644
    assert wire(rules, *arguments).exit_code == 0
    file.write_text("mine")
    refused = wire(rules, *arguments)
    assert isinstance(refused.exception, NotWritten)
    assert file.read_text() == "mine"
    assert wire(rules, *arguments, "--force").exit_code == 0
    assert file.read_text() != "mine"


def test_what_is_no_certificate_is_handed_to_nobody(rules: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n")
    for file in (key, rules, tmp_path / "gone"):
        assert isinstance(wire(rules, "k3s", "--ca", str(file)).exception, NotWritten)


@pytest.mark.parametrize("arguments", [("nginx",), (), ("k3s", "--url", "https://gw.example/path")])
def test_what_is_no_client_or_no_place_is_wrong_usage(rules: Path, arguments: tuple[str, ...]) -> None:
    assert wire(rules, *arguments).exit_code == 2
