"""``gateway gc``, ``pin`` and ``unpin`` as they are typed, on a data directory."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import pytest
from click.testing import CliRunner, Result

from gateway.cli import group
from gateway.oci.digest import Digest
from tests.composed import HOST, composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.gc_house import make_all_older

pytestmark = pytest.mark.slow  # live servers, whole gateways

CHART = make_chart("demo", "1.0.0", {"values.yaml": b"a: 1\n"})
LAYER = str(Digest.of(CHART))
REF = f"{HOST}/demo:1.0.0"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A data directory that holds a chart, used days ago; beside it the rules that lead to its upstream."""
    with HelmRepo(repository_of(CHART)) as server:
        rules = f"upstreams:\n{upstream(server.url, kind='helm')}"
        (tmp_path / "rules.yaml").write_text(f"version: 1\n{rules}")
        asyncio.run(_pull(tmp_path / "data", rules))
        yield tmp_path


async def _pull(folder: Path, rules: str) -> None:
    async with composed(folder, rules) as at:
        assert (await at.manifest(f"{HOST}/demo", "1.0.0")).status_code == 200
    make_all_older(folder / "blobs")


def run(site: Path, *arguments: str) -> Result:
    settings = ("--data-dir", str(site / "data"), "--rules", str(site / "rules.yaml"))
    return CliRunner().invoke(group, [*arguments, *settings])


class Gone(TypedDict):
    names: list[str]
    digest: str


class Facts(TypedDict):
    evicted: list[Gone]
    removed: dict[str, int]
    kept: dict[str, int]


def facts(site: Path, *arguments: str) -> Facts:
    told: Facts = json.loads(run(site, *arguments, "--json").stdout)
    return told


def test_it_tells_what_goes_what_stays_and_what_that_comes_to(site: Path) -> None:
    told = run(site, "gc", "--max-size", "1K", "--dry-run")
    assert f"would be evicted: {REF}  {LAYER[:19]}" in told.stdout
    assert "kept: 2 no layer" in told.stdout
    assert "set aside" in told.stdout
    assert "above the quota: nothing else may be evicted" in told.stdout
    assert told.exit_code == 1
    assert (site / "data" / "blobs" / "sha256" / LAYER[7:9] / LAYER[7:]).exists()


def test_at_once_means_without_grace(site: Path) -> None:
    report = facts(site, "gc", "--max-size", "1K", "--grace", "0s")
    assert report["removed"] == {"count": 1, "bytes": len(CHART)}
    (gone,) = report["evicted"]
    assert (gone["names"], gone["digest"]) == ([REF], LAYER)
    assert not (site / "data" / "blobs" / "sha256" / LAYER[7:9] / LAYER[7:]).exists()


def test_below_the_quota_nothing_goes(site: Path) -> None:
    told = run(site, "gc", "--max-size", "1G")
    assert (told.exit_code, "evicted" in told.stdout) == (0, False)
    assert facts(site, "gc")["evicted"] == []


def test_what_is_pinned_is_listed_and_stays_until_it_is_unpinned(site: Path) -> None:
    assert run(site, "pin", REF).stdout == f"{REF}: pinned\n"
    assert run(site, "pin", f"oci://{REF}").stdout.endswith(": pinned already\n")
    assert run(site, "pin", "--list").stdout.startswith(f"{REF}\t{HOST}/demo\t")
    report = facts(site, "gc", "--max-size", "1K", "--force", "--dry-run")
    assert (report["evicted"], report["kept"]["pinned"]) == ([], 1)
    assert run(site, "unpin", REF).stdout == f"{REF}: unpinned\n"
    again = run(site, "unpin", REF)
    assert (again.exit_code, again.stdout) == (1, f"{REF}: not pinned\n")
    assert run(site, "pin", "--list", "--json").stdout == "[]\n"
    assert facts(site, "gc", "--max-size", "1K", "--dry-run")["evicted"]


@pytest.mark.parametrize(
    ("reference", "told"),
    [(f"{HOST}/demo:2.0.0", "is not held: `gateway pull "), (f"{HOST}/demo", "which version")],
)
def test_what_is_not_held_is_not_pinned(site: Path, reference: str, told: str) -> None:
    result = run(site, "pin", reference)
    assert told in str(result.exception)
    assert run(site, "pin", "--list").stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [["gc", "--grace", "soon"], ["gc", "--max-size", "much"], ["pin"], ["pin", REF, "--list"], ["unpin"]],
)
def test_wrong_usage_is_told(tmp_path: Path, arguments: list[str]) -> None:
    assert run(tmp_path, *arguments).exit_code == 2
