"""A blob is durable before its name is: the order of system calls, and kill -9 at each of them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.store.blobs import read_whole
from gateway.store.blobs_directory import DirectoryBlobs
from tests.store.tracing import require_strace

pytestmark = pytest.mark.slow

CONTENT = bytes(range(256)) * 10_000
WANTED = Digest.of(CONTENT)
_KEEPER = """
import sys
from pathlib import Path

import anyio

from gateway.oci.digest import Digest
from gateway.store.blobs_directory import DirectoryBlobs

async def keep():
    blobs = DirectoryBlobs(Path(sys.argv[1]), linger_seconds=3600)  # strace is slow, and nobody follows
    async with blobs.create(Digest.parse(sys.argv[2])) as writer:
        for _ in range(10_000):  # more than one piece on its way to the disk
            await writer.write(bytes(range(256)))

anyio.run(keep)
"""
_KILLED_AT = ("mkdir", "flock", "writev", "fsync", "rename")
_CALL = re.compile(r"^\d+ +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>\d+)", re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    require_strace()


def keep_traced(root: Path, *options: str) -> int:
    """Keep CONTENT in a process of its own under strace; return its exit code, -9 where it was killed."""
    strace = ["strace", "-f", "-qq", "-y", "-o", str(root.parent / "trace"), *options]
    child = subprocess.run(
        [*strace, sys.executable, "-c", _KEEPER, str(root), str(WANTED)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return child.returncode


def calls_on(root: Path) -> Sequence[str]:
    """The system calls that name the blob directory, each as call and path below it."""
    return list(_calls(root, (root.parent / "trace").read_text("utf-8", "replace")))


def _calls(root: Path, trace: str) -> Iterator[str]:
    for match in _CALL.finditer(trace):
        paths = re.findall(rf"{re.escape(str(root))}(/[^>\"]*)?", match["arguments"])
        if paths:
            yield f"{match['call']} {_kind(paths[-1])}"


def _kind(path: str) -> str:
    if path.startswith("/partial/"):
        return "partial file"
    return path.replace(WANTED.hex, "BLOB").replace(f"/{WANTED.hex[:2]}", "/SHARD") or "/"


def test_the_file_is_synced_before_it_gets_its_name_and_the_folders_after(tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    assert keep_traced(root, "-e", "trace=openat,mkdir,writev,fsync,rename") == 0
    calls = calls_on(root)
    in_order = [call for call, _ in groupby(calls[calls.index("openat partial file") :])]
    assert in_order == [
        "openat partial file",
        "writev partial file",
        "fsync partial file",
        "mkdir /sha256",
        "mkdir /sha256/SHARD",
        "rename /sha256/SHARD/BLOB",
        "openat /sha256/SHARD",
        "fsync /sha256/SHARD",
        "openat /sha256",
        "fsync /sha256",
        "openat /",
        "fsync /",
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("call", _KILLED_AT)
async def test_kill_9_at_any_system_call_leaves_the_right_blob_or_none(tmp_path: Path, call: str) -> None:
    count = 0
    for number in range(1, 20):
        root = tmp_path / str(number) / "blobs"
        root.parent.mkdir()
        code = keep_traced(root, "-e", f"inject={call}:signal=SIGKILL:when={number}")
        left = DirectoryBlobs(root)
        assert await read_whole(left, WANTED) in (None, CONTENT)
        if number % 2:  # a sweep removes what was left, or the next writer of the same blob does
            assert left.sweep() <= 1
        async with left.create(WANTED) as writer:
            await writer.write(CONTENT)
        assert os.listdir(root / "partial") == []
        assert await read_whole(left, WANTED) == CONTENT
        if code == 0:
            break
        assert code in (-signal.SIGKILL, 128 + signal.SIGKILL)
        count += 1
    assert code == 0
    assert count >= 1
