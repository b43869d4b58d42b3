"""How much memory a process and its children hold, as the kernel counts it. (Linux.)"""

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_MB = 1_000_000
_PAUSE_SECONDS = 0.005
_HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@dataclass(slots=True)
class Peak:
    """``megabytes``: how far the process, with its children, rose above what it held before."""

    megabytes: float = 0.0


def workers_of(supervisor: int) -> Sequence[int]:
    """The worker processes of a ``gateway serve``."""
    return [worker.pid for worker in psutil.Process(supervisor).children()]


def resident_megabytes(pid: int) -> float:
    resident: int = psutil.Process(pid).memory_info().rss
    return resident / _MB


@contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """Find out the peak while the block runs: the kernel's own mark for the process, samples for children."""
    peak, is_over, children = Peak(), threading.Event(), [0]
    before = resident_megabytes(pid)
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # sets VmHWM back to what is resident now

    def sample() -> None:
        while not is_over.wait(_PAUSE_SECONDS):
            children[0] = max(children[0], _children_bytes(pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        is_over.set()
        sampler.join()
    peak.megabytes = _high_water_megabytes(pid) - before + children[0] / _MB


def _high_water_megabytes(pid: int) -> float:
    found = _HIGH_WATER.search(Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / _MB


def _children_bytes(pid: int) -> int:
    """Read what all children hold. (psutil looks through every process for them: too slow to sample with.)"""
    total = 0
    for list_of_children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in list_of_children.read_text().split():
            with suppress(psutil.NoSuchProcess):
                total += psutil.Process(int(child)).memory_info().rss
    return total
