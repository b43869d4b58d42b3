"""A disk that is really full: everything is pulled all the same, and kept again once there is room."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from gateway.oci.digest import Digest
from gateway.store.in_memory import LARGEST_BYTES
from tests.conftest import missing
from tests.e2e.gateway_process import Server, Site, eventually
from tests.e2e.streams import Stream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.gated_registry import GatedRegistry
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI

pytestmark = pytest.mark.e2e

MIB = 1 << 20
DISK = 96 * MIB
REGISTRY = "registry.example.test"
CHARTS = "charts.example.test"
NAMES = [f"chart-{number}" for number in range(20)]
ARCHIVES = [make_chart(name, "1.0.0", {"a": Random(name).randbytes(50_000)}) for name in NAMES]
SMALL, LARGE = OCI.image(8 * MIB), OCI.image(LARGEST_BYTES + MIB)


@dataclass(frozen=True, slots=True)
class House:
    """A site whose data directory is a file system of its own."""

    site: Site
    registry: GatedRegistry
    charts: HelmRepo

    @property
    def partial(self) -> list[Path]:
        return list((self.site.data_dir / "blobs" / "partial").iterdir())

    @contextmanager
    def filled(self, spare_bytes: int = 0) -> Iterator[None]:
        """Take what is left of the disk, but for ``spare_bytes``."""
        filler = self.site.data_dir / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(64 << 10)):
                    pass
            except OSError:
                file.truncate(file.tell() - spare_bytes)
            try:
                yield
            finally:
                filler.unlink()


@pytest.fixture
def house(site: Site) -> Iterator[House]:
    site.data_dir.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(site.data_dir)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        missing("no small file system: that takes root, and the right to mount")
    try:
        with GatedRegistry() as registry, HelmRepo(repository_of(*ARCHIVES)) as charts:
            SMALL.push_to(registry, "team/small", "1")
            LARGE.push_to(registry, "team/large", "1")
            site.write_rules(
                "version: 1\nupstreams:\n"
                f"  {REGISTRY}: {{url: '{registry.origin}', kind: registry, allow_private: true}}\n"
                f"  {CHARTS}: {{url: '{charts.url}', kind: helm, allow_private: true}}\n"
            )
            yield House(site, registry, charts)
    finally:
        subprocess.run(["umount", "-l", str(site.data_dir)], check=True)


def pull_chart(server: Server, name: str) -> None:
    manifest = server.get(f"/v2/{CHARTS}/{name}/manifests/1.0.0")
    assert manifest.status_code == 200, manifest.text
    for part in (json.loads(manifest.content)["config"], *json.loads(manifest.content)["layers"]):
        pull_blob(server, f"{CHARTS}/{name}", part["digest"])


def pull_image(server: Server, name: str) -> None:
    manifest = server.get(f"/v2/{REGISTRY}/{name}/manifests/1")
    assert manifest.status_code == 200, manifest.text
    for part in (json.loads(manifest.content)["config"], *json.loads(manifest.content)["layers"]):
        pull_blob(server, f"{REGISTRY}/{name}", part["digest"])


def pull_blob(server: Server, name: str, digest: str) -> None:
    blob = server.get(f"/v2/{name}/blobs/{digest}")
    assert blob.status_code == 200, blob.text
    assert str(Digest.of(blob.content)) == digest


def troubles(server: Server) -> set[str]:
    told: dict[str, dict[str, object]] = server.get("/readyz").json()
    return set(told["storage"])


def test_a_full_disk_costs_nobody_an_answer_and_nothing_has_to_be_restarted(house: House) -> None:
    with house.site.serve() as server:
        pull_chart(server, NAMES[0])
        eventually((house.site.data_dir / "reserve").exists, 10)
        with house.filled():
            for name in NAMES[1:]:
                pull_chart(server, name)
            for _ in range(2):
                pull_image(server, "team/small")
                pull_image(server, "team/large")
            pull_chart(server, NAMES[0])  # warm
            assert troubles(server) == {"disk_full"}
            assert house.partial == []
            assert (house.site.data_dir / "reserve").stat().st_size == 0
        eventually(lambda: not troubles(server), 10)
        pull_image(server, "team/large")
        pull_image(server, "team/large")
        assert house.registry.gets_of_blob("team/large", Digest.of(LARGE.blobs[1]))
        assert not server.events("request_failed")
        log = server.log
    assert "Traceback" not in log
    with house.site.serve("--offline") as server:  # what was pulled meanwhile was written down
        for name in NAMES:
            pull_chart(server, name)
        pull_image(server, "team/small")
        pull_image(server, "team/large")


def test_a_disk_that_fills_up_cuts_no_transfer_short(house: House) -> None:
    blob = LARGE.blobs[1]
    with house.site.serve() as server:
        assert server.get(f"/v2/{REGISTRY}/team/large/manifests/1").status_code == 200
        house.registry.pauses_at = 4 * MIB
        with Stream(server, f"/v2/{REGISTRY}/team/large/blobs/{Digest.of(blob)}") as stream:
            stream.read_up_to(2 * MIB)
            with house.filled(spare_bytes=MIB):
                house.registry.pauses_at = None
                assert stream.finish() == blob
                assert "disk_full" in troubles(server)
                assert house.partial == []
        eventually(lambda: not troubles(server), 10)
