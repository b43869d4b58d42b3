"""A ``gateway serve`` of one worker, fresh or on a data directory, in front of the bench's upstream."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from bench.memory import worker_of
from bench.processes import free_port, started, wait_until_listening
from bench.upstream import Upstream

HOSTS = ("charts.example.test", "charts.example.net", "charts.example.org")  # the same place, to us three
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    port: int
    worker: int


@dataclass(frozen=True, slots=True)
class Answer:
    headers: Sequence[tuple[str, str]]
    body: bytes


def environment(data_dir: Path, port: int, upstream: Upstream | None) -> Mapping[str, str]:
    """What the gateway is told, and nothing of what the person who runs the bench has set."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    own |= {"GATEWAY_PORT": str(port), "GATEWAY_DATA_DIR": str(data_dir)}
    if upstream is not None:
        rules = data_dir.with_name(f"{data_dir.name}-rules.yaml")
        place = {"kind": "helm", "url": upstream.url, "allow_private": True}
        rules.write_text(json.dumps({"version": 1, "upstreams": dict.fromkeys(HOSTS, place)}))
        own |= {"GATEWAY_RULES": str(rules), "SSL_CERT_FILE": str(upstream.trusted)}
    return own


@contextmanager
def running(data_dir: Path, upstream: Upstream | None = None) -> Iterator[Running]:
    """Start one, as its users do, and wait for its first answer; its log goes beside the data."""
    port = free_port()
    log = data_dir.with_name(f"{data_dir.name}.log")
    with started("gateway", "serve", env=environment(data_dir, port, upstream), log=log) as process:
        wait_until_listening(port)
        fetch(port, "/v2/")
        yield Running(port, worker_of(process.pid))


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
