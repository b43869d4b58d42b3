"""From the start of the process to its first answer, and what a worker holds when it has nothing to do."""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.figures import AtMost, Figure
from bench.gateways import running
from bench.memory import resident_megabytes
from gateway.oci.digest import Digest
from tests.store.damaging import write_much_and_die

ROUNDS = 7
BLOBS = 10_000


def run() -> Sequence[Figure]:
    with TemporaryDirectory() as root:
        fresh = [_start(Path(root, f"data-{number}")) for number in range(ROUNDS)]
        again = [_start(Path(root, "data-0")) for _ in range(ROUNDS)]
        _fill(Path(root, "data-0"))
        killed = [_start_after_kill(Path(root, "data-0")) for _ in range(ROUNDS)]
    seconds = median(seconds for seconds, _ in fresh)
    idle = [megabytes for _, megabytes in fresh]
    how = f"fresh data directory, with migrations; on one that is there {median(s for s, _ in again):.2f} s"
    return [
        Figure("gateway serve, first answer after", seconds, "s", AtMost(1.5), how),
        Figure(
            "the same, with 10,000 blobs, after kill -9",
            max(killed),
            "s",
            AtMost(3.0),
            "60 MB in the log; longest",
        ),
        Figure("a worker's resident memory, idle", median(idle), "MB", AtMost(90), f"most {max(idle):.0f}"),
    ]


def _fill(data_dir: Path) -> None:
    for number in range(BLOBS):
        digest = Digest.of(b"%d" % number)
        place = data_dir / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"%d" % number)


def _start_after_kill(data_dir: Path) -> float:
    catalog = data_dir / "catalog.sqlite3"
    with closing(sqlite3.connect(catalog)) as connection, connection:
        connection.execute("DELETE FROM private_targets")
    write_much_and_die(catalog)
    return _start(data_dir)[0]


def _start(data_dir: Path) -> tuple[float, float]:
    started = time.perf_counter()
    with running(data_dir) as gateway:
        return time.perf_counter() - started, resident_megabytes(gateway.worker)
