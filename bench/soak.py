"""A long mixed load on a cache too small for it, before upstreams that fail: ``-m bench.soak [MINUTES]``.

Two workers hold a third of what is pulled; gc runs every few seconds beside them. Exit code 1 where a promise
is broken. In less than 20 minutes less has to be counted, in one nothing.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import psutil

from bench.figures import AtLeast, AtMost, Figure, as_table
from bench.memory import resident_megabytes, workers_of
from bench.processes import free_port, started, wait_until, wait_until_listening
from bench.soak_clients import Clients, Count
from bench.soak_upstream import BAD_SHARE, Upstreams, serving, stock
from tests.fakes.stock import Stock

_MINUTES: Final = 20.0
_DELETIONS: Final = 1000
_REFETCHES: Final = 100
_WORKERS: Final = 2
_COLLECT_EVERY_SECONDS: Final = 5.0
_GRACE_SECONDS: Final = 10
_COMMAND_SECONDS: Final = 60.0
_SHOWN_MINUTES: Final = (2, 5, 10, 15, 20)
_WARM_MINUTES: Final = 5  # until then caches fill
_SETTLED_SECONDS: Final = 30.0
_LAST_RUNS: Final = 5
_TOLERANCE: Final = 1.05
_MB: Final = 1e6


@dataclass(slots=True)
class Held:
    """What a worker holds at some minute."""

    minute: float
    megabytes: Sequence[float]
    files: Sequence[int]


@dataclass(slots=True)
class Collected:
    """What the runs of gc came to; shares are of the quota, after a run: without what waits, and with it.

    The highest are those since things are settled: to begin with, all there is comes at once.
    """

    runs: int = 0
    removed: int = 0
    highest_live_share: float = 0.0
    highest_disk_share: float = 0.0
    disk_share: float = inf
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Soak:
    """One run of it, on a data directory of its own."""

    root: Path
    quota_bytes: int
    env: Mapping[str, str]
    collected: Collected = field(default_factory=Collected)
    held: list[Held] = field(default_factory=list)

    def run(self, clients: Clients, supervisor: int, seconds: float) -> None:
        begin = time.monotonic()
        shown = [60.0 * minute for minute in _SHOWN_MINUTES if 60 * minute < seconds] + [seconds]
        with clients.running():
            while time.monotonic() - begin < seconds:
                due = time.monotonic() + _COLLECT_EVERY_SECONDS
                self.collect(is_settled=clients.seconds_since_all_was_seen > _SETTLED_SECONDS)
                if shown and time.monotonic() - begin >= shown[0] - _COLLECT_EVERY_SECONDS:
                    self.held.append(_held(supervisor, shown.pop(0) / 60))
                    _tell(self, clients.count)
                time.sleep(max(due - time.monotonic(), 0))
        for _ in range(_LAST_RUNS):  # what is too new to go is so no more, and then what was set aside
            if self.collected.disk_share > _TOLERANCE:
                time.sleep(_GRACE_SECONDS + 1)
                self.collect(is_settled=False)

    def collect(self, *, is_settled: bool) -> None:
        command = [sys.executable, "-m", "gateway", "gc", "--grace", f"{_GRACE_SECONDS}s", "--json"]
        done = subprocess.run(
            command, env=dict(self.env), capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
        try:
            report = json.loads(done.stdout)
        except ValueError:
            self.collected.failures.append(f"gc: exit code {done.returncode}: {done.stderr[-500:]}")
            return
        sofar = self.collected
        sofar.runs += 1
        sofar.removed += report["removed"]["count"]
        sofar.disk_share = report["bytes_after"] / self.quota_bytes
        if is_settled:
            live_share = (report["bytes_after"] - report["waiting_bytes"]) / self.quota_bytes
            sofar.highest_live_share = max(sofar.highest_live_share, live_share)
            sofar.highest_disk_share = max(sofar.highest_disk_share, sofar.disk_share)


def main(minutes: float) -> int:
    goods = stock()
    with TemporaryDirectory(prefix="soak-") as folder, serving() as upstreams:
        soak, count = _soak(Path(folder), goods, upstreams, minutes * 60)
        figures = list(_figures(soak, count, minutes))
        log = Path(folder, "gateway.log").read_text("utf-8", "replace")
    tracebacks = log.count("Traceback")
    figures.append(Figure("tracebacks in the gateway's log", tracebacks, "", AtMost(0)))
    print(as_table(figures))
    for line in (*count.shown, *soak.collected.failures[:5]):
        print(f"  {line}")
    return int(any(figure.is_met is False for figure in figures))


def _soak(folder: Path, goods: Stock, upstreams: Upstreams, seconds: float) -> tuple[Soak, Count]:
    port, quota_bytes = free_port(), goods.size_bytes // 3
    rules = folder / "rules.yaml"
    rules.write_text(json.dumps(upstreams.rules()))
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    env |= {
        "GATEWAY_PORT": str(port),
        "GATEWAY_ADMIN_PORT": "off",
        "GATEWAY_DATA_DIR": str(folder / "data"),
        "GATEWAY_RULES": str(rules),
        "GATEWAY_WORKERS": str(_WORKERS),
        "GATEWAY_MAX_CACHE_SIZE": str(quota_bytes),
        "GATEWAY_LOG_LEVEL": "warning",
    }
    soak = Soak(folder, quota_bytes, env)
    clients = Clients(port, goods)
    with started("gateway", "serve", env=env, log=folder / "gateway.log") as process:
        wait_until_listening(port)
        wait_until(lambda: len(workers_of(process.pid)) == _WORKERS)
        soak.run(clients, process.pid, seconds)
    return soak, clients.count


def _held(supervisor: int, minute: float) -> Held:
    workers = workers_of(supervisor)
    files = [psutil.Process(worker).num_fds() for worker in workers]
    return Held(minute, [resident_megabytes(worker) for worker in workers], files)


def _tell(soak: Soak, count: Count) -> None:
    held, collected = soak.held[-1], soak.collected
    sizes = ", ".join(f"{one:.1f}" for one in held.megabytes)
    print(
        f"minute {held.minute:g}: {count.requests} requests, {count.refetches} refetches, "
        f"{collected.removed} files removed, {count.own_errors} errors; workers hold {sizes} MB, "
        f"{held.files} files; on disk {collected.disk_share:.2f} of the quota",
        flush=True,
    )


def _figures(soak: Soak, count: Count, minutes: float) -> Sequence[Figure]:
    share = min(max(minutes - 1, 0) / (_MINUTES - 1), 1.0)
    collected = soak.collected
    live, most = collected.highest_live_share, collected.highest_disk_share
    own, theirs = count.own_errors, f"{count.upstream_errors} refused, {count.upstream_cuts} cut"
    return [
        Figure("requests", count.requests, "", how=f"{count.received_bytes / _MB:.0f} MB, all of it checked"),
        Figure("errors that are not the upstream's", own, "", AtMost(0), f"{theirs} as {BAD_SHARE:.0%} fail"),
        Figure("files removed", collected.removed, "", AtLeast(_DELETIONS * share)),
        Figure("layers fetched again", count.refetches, "", AtLeast(_REFETCHES * share)),
        Figure("held after a run", live, "quotas", AtMost(_TOLERANCE), f"with what waits {most:.2f}"),
        Figure("on disk in the end", collected.disk_share, "quotas", AtMost(_TOLERANCE)),
        Figure("failed runs of gc", len(collected.failures), "", AtMost(0), f"of {collected.runs}"),
        *_growth(soak.held),
    ]


def _growth(held: Sequence[Held]) -> Sequence[Figure]:
    """From the minute when all is warm to the end, of the worker that grew most."""
    warm = [one for one in held if one.minute >= _WARM_MINUTES]
    if len(warm) < 2:
        return ()
    pairs = list(zip(warm[0].megabytes, warm[-1].megabytes, strict=True))
    growth = max(end / begin - 1 for begin, end in pairs) * 100
    files = max(end - begin for begin, end in zip(warm[0].files, warm[-1].files, strict=True))
    how = ", ".join(f"{begin:.1f} → {end:.1f} MB" for begin, end in pairs)
    return (
        Figure("a worker's memory, growth", growth, "%", AtMost(5), how),
        Figure("a worker's open files, growth", files, "", AtMost(5)),
    )


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else _MINUTES))
