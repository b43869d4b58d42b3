"""A ``gateway serve``, fresh or on a data directory, in front of a bench's upstreams."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from bench.memory import workers_of
from bench.processes import free_port, started, wait_until, wait_until_listening
from bench.upstream import Upstream

HOSTS = ("charts.example.test", "charts.example.net", "charts.example.org")  # the same place, to us three
_PATIENCE_SECONDS = 60.0

Rules = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Running:
    port: int
    supervisor: int

    @property
    def worker(self) -> int:
        """The process id of the one worker."""
        (worker,) = self.workers
        return worker

    @property
    def workers(self) -> Sequence[int]:
        return workers_of(self.supervisor)


@dataclass(frozen=True, slots=True)
class Answer:
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


def environment(data_dir: Path, port: int, upstream: Upstream | None) -> Mapping[str, str]:
    """What the gateway is told to stand in front of a Helm repository, under each of HOSTS."""
    if upstream is None:
        return _environment(data_dir, port)
    place = {"kind": "helm", "url": upstream.url, "allow_private": True}
    own = _environment(data_dir, port, {"version": 1, "upstreams": dict.fromkeys(HOSTS, place)})
    return {**own, "SSL_CERT_FILE": str(upstream.trusted)}


def _environment(data_dir: Path, port: int, rules: Rules | None = None) -> Mapping[str, str]:
    """And nothing of what the person who runs the bench has set."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    own |= {"GATEWAY_PORT": str(port), "GATEWAY_ADMIN_PORT": "off", "GATEWAY_DATA_DIR": str(data_dir)}
    if rules is not None:
        file = data_dir.with_name(f"{data_dir.name}-rules.yaml")
        file.write_text(json.dumps(rules))
        own["GATEWAY_RULES"] = str(file)
    return own


@contextmanager
def running(data_dir: Path, upstream: Upstream | None = None) -> Iterator[Running]:
    """Start one of one worker, as its users do, and wait for its first answer."""
    port = free_port()
    with _running(data_dir, port, environment(data_dir, port, upstream)) as gateway:
        yield gateway


@contextmanager
def running_by(rules: Rules, data_dir: Path, *, workers: int = 1) -> Iterator[Running]:
    """The same, by these rules."""
    port = free_port()
    with _running(data_dir, port, _environment(data_dir, port, rules), workers) as gateway:
        yield gateway


@contextmanager
def _running(data_dir: Path, port: int, env: Mapping[str, str], workers: int = 1) -> Iterator[Running]:
    """Its log goes beside the data."""
    log = data_dir.with_name(f"{data_dir.name}.log")
    with started("gateway", "serve", "--workers", str(workers), env=env, log=log) as process:
        wait_until_listening(port)
        fetch(port, "/v2/")
        gateway = Running(port, process.pid)
        wait_until(lambda: len(gateway.workers) == workers)
        yield gateway


def fetch(port: int, path: str) -> Answer:
    """GET on a connection of its own; anything but 200 is an error."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"{path}: {response.status} {body[:300]!r}")
    return Answer(response.getheaders(), body)


def manifest_path(chart: str, version: str, host: str = HOSTS[0]) -> str:
    return f"/v2/{host}/{chart}/manifests/{version}"


def layer_path(port: int, chart: str, version: str) -> str:
    """Pull a chart; return where its archive is."""
    manifest = json.loads(fetch(port, manifest_path(chart, version)).body)
    return f"/v2/{HOSTS[0]}/{chart}/blobs/{manifest['layers'][0]['digest']}"
