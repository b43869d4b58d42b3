"""A place with no way out: network and mounts of its own, in which programs of the tests run."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import missing

_PREPARE = """
set -e
ip link set lo up
mount --bind "$1" /etc/hosts
echo ready
exec sleep infinity
"""


@dataclass(frozen=True, slots=True)
class Inside:
    """A namespace that has loopback alone; ``prefix`` is put before a command to run it there."""

    prefix: tuple[str, ...]

    def run(
        self, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.prefix, *map(str, command)],
            cwd=folder,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@contextmanager
def no_way_out(folder: Path, hosts: Sequence[str] = ()) -> Iterator[Inside]:
    """Make it for as long as the block runs; these ``hosts`` are at 127.0.0.1 in there.

    It needs no root where the system lets users have namespaces of their own; else the test is skipped, or in
    CI fails.
    """
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            missing(f"no {program}: `make clients` installs it, as root or where sudo asks no password")
    names = folder / "hosts"
    names.write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *hosts)))
    as_root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    holder = subprocess.Popen(
        ["unshare", *as_root, "--net", "--mount", "sh", "-c", _PREPARE, "sh", str(names)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != "ready\n":
            missing(f"no namespaces for this user: {holder.stderr.read().strip()}")
        into = ("--user", "--preserve-credentials") if as_root else ()
        yield Inside(
            ("nsenter", "--target", str(holder.pid), *into, "--net", "--mount", "env", f"--chdir={folder}")
        )
    finally:
        holder.kill()
        holder.communicate()
