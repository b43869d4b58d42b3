"""A real PostgreSQL server for the tests: a throwaway cluster, and an empty catalog on it for each test."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.engine import Engines, open_sqlite
from gateway.store.postgres import open_postgres, open_single
from gateway.store.schema import migrate_postgres, migrate_sqlite
from tests import clients

_TEMPLATE = "migrated"
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
}
_START_SECONDS = 60.0
_PASSWORD = "p@ss/w:rd"  # every character that a URL has to write otherwise


@dataclass(slots=True)
class Cluster:
    """A server that may be stopped and started again, in a folder of its own."""

    folder: Path
    bin: Path
    port: int
    prefix: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> PostgresUrl:
        return PostgresUrl("postgres", "127.0.0.1", self.port, "postgres", _PASSWORD)

    def start(self) -> None:
        settings = {**_SETTINGS, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, str(self.bin / "postgres"), "-D", str(self.folder / "data"), *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self._await_ready()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends at once and cleanly, SIGQUIT as a crash does, SIGKILL without a word."""
        if self.process is not None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None
            psutil.wait_procs(
                children, 30
            )  # of a server that was killed they would keep the next from starting

    def hold(self) -> None:
        """Have all its processes stand still: connections stay, and nobody answers."""
        if self.process is not None:
            first = psutil.Process(self.process.pid)
            first.suspend()  # it makes the others
            for child in first.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.suspend()

    def resume(self) -> None:
        """Let them go on, as if nothing had been."""
        if self.process is not None:
            first = psutil.Process(self.process.pid)
            for one in (*first.children(recursive=True), first):
                with suppress(psutil.NoSuchProcess):
                    one.resume()

    def create(self, template: str = _TEMPLATE) -> PostgresUrl:
        """A fresh database, migrated unless another template is named."""
        name = f"test_{secrets.token_hex(6)}"
        self.say(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return replace(self.url, database=name)

    def end_connections(self) -> None:
        """End every connection to a test's database, as an administrator may."""
        self.say("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ^@ 'test_'")

    def drop(self, url: PostgresUrl) -> None:
        self.say(f'DROP DATABASE "{url.database}" WITH (FORCE)')

    def say(self, statement: str) -> None:
        engine = open_single(self.url)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def _await_ready(self) -> None:
        command = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + _START_SECONDS
        while subprocess.run(command, check=False).returncode:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no PostgreSQL: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a cluster; skip, or fail in CI, where there is no PostgreSQL."""
    programs = clients.postgres()
    folder = Path(tempfile.mkdtemp(prefix="chart-gateway-postgres-"))
    cluster = Cluster(folder, programs, _free_port(), _as_another_user(folder))
    try:
        _make(cluster)
        cluster.start()
        template = cluster.create("template0")
        migrate_postgres(template)
        cluster.say(f'ALTER DATABASE "{template.database}" RENAME TO "{_TEMPLATE}"')
        yield cluster
    finally:
        cluster.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def _make(cluster: Cluster) -> None:
    password_file = cluster.folder / "password"
    password_file.write_text(_PASSWORD)
    command = [
        *cluster.prefix,
        str(cluster.bin / "initdb"),
        f"--pgdata={cluster.folder / 'data'}",
        "--username=postgres",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cluster.folder)
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stderr[-2000:]}")


def _as_another_user(folder: Path) -> Sequence[str]:
    """What to start it with: it ends with us, and not as root; there the folder becomes another user's."""
    setpriv = ("setpriv", "--pdeathsig=QUIT")
    if os.geteuid():
        return (*setpriv, "--") if shutil.which("setpriv") else ()
    user = next((user for user in pwd.getpwall() if user.pw_name == "postgres"), pwd.getpwnam("nobody"))
    os.chown(folder, user.pw_uid, user.pw_gid)
    return (*setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres: Cluster) -> Iterator[PostgresUrl]:
    """A migrated database of the test's own."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture
def restarting(postgres: Cluster, postgres_url: PostgresUrl) -> Iterator[Cluster]:
    """The server of all tests, for one that stops it, or holds it: it runs again before anybody asks it."""
    assert postgres_url.database
    yield postgres
    postgres.resume()
    if postgres.process is None:
        postgres.start()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest) -> PostgresUrl | None:
    """For what has to hold on both: a server's URL, or None where the catalog is to be on SQLite."""
    if request.param == "sqlite":
        return None
    url: PostgresUrl = request.getfixturevalue("postgres_url")
    return url


def open_engines(database: PostgresUrl | None, folder: Path) -> Engines:
    """A migrated catalog: on the server where there is a URL, else on SQLite in ``folder``."""
    if database is not None:
        return open_postgres(database)
    path = folder / "catalog.sqlite3"
    migrate_sqlite(path)
    return open_sqlite(path)
