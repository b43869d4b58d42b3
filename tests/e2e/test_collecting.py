"""``gateway gc`` beside a running server, again and again: clients read whole blobs, and notice nothing."""

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from gateway.oci.digest import Digest
from tests.e2e.gateway_process import Ran, Server, Site
from tests.fakes.images import OCI, Artifact
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.e2e

HOST, NAME = "registry.example.test", "team/app"
IMAGES = [OCI.image(300_000, seed=f"image {number}") for number in range(12)]
CLIENTS = 6
RUNS = 4
_THIRD = "1300K"


@pytest.fixture
def registry(site: Site) -> Iterator[FakeRegistry]:
    """Holds the images; the site's rules lead to it."""
    with FakeRegistry() as server:
        for number, image in enumerate(IMAGES):
            image.push_to(server, NAME, str(number))
        line = f"{HOST}: {{kind: registry, url: '{server.origin}', allow_private: true}}"
        site.write_rules(f"version: 1\nupstreams:\n  {line}\n")
        yield server


def pulled_wrong(server: Server, image: Artifact) -> list[str]:
    """Pull an image whole; say what was not as it should be."""
    wrong: list[str] = []
    for content, path in (
        (image.manifest, f"manifests/{IMAGES.index(image)}"),
        *((blob, f"blobs/{Digest.of(blob)}") for blob in image.blobs),
    ):
        answer = server.get(f"/v2/{HOST}/{NAME}/{path}")
        if answer.status_code != 200 or answer.content != content:
            wrong.append(f"{path}: {answer.status_code}, {len(answer.content)} bytes")
    return wrong


def test_clients_notice_nothing_of_eviction(site: Site, registry: FakeRegistry) -> None:
    stop = threading.Event()
    wrong: list[str] = []

    def pull_on(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            wrong.extend(pulled_wrong(server, chance.choice(IMAGES)))

    with site.serve(workers=2) as server, ThreadPoolExecutor(CLIENTS) as clients:
        pulling = [clients.submit(pull_on, seed) for seed in range(CLIENTS)]
        try:
            reports = [json.loads(collected(site).output) for _ in range(RUNS)]
        finally:
            stop.set()
        for one in pulling:
            one.result()
    removed = sum(report["removed"]["count"] for report in reports)
    fetched = sum("/blobs/" in one.path for one in registry.requests if one.method == "GET")
    assert wrong == []
    assert removed >= RUNS
    assert fetched > 2 * len(IMAGES)  # each layer and config once, and some again
    assert reports[-1]["bytes_after"] < reports[-1]["bytes_before"]


def test_a_gc_that_is_killed_anywhere_loses_nothing(site: Site, registry: FakeRegistry) -> None:
    chance = random.Random(6)
    with site.serve() as server:
        for _ in range(RUNS):
            assert [wrong for image in IMAGES for wrong in pulled_wrong(server, image)] == []
            kill_a_collector(site, chance.uniform(0.3, 1.2))
        assert [wrong for image in IMAGES for wrong in pulled_wrong(server, image)] == []
    assert json.loads(collected(site).output)["over_bytes"] == 0
    assert list((site.data_dir / "blobs" / "dying").iterdir()) == []


def collected(site: Site) -> Ran:
    return site.run("gc", "--max-size", _THIRD, "--grace", "0s", "--json")


def kill_a_collector(site: Site, after_seconds: float) -> None:
    """Start one that evicts everything, and kill it then, unless it has ended."""
    command = [sys.executable, "-m", "gateway", "gc", "--max-size", "1K", "--grace", "0s"]
    with subprocess.Popen(
        command, cwd=site.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(after_seconds)
        process.kill()
