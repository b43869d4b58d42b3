"""Stands between processes and the kernel: each call that changes a folder is seen before it is made.

strace counts the calls of each thread for itself, so "the Nth call" is several, and most are never met. Here
the kernel hands us the calls of a whole tree of processes one by one, in the order in which they are made.
"""

import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tests.conftest import missing
from tests.e2e import seccomp
from tests.e2e.seccomp import Asked

_LONGEST_PATH: Final = 4096
_AT_CWD: Final = 0xFFFFFF9C
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_LOCKING: Final = frozenset(
    {fcntl.F_SETLK, fcntl.F_SETLKW, 37, 38}
)  # the last two: of open file descriptions
_PATHS: Final = {  # where the path stands, and the folder that it is relative to
    **dict.fromkeys(("open", "creat", "mkdir", "rmdir", "unlink", "truncate"), (0, None)),
    **dict.fromkeys(("openat", "mkdirat", "unlinkat", "utimensat"), (1, 0)),
    **dict.fromkeys(("rename", "link"), (1, None)),
    **dict.fromkeys(("renameat", "renameat2", "linkat"), (3, 2)),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One that changes or locks something: ``create`` is an openat that makes a file.

    ``path`` below the folder that is watched.
    """

    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.name} {self.path}"


@dataclass(frozen=True, slots=True)
class Refused:
    """The call is not made, and fails like this."""

    errno: int


class Killed:
    """The call is not made: the whole tree gets SIGKILL."""


Verdict: TypeAlias = Refused | Killed | None
Judge: TypeAlias = Callable[[Call], Verdict]


def require_interception() -> None:
    """Skip, or fail in CI, where the kernel does not hand its calls over."""
    if not seccomp.is_supported():
        missing("no Linux on x86_64 or aarch64: killing at every system call needs its seccomp")


@dataclass(frozen=True, slots=True)
class Interception:
    """What a tree of processes does below ``folder`` waits for the word of ``judge``."""

    folder: Path
    judge: Judge

    def start(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> "subprocess.Popen[str]":
        """Start a Python module, watched from its first call on, in a session of its own."""
        ours, theirs = socket.socketpair()
        launcher = [sys.executable, seccomp.__file__, str(theirs.fileno()), sys.executable, "-m"]
        with theirs:
            process = subprocess.Popen(
                [*launcher, *arguments],
                cwd=cwd,
                env=env,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        threading.Thread(target=self._watch, args=(ours, process.pid), daemon=True).start()
        return process

    def _watch(self, channel: socket.socket, group: int) -> None:
        """Until the last of them has ended."""
        with channel:
            _, listeners, _, _ = socket.recv_fds(channel, 1, 1)
        for listener in listeners:  # none where it could not be watched: its standard error says why
            ready = select.poll()
            ready.register(listener, select.POLLIN)
            try:
                while not ready.poll()[0][1] & select.POLLHUP:
                    with suppress(FileNotFoundError, ProcessLookupError):  # who asks was killed meanwhile
                        self._answer(listener, seccomp.receive(listener), group)
            finally:
                os.close(listener)

    def _answer(self, listener: int, asked: Asked, group: int) -> None:
        call = self._call_of(asked)
        match self.judge(call) if call is not None else None:
            case Killed():
                os.killpg(group, signal.SIGKILL)
            case Refused(number):
                seccomp.refuse(listener, asked, number)
            case None:
                seccomp.let_pass(listener, asked)

    def _call_of(self, asked: Asked) -> Call | None:
        """None where it changes nothing, or something elsewhere."""
        if asked.name == "openat" and not asked.arguments[2] & _WRITES:
            return None
        if asked.name == "fcntl" and asked.arguments[1] not in _LOCKING:
            return None
        path, folder = _path_of(asked), str(self.folder)
        if path != folder and not path.startswith(f"{folder}/"):
            return None
        is_new = asked.name == "openat" and not os.path.lexists(path)
        return Call("create" if is_new else asked.name, path.removeprefix(folder) or "/")


def _path_of(asked: Asked) -> str:
    if asked.name not in _PATHS:
        return _target(asked.thread, f"fd/{asked.arguments[0]}")
    place, folder = _PATHS[asked.name]
    path = _text_at(asked.thread, asked.arguments[place])
    if path.startswith("/"):
        return path
    is_at_cwd = folder is None or asked.arguments[folder] & 0xFFFFFFFF == _AT_CWD
    start = "cwd" if is_at_cwd else f"fd/{asked.arguments[folder or 0]}"
    return os.path.normpath(f"{_target(asked.thread, start)}/{path}")


def _target(thread: int, link: str) -> str:
    try:
        return os.readlink(f"/proc/{thread}/{link}").removesuffix(" (deleted)")
    except OSError:  # no such descriptor: the call will say so itself
        return ""


def _text_at(thread: int, address: int) -> str:
    """A string in the memory of another process; it may end close before a page that is not there."""
    memory = os.open(f"/proc/{thread}/mem", os.O_RDONLY)
    try:
        text = b""
        while b"\0" not in text and len(text) < _LONGEST_PATH:
            start = address + len(text)
            text += os.pread(memory, 256 - start % 256, start)
        return os.fsdecode(text.partition(b"\0")[0])
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return ""
    finally:
        os.close(memory)


@dataclass(slots=True)
class Plan:
    """Counts calls once ``is_armed``; the ``at``-th meets the verdict, with ``lasts`` all after it too."""

    verdict: Verdict
    at: int
    lasts: bool = False
    counted: frozenset[str] | None = None  # the names of those that count; None: all
    is_armed: bool = False
    count: int = 0
    struck: Call | None = None

    def judge(self, call: Call) -> Verdict:
        if not self.is_armed or (self.counted is not None and call.name not in self.counted):
            return None
        self.count += 1
        if self.count < self.at or (self.count > self.at and not self.lasts):
            return None
        self.struck = self.struck or call
        return self.verdict
