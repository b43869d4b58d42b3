"""The processes that a bench starts and watches: each ends with its ``with`` block."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_PATIENCE_SECONDS = 30.0
_STOP_SECONDS = 10.0
_LONGEST_SECONDS = 120.0


@contextmanager
def started(
    *arguments: str | Path, env: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A Python process, ``python -m …``: its standard input ends with the block, then it gets SIGTERM."""
    with open(log or os.devnull, "a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors if log else None,
            env=dict(env) if env is not None else None,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    """What a process says when it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended before it was ready")
    return line.strip()


def output_of(*arguments: str | Path) -> str:
    """Run a Python module to its end; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=_LONGEST_SECONDS,
    )
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_listening(port: int) -> None:
    """Return once somebody listens; whether they answer is another question."""
    wait_until(lambda: _is_listening(port))


def wait_until(is_so: Callable[[], bool]) -> None:
    """For what another process does, and does not tell."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not so within {_PATIENCE_SECONDS:.0f} s")
        time.sleep(0.002)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
