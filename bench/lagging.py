"""The gateway's application on an event loop that is watched: ``python -m bench.lagging``.

It does what a worker of ``gateway serve`` does, and a timer beside it notes how late it fires. A line on
standard input is answered with what was noted since the line before.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import uvloop

from bench.gateways import environment
from bench.processes import first_line, started
from bench.upstream import Upstream
from gateway import hypercorn_fit
from gateway.app import compose, create_app, rule_desk
from gateway.listener import bind
from gateway.logs import configure_logs
from gateway.serve import tune_interpreter
from gateway.settings import Settings, load_settings
from gateway.store.data_dir import DataDir
from gateway.supervisor import GRACE_SECONDS

_EVERY_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Lag:
    """How late the loop was, and how long its thread was ready and had no CPU meanwhile."""

    milliseconds: float
    starved_milliseconds: float

    @property
    def own_milliseconds(self) -> float:
        return max(self.milliseconds - self.starved_milliseconds, 0.0)


class Watched:
    """The process, as the bench talks with it."""

    def __init__(self, process: Popen[str]) -> None:
        self._process = process
        self.port = int(first_line(process))

    def lags(self) -> Sequence[Lag]:
        """How late the timer was, each time since this was asked before."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return [Lag(*pair) for pair in json.loads(first_line(self._process))]


@contextmanager
def watched(data_dir: Path, upstream: Upstream) -> Iterator[Watched]:
    """Run one; its log goes beside the data."""
    own = environment(data_dir, 0, upstream)
    with started("bench.lagging", env=own, log=data_dir.with_name(f"{data_dir.name}.log")) as process:
        yield Watched(process)


class _Sampler:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        self._lags: list[tuple[float, float]] = []
        self._wait()

    def report(self) -> None:
        sys.stdin.readline()
        print(json.dumps(self._lags), flush=True)
        self._lags.clear()

    def _wait(self) -> None:
        due = time.perf_counter() + _EVERY_SECONDS
        self._loop.call_later(_EVERY_SECONDS, self._note, due, self._starved_milliseconds())

    def _note(self, due: float, starved_before: float) -> None:
        milliseconds = max(time.perf_counter() - due, 0.0) * 1000
        self._lags.append((milliseconds, self._starved_milliseconds() - starved_before))
        self._wait()

    def _starved_milliseconds(self) -> float:
        """How long this thread has waited for a CPU so far, as the kernel counts it."""
        return int(os.pread(self._schedstat, 100, 0).split()[1]) / 1e6


async def main(settings: Settings) -> None:
    data_dir = DataDir(settings.data_dir)
    data_dir.prepare()
    app = create_app(compose(settings, data_dir, rule_desk(settings, data_dir).start()))
    tune_interpreter()
    listener = bind(settings.host, settings.port)
    print(listener.getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), _Sampler(loop).report)
    await hypercorn_fit.run(app, listener, asyncio.Event(), GRACE_SECONDS)


if __name__ == "__main__":
    given = load_settings(os.environ, {}, Path.read_text)
    configure_logs(given.log_level, given.log_format, for_good=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given))
