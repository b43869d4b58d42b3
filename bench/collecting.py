"""Garbage collection of 100,000 blobs by a worker that serves: how long, how much memory, how late its loop.

``python -m bench.collecting FOLDER`` is the worker: it collects on its own event loop, beside a timer.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import uvloop

from bench.figures import AtMost, Figure
from gateway.app import compose
from gateway.caretaker import collector
from gateway.collected import Order
from gateway.gc import Collector
from gateway.held_upstream import HeldUpstream
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.manifest import Manifest, parse_manifest
from gateway.oci.media_types import OCI_MANIFEST
from gateway.oci.target import Target
from gateway.rule_revisions import InForce
from gateway.rules.model import RuleSet
from gateway.rules.route import Route
from gateway.serve import tune_interpreter
from gateway.settings import Settings
from gateway.store import catalog_writes
from gateway.store.data_dir import DataDir
from gateway.store.rows import KeptManifest, TagRow

IMAGES, LAYERS = 20_000, 4
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_EVERY_SECONDS = 0.002
_NEVER = 1e12
_LONG_AGO = time.time() - 5 * 86400


def run() -> Sequence[Figure]:
    with TemporaryDirectory() as root:
        _fill(Path(root))
        told = subprocess.run(
            [sys.executable, "-m", "bench.collecting", root], check=True, capture_output=True, text=True
        )
    measured = json.loads(told.stdout.splitlines()[-1])
    figures: list[Figure] = []
    for what, bound in (
        ("looked at, below the quota", 10),
        ("swept, nothing found", 60),
        ("a tenth evicted", 60),
    ):
        seconds, cpu, late, latest, count, grown = measured[what]
        how = f"{cpu:.1f} s of CPU, {count} blobs set aside, memory +{grown:.0f} MB at most"
        figures.append(Figure(f"100,000 blobs: {what}", seconds, "s", AtMost(bound), how))
        how = f"99 of 100; latest {latest:.1f} ms; without the waits for a CPU"
        figures.append(Figure("  the worker's event loop meanwhile late by", late, "ms", AtMost(3), how))
    return figures


def _fill(folder: Path) -> None:
    """Images of four layers and a config, some days old."""
    data_dir = DataDir(folder)
    data_dir.prepare()
    engines = data_dir.open_engines()
    with engines.writing() as connection:
        for number in range(IMAGES):
            config = _described(data_dir.blobs, _CONFIG_TYPE, b"config %d" % number)
            layers = [
                _described(data_dir.blobs, _LAYER_TYPE, b"layer %d %d " % (number, place) * 20)
                for place in range(LAYERS)
            ]
            members = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
            manifest = Manifest.of(dump_compact(members), OCI_MANIFEST)
            parsed = parse_manifest(manifest.content, OCI_MANIFEST)
            sizes = {edge.descriptor.digest: edge.descriptor.size for edge in parsed.edges}
            row = _row(f"registry.example.test/team/app-{number % 500}", str(number), manifest.digest)
            catalog_writes.keep(connection, str(row.target), row, KeptManifest(manifest, parsed, sizes), None)
    engines.dispose()
    data_dir.close()


def _row(name: str, tag: str, digest: Digest) -> TagRow:
    return TagRow(
        target=Target.parse(name),
        variant="plain",
        tag=tag,
        source="registry",
        digest=digest,
        version=tag,
        is_exact=False,
        upstream_digest=digest,
        seen_digest=None,
        origin="",
        kept_at=_LONG_AGO,
        confirmed_at=_LONG_AGO,
    )


def _described(blobs: Path, media_type: str, content: bytes) -> dict[str, object]:
    digest = Digest.of(content)
    place = blobs / digest.algorithm / digest.hex[:2] / digest.hex
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.write_bytes(content)
    os.utime(place, (_LONG_AGO, _LONG_AGO))
    return {"mediaType": media_type, "digest": str(digest), "size": len(content)}


async def _anywhere(_route: Route, _origin: str) -> bool:
    return True


class _AllThere(HeldUpstream):
    """Says yes at once: what upstreams take to answer is theirs."""

    async def has(self, layer: Digest) -> bool:
        return True


async def _measure(folder: Path) -> dict[str, tuple[float, ...]]:
    data_dir = DataDir(folder)
    data_dir.prepare()
    gateway = compose(Settings(data_dir=folder), data_dir, InForce(RuleSet()))
    collecting = replace(
        collector(gateway),
        upstream=_AllThere(gateway.storage.catalog, gateway.storage.disk, {}, RuleSet, _anywhere),
    )
    total = await asyncio.to_thread(lambda: sum(blob.size_bytes for blob in gateway.storage.disk.scan()))
    used = (await collecting.collect(Order(is_dry=True, sweep_seconds=_NEVER))).bytes_before
    orders = {
        "looked at, below the quota": Order(quota_bytes=used * 2, sweep_seconds=_NEVER),
        "swept, nothing found": Order(),
        "a tenth evicted": Order(quota_bytes=used - total // 10, sweep_seconds=_NEVER),
    }
    tune_interpreter()
    measured = {what: await _timed(collecting, order) for what, order in orders.items()}
    await gateway.close()
    data_dir.close()
    return measured


async def _timed(collecting: Collector, order: Order) -> tuple[float, ...]:
    late: list[float] = []
    before = psutil.Process().memory_info().rss
    timer = asyncio.create_task(_note_lateness(late))
    started, cpu = time.perf_counter(), time.process_time()
    report = await collecting.collect(order)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    timer.cancel()
    late.sort()
    grown = max(psutil.Process().memory_info().rss - before, 0) / 1e6
    return seconds, cpu, late[int(len(late) * 0.99)], late[-1], len(report.evicted), grown


async def _note_lateness(late: list[float]) -> None:
    """In milliseconds, but for those that this thread was ready and had no CPU."""
    schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)

    def starved_seconds() -> float:
        return int(os.pread(schedstat, 100, 0).split()[1]) / 1e9

    try:
        while True:
            due, starved = time.perf_counter() + _EVERY_SECONDS, starved_seconds()
            await asyncio.sleep(_EVERY_SECONDS)
            late.append(max(time.perf_counter() - due - (starved_seconds() - starved), 0.0) * 1000)
    finally:
        os.close(schedstat)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(_measure(Path(sys.argv[1])))))
