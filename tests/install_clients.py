"""Build and install the real clients that the tests drive: ``python -m tests.install_clients``.

What is there already costs nothing. A machine that cannot have a client is told why, and goes on: the
tests that need it skip. Under TESTS_SKIP_NOTHING, as in CI, it is a failure.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.clients import GO_CLIENTS, GoClient, bin_folder, browser_path, docker_registry, postgres_folder

_CREATE_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")
_PACKAGES = {"skopeo": "skopeo", "ip": "iproute2"}


class NotInstallable(Exception):
    """A client that this machine cannot have; the message says why."""


def main() -> int:
    """Install what is missing; return the exit code."""
    reasons = [
        *_failures_of_go_clients(),
        *_failures_of_packages(),
        *_failures_of_docker_registry(),
        *_failures_of_postgres(),
        *_failures_of_browser(),
    ]
    for reason in reasons:
        _say(reason)
    nothing_may_lack = bool(os.environ.get("TESTS_SKIP_NOTHING"))
    if reasons and not nothing_may_lack:
        _say("the tests that need them will skip")
    return 1 if reasons and nothing_may_lack else 0


def _failures_of_go_clients() -> Iterator[str]:
    absent = [client for client in GO_CLIENTS if not client.path.is_file()]
    if not absent:
        return
    with _one_at_a_time(bin_folder()):
        for client in absent:
            try:
                build(client)
            except NotInstallable as error:
                yield str(error)


def build(client: GoClient) -> None:
    """Put the client in its place, whole or not at all; another run may have been quicker."""
    if client.path.is_file():
        return
    go = shutil.which("go")
    if go is None:
        raise NotInstallable(f"{client.file_name} needs Go to be built, and there is none")
    _say(f"building {client.file_name}, once on this machine")
    with tempfile.TemporaryDirectory(dir=client.path.parent) as scratch:
        command = [go, "install", "-trimpath", "-ldflags=-s -w", f"{client.package}@v{client.version}"]
        _run(command, client.file_name, {"GOBIN": scratch})
        Path(scratch, client.name).replace(client.path)


def _failures_of_packages() -> Iterator[str]:
    for program, package in _PACKAGES.items():
        if shutil.which(program):
            continue
        try:
            _install_package(package)
        except NotInstallable as error:
            yield str(error)


def _failures_of_docker_registry() -> Iterator[str]:
    if docker_registry() is not None:
        return
    with _one_at_a_time(bin_folder()):
        try:
            _unpack_program("docker-registry", bin_folder())
        except NotInstallable as error:
            yield str(error)


def _failures_of_postgres() -> Iterator[str]:
    if postgres_folder() is not None:
        return
    try:
        _keep_postgres_from_starting()
        _install_package("postgresql")
    except NotInstallable as error:
        yield str(error)


def _failures_of_browser() -> Iterator[str]:
    if browser_path() is not None:
        return
    try:
        _install_package("chromium")
    except NotInstallable as error:
        yield str(error)


def _keep_postgres_from_starting() -> None:
    """Its package would make a cluster and run it as a service; the tests make their own."""
    as_root = _as_root()
    if as_root is not None and not _CREATE_CLUSTER.exists():
        script = f"mkdir -p {_CREATE_CLUSTER.parent} && echo create_main_cluster = false > {_CREATE_CLUSTER}"
        _run([*as_root, "sh", "-c", script], "postgresql", {})


def _unpack_program(name: str, folder: Path) -> None:
    """Take one program out of the package of its name: installing that would start a service."""
    if shutil.which("apt-get") is None:
        raise NotInstallable(f"{name} comes from a Debian package, and there is no apt-get to fetch it")
    _say(f"taking {name} out of its package")
    as_root = _as_root()
    if as_root is not None:
        _run([*as_root, "apt-get", "update", "-q"], name, {})
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _run(["apt-get", "download", "-q", name], name, {}, Path(scratch))
        (package,) = Path(scratch).glob("*.deb")
        _run(["dpkg-deb", "-x", str(package), scratch], name, {})
        Path(scratch, "usr", "bin", name).replace(folder / name)


def _install_package(name: str) -> None:
    if shutil.which("apt-get") is None:
        raise NotInstallable(f"{name} is not installed, and there is no apt-get to do it")
    as_root = _as_root()
    if as_root is None:
        raise NotInstallable(f"{name} is not installed: `apt-get install {name}` needs root")
    _say(f"installing {name}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    _run([*as_root, "apt-get", "update", "-q"], name, quiet)
    _run([*as_root, "apt-get", "install", "-qy", "--no-install-recommends", name], name, quiet)


def _as_root() -> Sequence[str] | None:
    if os.geteuid() == 0:
        return ()
    if shutil.which("sudo") is None:
        return None
    asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ("sudo", "-n") if asked.returncode == 0 else None


def _run(command: Sequence[str], what: str, environment: dict[str, str], folder: Path | None = None) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last_lines = "\n  ".join(done.stdout.splitlines()[-5:])
        raise NotInstallable(f"{what} could not be installed, {command[0]} says:\n  {last_lines}")


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let a second run wait for the first, whose builds it then finds."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    sys.stdout.write(f"clients: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
