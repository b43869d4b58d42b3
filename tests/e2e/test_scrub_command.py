"""``gateway scrub``, as operators run it: beside a server, offline, killed halfway."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.gateway_process import Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.rot import flip

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

HOST = "charts.example.test"
COMMON = make_chart("common", "1.0.0")
APP = make_chart(
    "app", "2.0.0", dependencies=[{"name": "common", "version": "1.0.0", "repository": f"https://{HOST}"}]
)
HERE = {"GATEWAY_PUBLIC_URL": "https://gateway.test", "GATEWAY_RULES": "rules.yaml"}


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(APP, COMMON)) as started:
        yield started


@pytest.fixture
def warm(tmp_path: Path, repo: HelmRepo) -> Site:
    """A site that holds a chart with rewritten dependencies, and so the plain one too."""
    site = Site(tmp_path)
    site.point_at({HOST: repo}, "{rewrite_dependencies: true}")
    assert site.run("pull", f"{HOST}/app:2.0.0", environment=HERE).code == 0
    return site


def _files(site: Site) -> list[Path]:
    return sorted(path for path in (site.data_dir / "blobs" / "sha256").rglob("*") if path.is_file())


def test_everything_is_healed_beside_a_server_also_what_was_made_here(warm: Site) -> None:
    with warm.serve(environment=HERE):
        before = {path: path.read_bytes() for path in _files(warm)}
        for path in before:
            flip(path)
        ran = warm.run("scrub", "--json", environment=HERE)
        scrubbed = json.loads(ran.output)
        assert (ran.code, scrubbed["unhealed"]) == (0, [])
        assert len(scrubbed["damaged"]) == scrubbed["healed"] == len(before) == 5
        assert {path: path.read_bytes() for path in _files(warm)} == before


def test_offline_what_is_damaged_stays_so_and_the_command_fails(warm: Site, repo: HelmRepo) -> None:
    (layer,) = (path for path in _files(warm) if path.read_bytes() == APP)
    flip(layer)
    asked_before = repo.count()
    ran = warm.run("scrub", "--offline", environment=HERE)
    assert ran.code == 1
    assert "Damaged: 1 (1 not healed)" in ran.output
    assert f"sha256:{layer.name} ({HOST}/app" in ran.output
    assert "offline: nothing was fetched" in ran.output
    assert repo.count() == asked_before
    ran = warm.run("scrub", "--fetch-missing", environment=HERE)
    assert (ran.code, layer.exists()) == (0, True)
    assert "Damaged: 0\n" in ran.output
    assert "Fetched: 1 of those that were missing" in ran.output


def test_one_that_is_killed_halfway_harms_nothing_and_the_next_does_all(warm: Site) -> None:
    before = {path: path.read_bytes() for path in _files(warm)}
    for path in before:
        flip(path)
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "scrub", "--rate", "1K"],
        cwd=warm.folder,
        env={**os.environ, **HERE, "HOME": str(warm.folder)},
    )
    try:
        quarantine = warm.data_dir / "blobs" / "quarantine"
        eventually(lambda: any(quarantine.iterdir()), within_seconds=20)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert _files(warm) != list(before)
    ran = warm.run("scrub", "--fetch-missing", environment=HERE)
    assert ran.code == 0
    assert {path: path.read_bytes() for path in _files(warm)} == before


def test_a_rate_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    for rate in ("0", "fast"):
        ran = Site(tmp_path).run("scrub", "--rate", rate)
        assert ran.code == 2
        assert "--rate" in ran.errors
