"""From the start of the process to its first answer, and what a worker holds when it has nothing to do."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.figures import AtMost, Figure
from bench.gateways import running
from bench.memory import resident_megabytes

ROUNDS = 7


def run() -> Sequence[Figure]:
    with TemporaryDirectory() as root:
        fresh = [_start(Path(root, f"data-{number}")) for number in range(ROUNDS)]
        again = [_start(Path(root, "data-0")) for _ in range(ROUNDS)]
    seconds = median(seconds for seconds, _ in fresh)
    idle = [megabytes for _, megabytes in fresh]
    how = f"fresh data directory, with migrations; on one that is there {median(s for s, _ in again):.2f} s"
    return [
        Figure("gateway serve, first answer after", seconds, "s", AtMost(1.5), how),
        Figure("a worker's resident memory, idle", median(idle), "MB", AtMost(90), f"most {max(idle):.0f}"),
    ]


def _start(data_dir: Path) -> tuple[float, float]:
    started = time.perf_counter()
    with running(data_dir) as gateway:
        return time.perf_counter() - started, resident_megabytes(gateway.worker)
