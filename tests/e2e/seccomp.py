"""The kernel's half of an interception: a filter that asks before a call is made. (seccomp_unotify(2).)

``python seccomp.py FD COMMAND…`` puts the filter over itself, sends the end that is asked to the socket FD,
and becomes the command.
"""

import ctypes
import fcntl
import os
import platform
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

_CALLS: Final = {
    "x86_64": (
        "2 open 257 openat 85 creat 1 write 18 pwrite64 20 writev 296 pwritev 328 pwritev2 74 fsync "
        "75 fdatasync 82 rename 264 renameat 316 renameat2 83 mkdir 258 mkdirat 84 rmdir 87 unlink "
        "263 unlinkat 86 link 265 linkat 76 truncate 77 ftruncate 285 fallocate 73 flock 72 fcntl "
        "280 utimensat"
    ),
    "aarch64": (
        "56 openat 64 write 68 pwrite64 66 writev 70 pwritev 287 pwritev2 82 fsync 83 fdatasync 38 renameat "
        "276 renameat2 34 mkdirat 35 unlinkat 37 linkat 45 truncate 46 ftruncate 47 fallocate 32 flock "
        "25 fcntl 88 utimensat"
    ),
}
_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_NO_NEW_PRIVILEGES: Final = 38
_SET_FILTER: Final = 1
_WITH_LISTENER: Final = 8
_ASK: Final = 0x7FC00000
_ALLOW: Final = 0x7FFF0000
_CONTINUE: Final = 1
_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
_ASKED: Final = struct.Struct("=QII iIQ 6Q")
_REPLY: Final = struct.Struct("=QqiI")
_INSTRUCTION: Final = struct.Struct("=HBBI")
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that waits for our word; ``thread`` is the one that makes it."""

    id: int
    thread: int
    name: str
    arguments: Sequence[int]


def is_supported() -> bool:
    return sys.platform == "linux" and platform.machine() in _CALLS


def receive(listener: int) -> Asked:
    """Wait for the next; raise FileNotFoundError where who made it was killed meanwhile."""
    answer = fcntl.ioctl(listener, _RECEIVE, bytes(_ASKED.size))
    identity, thread, _flags, number, _arch, _pointer, *arguments = _ASKED.unpack(answer)
    return Asked(identity, thread, _names()[number], arguments)


def let_pass(listener: int, asked: Asked) -> None:
    fcntl.ioctl(listener, _SEND, _REPLY.pack(asked.id, 0, 0, _CONTINUE))


def refuse(listener: int, asked: Asked, errno: int) -> None:
    fcntl.ioctl(listener, _SEND, _REPLY.pack(asked.id, 0, -errno, 0))


@cache
def _names() -> Mapping[int, str]:
    """What our calls are called, by the numbers that they have on this machine."""
    words = _CALLS[platform.machine()].split()
    return {int(number): name for number, name in zip(words[::2], words[1::2], strict=True)}


def _program() -> bytes:
    """Ask for each of our calls, let all others pass."""
    machine = platform.machine()
    numbers = _names()
    last = len(numbers)
    lines = [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_JUMP_IF_EQUAL, 0, last + 1, _AUDIT_ARCH[machine]),
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        *((_JUMP_IF_EQUAL, last - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ASK),
    ]
    return b"".join(_INSTRUCTION.pack(*line) for line in lines)


def _install() -> int:
    """Put the filter over this process and all that come from it; return the end that is asked."""
    system = ctypes.CDLL(None, use_errno=True)
    program = _program()
    lines = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // _INSTRUCTION.size, ctypes.addressof(lines))
    if system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    number = _SECCOMP[platform.machine()]
    listener: int = system.syscall(number, _SET_FILTER, _WITH_LISTENER, ctypes.c_char_p(header))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def main(channel: int, command: list[str]) -> None:
    with socket.socket(fileno=channel) as theirs:
        listener = _install()
        socket.send_fds(theirs, [b"!"], [listener])
    os.close(listener)
    os.execv(command[0], command)  # noqa: S606 (what to become is the caller's)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
