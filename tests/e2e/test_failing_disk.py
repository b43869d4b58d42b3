"""System calls that fail under a running gateway: right bytes or «ask again», nothing left behind."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from random import Random

import httpx
import pytest

from gateway.oci.digest import Digest
from tests.conftest import missing
from tests.e2e.crash_points import TAKES_ALL
from tests.e2e.failing_disk import failing, small_files
from tests.e2e.gateway_process import Server, Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.e2e

CHARTS, REGISTRY = "charts.example.test", "registry.example.test"
NAMES = [f"chart-{number}" for number in range(4)]
IMAGES = [OCI.image(size) for size in (3 << 20, 3 << 20 | 1)]


class PlainSite(Site):
    """Its gateway has no right to what its owner took away, also where that is root's."""

    def _start(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        if shutil.which("setpriv") is None:
            missing("no setpriv: it takes a right of root away")
        return subprocess.Popen(
            [
                *("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all"),
                *(sys.executable, "-m", "gateway", *arguments),
            ],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def some_of(pairs: Iterable[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """All where ``CRASH_POINTS=all``; else every third, which comes by each call and each error."""
    every = list(pairs)
    return every if TAKES_ALL else every[::3]


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    """One worker, which holds the first chart and the first image."""
    yield from serving(site)


@pytest.fixture
def plain_server(site: Site) -> Iterator[Server]:
    yield from serving(PlainSite(site.folder))


def serving(site: Site) -> Iterator[Server]:
    archives = [make_chart(name, "1.0.0", {"a": Random(name).randbytes(200_000)}) for name in NAMES]
    with HelmRepo(repository_of(*archives)) as repo, FakeRegistry() as registry:
        for number, image in enumerate(IMAGES):
            image.push_to(registry, f"team/app-{number}", "1")
        site.write_rules(
            "version: 1\nupstreams:\n"
            f"  {REGISTRY}: {{url: '{registry.origin}', kind: registry, allow_private: true}}\n"
            f"  {CHARTS}: {{url: '{repo.url}', kind: helm, allow_private: true}}\n"
        )
        with site.serve() as server:
            assert set(pull_all(server, warm=True)) == {200}
            yield server


def pull_all(server: Server, *, warm: bool) -> Counter[int]:
    """Pull what is held, or the rest; return how often each status came. Bytes have to be right."""
    charts = NAMES[:1] if warm else NAMES[1:]
    names = [(f"{CHARTS}/{name}", "1.0.0") for name in charts]
    names.append((f"{REGISTRY}/team/app-{0 if warm else 1}", "1"))
    statuses: Counter[int] = Counter()
    for name, tag in names:
        for response in _pull(server, name, tag):
            statuses[response.status_code] += 1
            assert response.status_code in (200, 503), response.text
            assert response.status_code == 200 or response.headers["retry-after"]
    return statuses


def _pull(server: Server, name: str, tag: str) -> Iterator[httpx.Response]:
    manifest = server.get(f"/v2/{name}/manifests/{tag}")
    yield manifest
    if manifest.status_code != 200:
        return
    parsed = json.loads(manifest.content)
    for part in (parsed["config"], *parsed["layers"]):
        blob = server.get(f"/v2/{name}/blobs/{part['digest']}")
        assert blob.status_code != 200 or str(Digest.of(blob.content)) == part["digest"]
        yield blob


def require_recovery(server: Server, site: Site) -> None:
    """Nothing is left behind, everything comes, and it is told that the trouble is over."""
    eventually(lambda: not server.get("/readyz").json()["storage"], 20)
    assert set(pull_all(server, warm=False)) == set(pull_all(server, warm=True)) == {200}
    assert list((site.data_dir / "blobs" / "partial").iterdir()) == []
    assert not server.events("request_failed")
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("call", "error"),
    some_of(product(["fsync", "rename", "mkdir"], ["ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"])),
)
def test_blobs_that_cannot_be_kept_are_served_all_the_same(
    server: Server, site: Site, call: str, error: str
) -> None:
    worker = server.workers()[0].pid
    with failing(worker, call, error):
        assert set(pull_all(server, warm=False)) == {200}
        assert set(pull_all(server, warm=True)) == {200}
    require_recovery(server, site)


@pytest.mark.parametrize(
    ("call", "error"), some_of(product(["pwrite64", "fdatasync"], ["ENOSPC", "EIO", "EDQUOT", "EROFS"]))
)
def test_a_catalog_that_cannot_be_written_costs_no_answer(
    server: Server, site: Site, call: str, error: str
) -> None:
    worker = server.workers()[0].pid
    with failing(worker, call, error):
        statuses = pull_all(server, warm=False)
        assert set(pull_all(server, warm=True)) == {200}
    assert set(statuses) == {200}
    require_recovery(server, site)


@pytest.mark.parametrize("error", ["ENOSPC", "EACCES", "EIO", "EMFILE"])
def test_files_that_cannot_be_opened_are_an_outage_at_worst(server: Server, site: Site, error: str) -> None:
    worker = server.workers()[0].pid
    with failing(worker, "openat", error):
        pull_all(server, warm=False)
        pull_all(server, warm=True)
    require_recovery(server, site)


@pytest.mark.parametrize("largest_bytes", [0, 50_000, 1 << 20])
def test_files_that_may_not_grow_cost_no_answer(server: Server, site: Site, largest_bytes: int) -> None:
    worker = server.workers()[0].pid
    with small_files(worker, largest_bytes):
        assert set(pull_all(server, warm=False)) == {200}
        assert set(pull_all(server, warm=True)) == {200}
    require_recovery(server, site)


@pytest.mark.parametrize(
    "lost", ["blobs", "blobs/partial", "blobs/sha256", "blobs/sha256/*/*", "locks", ".", "catalog*"]
)
def test_a_permission_that_is_lost_costs_no_answer(plain_server: Server, site: Site, lost: str) -> None:
    places = list(site.data_dir.glob(lost)) if lost != "." else [site.data_dir]
    modes = {place: place.stat().st_mode for place in places}
    for place in places:
        place.chmod(0o500 if lost in (".", "blobs/partial") else 0)
    try:
        assert set(pull_all(plain_server, warm=False)) == {200}
        assert set(pull_all(plain_server, warm=True)) == {200}
    finally:
        _give_back(modes)
    require_recovery(plain_server, site)


def _give_back(modes: Mapping[Path, int]) -> None:
    for place, mode in modes.items():
        if place.exists():  # what could not be read was fetched again, and took its place
            place.chmod(mode)
