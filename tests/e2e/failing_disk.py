"""A running gateway whose system calls fail for a while, each with an error of one's choice."""

import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.store.tracing import require_strace


@contextmanager
def failing(pid: int, calls: str, error: str) -> Iterator[None]:
    """Let these calls of a process and all its threads fail for as long as the block runs."""
    require_strace()
    command = ["strace", "-f", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    try:
        line = tracer.stderr.readline()
        assert "attached" in line, line
        reader = subprocess.Popen(["cat"], stdin=tracer.stderr, stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)  # it lets go of all threads
            tracer.wait(10)
            reader.wait(10)
    finally:
        tracer.kill()
        tracer.wait()
        tracer.stderr.close()


@contextmanager
def small_files(pid: int, largest_bytes: int) -> Iterator[None]:
    """Let no file of a process grow beyond so many bytes for as long as the block runs: EFBIG."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest_bytes, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
