"""``gateway sync`` as it is typed: planned, run, killed anywhere and run again; and the server's schedule."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from tests.conftest import missing
from tests.e2e.gateway_process import PATIENCE_SECONDS, Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HOST, REGISTRY = "charts.example.test", "registry.example.test"
VERSIONS = [f"1.{minor}.0" for minor in range(12)]
VALUES = f"image: {{repository: {REGISTRY}/team/app, tag: v1}}\n".encode()
CHARTS = [
    make_chart("demo", version, {"values.yaml": VALUES, "x": Random(version).randbytes(100_000)})
    for version in VERSIONS
]
IMAGE = OCI.image(2_000_000)
LIST = f"""
    charts:
      - {{repository: "{HOST}/*", images: true}}
"""
KILLS = 20


@pytest.fixture
def repo(site: Site) -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(*CHARTS)) as repo, FakeRegistry() as registry:
        IMAGE.push_to(registry, "team/app", "v1")
        places = {HOST: ("helm", repo.url), REGISTRY: ("registry", registry.origin)}
        lines = [
            f"  {key}: {{kind: {kind}, url: '{url}', allow_private: true}}"
            for key, (kind, url) in places.items()
        ]
        site.write_rules("\n".join(["version: 1", "upstreams:", *lines, "sync:", f"  - name: base{LIST}"]))
        yield repo


def facts(site: Site, *arguments: str) -> Mapping[str, object]:
    (told,) = json.loads(site.run("sync", "--json", *arguments).require_ok())
    assert isinstance(told, dict)
    return told


def held(site: Site) -> set[str]:
    return {line.split("\t")[0] for line in site.run("list").require_ok().splitlines()}


ALL = {*(f"{HOST}/demo:{version}" for version in VERSIONS), f"{REGISTRY}/team/app:v1"}


def test_a_list_is_planned_brought_and_found_held(site: Site, repo: HelmRepo) -> None:
    plan = facts(site, "--dry-run")
    size_bytes = plan["size_bytes"]
    assert isinstance(size_bytes, int)
    assert size_bytes > sum(map(len, CHARTS))
    assert f"{REGISTRY}/team/app:v1" not in held(site)
    told = site.run("sync")
    assert "13 of 13" in told.errors
    assert f"base: {1} fetched, {12} held" in told.require_ok()  # charts were read for the plan
    assert facts(site)["fetched"] == 0
    assert held(site) == ALL
    assert "13 held, 0 to remove" in site.run("sync", "--dry-run", "base").require_ok()


def test_what_fails_is_named_and_the_exit_code_is_1(site: Site, repo: HelmRepo) -> None:
    repo.remove("demo-1.3.0.tgz")
    ran = site.run("sync", "base")
    assert ran.code == 1
    assert f"failed: {HOST}/demo:1.3.0" in ran.output
    assert "11 held" in ran.output or "12 fetched" in ran.output
    assert held(site) == ALL - {f"{HOST}/demo:1.3.0"}


def test_a_name_that_is_none_is_wrong_usage(site: Site, repo: HelmRepo) -> None:
    ran = site.run("sync", "bass")
    assert ran.code == 2
    assert "did you mean 'base'?" in ran.errors


def test_without_any_list_there_is_nothing_to_do(site: Site) -> None:
    site.write_rules("version: 1\n")
    ran = site.run("sync")
    assert ran.require_ok() == ""
    assert "no mirror list" in ran.errors


def test_offline_it_says_so(site: Site, repo: HelmRepo) -> None:
    ran = site.run("sync", "--offline")
    assert (ran.code, "offline: nobody is asked" in ran.output) == (1, True)
    ran = site.run("sync", "--offline", "--json")
    (report,) = json.loads(ran.output)
    assert (ran.code, report["failed"], report["fetched"]) == (1, 1, 0)


def test_killed_at_any_moment_and_run_again_it_comes_to_the_same(site: Site, repo: HelmRepo) -> None:
    chance = random.Random(8)
    for _ in range(KILLS):
        count = len(repo.requests) + chance.randint(1, 3)
        with running_sync(site.folder) as process, suppress(subprocess.TimeoutExpired):
            eventually(
                lambda: len(repo.requests) >= count or process.poll() is not None,  # noqa: B023
                PATIENCE_SECONDS,
            )
            process.wait(chance.uniform(0, 0.1))
    report = facts(site)
    assert (report["failed"], held(site)) == (0, ALL)
    assert facts(site)["fetched"] == 0
    assert site.run("scrub").code == 0
    assert list((site.data_dir / "blobs" / "partial").iterdir()) == []


@contextmanager
def running_sync(folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """One that is killed at the end of the block."""
    command = [sys.executable, "-m", "gateway", "sync"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_server_goes_on_with_a_run_that_was_killed(site: Site, repo: HelmRepo) -> None:
    rules = (site.folder / "rules.yaml").read_text()
    site.write_rules(rules.replace("  - name: base", "  - name: base\n    every: 1m"))
    repo.faults_of("demo-1.0.0.tgz").silent = True
    with running_sync(site.folder):
        repo.wait_for_requests(1 + len(CHARTS))
    repo.faults_of("demo-1.0.0.tgz").silent = False
    with site.serve(workers=2) as server:
        eventually(lambda: bool(server.events("sync_done")), 5 * PATIENCE_SECONDS)
        (done,) = server.events("sync_done")
        assert (done["list"], done["failures"]) == ("base", 0)
    assert held(site) == ALL


def test_on_a_full_disk_it_stops_and_says_so_and_goes_on_later(site: Site, repo: HelmRepo) -> None:
    site.data_dir.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "tmpfs", str(site.data_dir)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        missing("no small file system: that takes root, and the right to mount")
    try:
        site.run("list").require_ok()
        filler = site.data_dir / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(64 << 10)):
                pass
        ran = site.run("sync")
        assert ran.code == 1
        assert "the disk is full" in ran.output + ran.errors or "the catalog" in ran.errors
        filler.unlink()
        assert facts(site)["failed"] == 0
        assert held(site) == ALL
    finally:
        subprocess.run(["umount", "-l", str(site.data_dir)], check=True)
