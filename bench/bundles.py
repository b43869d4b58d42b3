"""A bundle of 2 GB: ``gateway export`` and ``gateway import``, beside ``tar`` over the same files.

``python -m bench.bundles FOLDER`` fills a data directory: who measures has to stay small, since the kernel
counts the memory of a process from before it was another program.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import AtLeast, AtMost, Figure
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.manifest import Manifest, parse_manifest
from gateway.oci.media_types import OCI_MANIFEST
from gateway.oci.target import Target
from gateway.store import catalog_writes
from gateway.store.data_dir import DataDir
from gateway.store.rows import KeptManifest, TagRow

SIZES = [100_000_000] * 15 + [10_000_000] * 30 + [50_000] * 4_000
_LAYERS = 15  # of an image
_ROUNDS = 5
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
_MB = 1_000_000


@dataclass(slots=True)
class _Times:
    """Seconds of each round, and the most memory that one held."""

    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def run() -> Sequence[Figure]:
    with TemporaryDirectory(dir=Path.cwd()) as root:
        folder = Path(root)
        subprocess.run([sys.executable, "-m", "bench.bundles", folder / "data"], check=True)
        times = {name: _Times() for name in _commands()}
        for _ in range(_ROUNDS):
            _clear(folder)
            for name, command in _commands().items():
                _measure(times[name], command, folder)
    size = sum(SIZES)
    tar = times["tar"].median + times["untar"].median
    ours = times["export"].median + times["import"].median
    start = 2 * times["start"].median
    how = ", ".join(f"{name} {one.median:.2f} s" for name, one in times.items())
    memory = max(times["export"].peak_bytes, times["import"].peak_bytes) / _MB
    return [
        Figure("2 GB out and in, as fast as tar that syncs", tar / ours, "x", AtLeast(0.6), how),
        Figure("  but for the start of two processes, as in a server", tar / (ours - start), "x"),
        Figure("  throughput of both together", 2 * size / _MB / ours, "MB/s"),
        Figure("  most memory of the two", memory, "MB", AtMost(150)),
    ]


def _commands() -> dict[str, Sequence[str]]:
    """In their order: one takes what the one before it made. A command ends when all is on the disk."""
    gateway = [sys.executable, "-m", "gateway"]
    nothing = ["list", "--data-dir", "empty"]
    return {
        "tar": ["sh", "-c", "tar cf x.tar -C data/blobs . && sync x.tar"],
        "untar": ["sh", "-c", "mkdir out && tar xf x.tar -C out && sync -f out"],
        "export": [*gateway, "export", "-o", "y.tar"],
        "start": [*gateway, *nothing],
        "import": [*gateway, "import", "y.tar", "--data-dir", "there"],
    }


def _clear(folder: Path) -> None:
    """What the round before left; and nothing waits to be written any more."""
    for name in ("out", "there"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("x.tar", "y.tar"):
        (folder / name).unlink(missing_ok=True)
    os.sync()


def _measure(times: _Times, command: Sequence[str], folder: Path) -> None:
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    times.seconds.append(time.perf_counter() - began)
    times.peak_bytes = max(times.peak_bytes, used.ru_maxrss * 1024)


def _fill(folder: Path) -> None:
    data_dir = DataDir(folder)
    data_dir.prepare()
    engines = data_dir.open_engines()
    with engines.writing() as connection:
        for start in range(0, len(SIZES), _LAYERS):
            layers = [_layer(data_dir.blobs, size) for size in SIZES[start : start + _LAYERS]]
            row, kept = _image(f"{start}", layers)
            catalog_writes.keep(connection, "registry.example.test/team/app", row, kept, None)
    engines.dispose()
    data_dir.close()


def _layer(blobs: Path, size_bytes: int) -> tuple[Digest, int]:
    content = os.urandom(size_bytes)
    digest = Digest.of(content)
    place = blobs / digest.algorithm / digest.hex[:2] / digest.hex
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return digest, size_bytes


def _image(tag: str, layers: Sequence[tuple[Digest, int]]) -> tuple[TagRow, KeptManifest]:
    described = [{"mediaType": _LAYER_TYPE, "digest": str(digest), "size": size} for digest, size in layers]
    content = dump_compact(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described[0], "layers": described[1:]}
    )
    manifest = Manifest.of(content, OCI_MANIFEST)
    target = Target.parse("registry.example.test/team/app")
    row = TagRow(
        target=target,
        variant="plain",
        tag=tag,
        source="registry",
        digest=manifest.digest,
        version=tag,
        is_exact=False,
        upstream_digest=None,
        seen_digest=None,
        origin="https://registry.example.test",
        kept_at=1.0,
        confirmed_at=1.0,
    )
    return row, KeptManifest(manifest, parse_manifest(content, OCI_MANIFEST), dict(layers))


if __name__ == "__main__":
    _fill(Path(sys.argv[1]))
