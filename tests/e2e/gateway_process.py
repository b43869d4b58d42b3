"""The gateway as operators meet it: a folder, a server process with its workers, and commands beside it."""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import psutil

from tests.fakes.helm_repo import HelmRepo

Event = Mapping[str, object]

PATIENCE_SECONDS = 20.0
_COMMAND_SECONDS = 60.0
_PROBE_SECONDS = 0.005
_SHOWN_LINES = 60


def eventually(check: Callable[[], bool], within_seconds: float) -> float:
    """Ask until it is so; return the seconds that took. For what another process does, and does not tell."""
    started = time.monotonic()
    pause = threading.Event()
    while not check():
        assert time.monotonic() - started < within_seconds, f"not so within {within_seconds} s"
        pause.wait(_PROBE_SECONDS)
    return time.monotonic() - started


@dataclass(frozen=True, slots=True)
class Site:
    """A folder with ``rules.yaml`` and ``data/`` in it; servers and commands run there, one after another."""

    folder: Path

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def write_rules(self, text: str) -> None:
        (self.folder / "rules.yaml").write_text(text)

    def point_at(self, upstreams: Mapping[str, HelmRepo], defaults: str = "{}") -> None:
        """Write rules in which each key stands for a fake repository."""
        lines = [
            f"  {key}: {{kind: helm, url: '{repo.url}', allow_private: true}}"
            for key, repo in upstreams.items()
        ]
        self.write_rules("\n".join(["version: 1", f"defaults: {defaults}", "upstreams:", *lines, ""]))

    @contextmanager
    def serve(
        self, *flags: str, workers: int = 1, environment: Mapping[str, str] | None = None
    ) -> Iterator["Server"]:
        """Run ``gateway serve`` on a free port; its log is written out at the end, for a test that fails."""
        arguments = ("serve", "--port", "0", "--admin-port", "off", "--workers", str(workers), *flags)
        server = Server(self._start(*arguments, environment=environment))
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.end()

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> "Ran":
        """Run a command of the gateway to its end."""
        process = self._start(*arguments, environment=environment)
        try:
            output, errors = process.communicate(timeout=_COMMAND_SECONDS)
        finally:
            _kill_group(process)
        return Ran(process.returncode, output, errors)

    def _start(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=self.folder,
            env={**kept, "HOME": str(self.folder), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended; ``code`` below 0 is the signal it died of."""

    code: int
    output: str
    errors: str

    def require_ok(self) -> str:
        """Return its output; fail, with what it said, where it failed."""
        assert self.code == 0, f"exit code {self.code}\n{self.output}\n{self.errors}"
        return self.output


class Server:
    """A running ``gateway serve``. ``seconds_to_ready`` counts from the start of its process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.seconds_to_ready = 0.0
        self.port = 0
        self._started = time.monotonic()
        self._client = _client()
        self._lines: list[str] = []
        self._has_ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(_piped(process.stderr),), daemon=True)
        self._reader.start()

    @property
    def address(self) -> str:
        """As clients write it in a reference."""
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it wrote to standard error so far."""
        return "\n".join(self._lines)

    def wait_until_ready(self) -> None:
        self.port = int(str(self.wait_for("listening")["url"]).rpartition(":")[2])
        assert self.get("/readyz").status_code == 200
        self.seconds_to_ready = time.monotonic() - self._started

    def get(self, path: str, method: str = "GET") -> httpx.Response:
        """Ask on a connection of its own; may be called from many threads."""
        return self._client.request(method, self.url + path)

    def events(self, name: str) -> list[Event]:
        return [event for line in list(self._lines) if (event := _event(line)).get("event") == name]

    def wait_for(self, name: str) -> Event:
        """Wait for a line of its log, also one that was written before."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_ended or bool(self.events(name)), PATIENCE_SECONDS)
        found = self.events(name)
        assert found, f"the log never said {name!r}:\n{self.log}"
        return found[0]

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def worker_pids(self) -> set[int]:
        return {worker.pid for worker in self.workers()}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the supervisor, wait for its end, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def end(self) -> None:
        """Kill what is left of it, and write its log out."""
        _kill_group(self.process)
        self._reader.join(PATIENCE_SECONDS)
        self._client.close()
        last_lines = "\n".join(self._lines[-_SHOWN_LINES:])
        sys.stdout.write(f"--- the end of the log of the gateway on port {self.port}\n{last_lines}\n")

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()


def _client() -> httpx.Client:
    no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading the trust store would take longer than a test
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS, verify=no_tls, limits=limits)


def _event(line: str) -> Event:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _piped(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _kill_group(process: "subprocess.Popen[str]") -> None:
    """End the process and its children; those of a leader that is gone are in its group still."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _piped(process.stdout).close()
