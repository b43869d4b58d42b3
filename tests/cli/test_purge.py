"""``gateway purge`` and ``refresh`` as they are typed, on a data directory."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import group
from tests.composed import HOST, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.slow  # live servers, whole gateways

NAME = f"{HOST}/demo"
REF = f"{NAME}:1.0.0"


@dataclass(frozen=True)
class Site:
    folder: Path
    server: HelmRepo

    def run(self, *arguments: str) -> Result:
        rules = str(self.folder / "rules.yaml")
        settings = ("--data-dir", str(self.folder / "data"), "--rules", rules)
        return CliRunner().invoke(group, [*arguments, *settings])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A data directory that holds a chart, and the rules that lead to its upstream."""
    charts = [make_chart("demo", version, {"values.yaml": b"a: 1\n"}) for version in ("1.0.0", "2.0.0")]
    with HelmRepo(repository_of(*charts)) as server:
        rules = f"version: 1\nupstreams:\n{upstream(server.url, kind='helm')}"
        (tmp_path / "rules.yaml").write_text(rules)
        site = Site(tmp_path, server)
        assert site.run("pull", REF).exit_code == 0
        yield site


def test_what_would_be_forgotten_is_told_and_stays(site: Site) -> None:
    told = site.run("purge", REF, "--dry-run")
    assert told.exit_code == 0
    assert told.stdout.startswith(f"would be forgotten: {REF} (plain)  sha256:")
    assert "1 manifests would be forgotten, 2 files (" in told.stdout
    assert site.run("list").stdout != ""


def test_what_is_purged_is_gone_and_can_be_pulled_again(site: Site) -> None:
    told = site.run("purge", REF, "--yes")
    assert (told.exit_code, told.stdout.startswith("forgotten: ")) == (0, True)
    assert site.run("list", "--json").stdout == "[]\n"
    assert "not held" in str(site.run("pull", REF, "--offline").exception)
    assert "Cache:  miss" in site.run("pull", REF).stdout
    assert site.run("purge", f"{NAME}:9.9.9", "--yes").stdout == f"{NAME}:9.9.9: nothing of it is held\n"


def test_all_of_a_name_is_purged_where_that_is_said(site: Site) -> None:
    site.run("pull", f"{NAME}:2.0.0")
    assert "which version" in str(site.run("purge", NAME, "--yes").exception)
    (told,) = json.loads(site.run("purge", NAME, "--all-tags", "--yes", "--json").stdout)
    assert [tag["tag"] for tag in told["tags"]] == ["1.0.0", "2.0.0"]
    assert (told["refused"], told["dry_run"], len(told["blobs"])) == (False, False, 4)


def test_nobody_is_asked_where_there_is_no_terminal(site: Site) -> None:
    told = site.run("purge", REF)
    assert (told.exit_code, "--yes" in told.stderr) == (2, True)


def test_what_is_pinned_stays_without_unpin(site: Site) -> None:
    site.run("pin", REF)
    told = site.run("purge", REF, "--dry-run")
    assert (told.exit_code, "--unpin removes the pin, too" in told.stdout) == (1, True)
    assert "is pinned" in str(site.run("purge", REF, "--yes").exception)
    assert site.run("purge", REF, "--yes", "--unpin").exit_code == 0
    assert site.run("pin", "--list", "--json").stdout == "[]\n"


def test_a_refresh_tells_what_upstream_said_of_each(site: Site) -> None:
    told = site.run("refresh", NAME)
    lines = told.stdout.splitlines()
    assert (told.exit_code, lines[0]) == (0, f"{NAME}: listed: 2 tags, 2 of them new")
    assert lines[1].startswith(f"{REF}: unchanged: sha256:")
    site.server.go_down()
    told = site.run("refresh", REF, "--json")
    (one,) = json.loads(told.stdout)
    assert (told.exit_code, one["verdict"], one["what"]) == (1, "could not be asked", REF)


@pytest.mark.parametrize("arguments", [["purge"], ["refresh"], ["purge", REF, "--all"]])
def test_wrong_usage_is_told(tmp_path: Path, arguments: list[str]) -> None:
    assert CliRunner().invoke(group, [*arguments, "--data-dir", str(tmp_path)]).exit_code == 2
