"""A first look without internet: a Helm repository on loopback, a gateway in front, a pull, an outage."""

import asyncio
import gzip
import hashlib
import io
import json
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from gateway import hypercorn_fit
from gateway.app import compose, create_app
from gateway.listener import authority, bind
from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from gateway.settings import Settings
from gateway.store.data_dir import DataDir

HOST = "charts.demo.example"
CHART = "hello"
VERSIONS = ("1.0.0", "1.1.0", "1.2.0")

_RULES = """\
version: 1
upstreams:
  {host}:
    kind: helm
    url: {url}
    allow_private: true
"""
_CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-hello
data:
  greeting: {{ .Values.greeting | quote }}
"""
_TRY = """
Try it yourself, in another terminal (Ctrl-C here ends all):

  helm pull oci://{gateway}/{host}/{chart} --version {newest} --plain-http
  helm template demo oci://{gateway}/{host}/{chart} --plain-http
  curl http://{gateway}/v2/{host}/{chart}/tags/list
  curl -i http://{gateway}/v2/{host}/{chart}/manifests/{newest}
"""

Say = Callable[[str], None]


async def run_demo(settings: Settings, folder: Path, say: Say, *, ends_after_tour: bool) -> None:
    """Run the tour, then serve until cancelled; everything lies in ``folder``."""
    repository = SampleRepository()
    repository.start()
    listener = bind(settings.host, settings.port)
    address = authority(listener)
    data_dir = DataDir(folder)
    data_dir.prepare()
    rule_set = load_rules(_RULES.format(host=HOST, url=repository.url), "demo")
    stop = asyncio.Event()
    app = create_app(compose(settings, data_dir, InForce(rule_set)))
    server = asyncio.create_task(hypercorn_fit.run(app, listener, stop, grace_seconds=1.0))
    try:
        await asyncio.to_thread(_tour, address, repository, say)
        if not ends_after_tour:
            say(_TRY.format(gateway=address, host=HOST, chart=CHART, newest=VERSIONS[-1]))
            await asyncio.shield(server)  # Ctrl-C ends it by `stop`, gently
    finally:
        stop.set()
        await asyncio.wait([server])
        repository.stop()
        data_dir.close()


class SampleRepository:
    """One chart in three versions behind an index.yaml, served from memory on a port of its own."""

    def __init__(self) -> None:
        self._files = sample_files()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen; on the same port as before, if it listened before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), partial(_Files, self._files))
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Files(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 1.0  # an idle connection does not outlive a repository that went down

    def __init__(self, files: Mapping[str, bytes], *args: object) -> None:
        self._files = files
        super().__init__(*args)  # type: ignore[arg-type] # socketserver's own three, passed on

    def do_GET(self) -> None:
        content = self._files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_args: object) -> None:
        """The gateway tells what matters."""


def sample_files() -> dict[str, bytes]:
    """The paths of the sample repository and what lies there."""
    archives = {version: _archive(version) for version in VERSIONS}
    lines = ["apiVersion: v1", "entries:", f"  {CHART}:"]
    for version, archive in reversed(archives.items()):
        lines += [
            "  - apiVersion: v2",
            f"    digest: {hashlib.sha256(archive).hexdigest()}",
            f"    name: {CHART}",
            f"    urls: [{CHART}-{version}.tgz]",
            f"    version: {version}",
        ]
    files = {f"/{CHART}-{version}.tgz": archive for version, archive in archives.items()}
    return files | {"/index.yaml": "\n".join([*lines, ""]).encode()}


def _archive(version: str) -> bytes:
    description = "A chart that says hello"
    files = {
        "Chart.yaml": f"apiVersion: v2\nname: {CHART}\nversion: {version}\ndescription: {description}\n",
        "values.yaml": f"greeting: hello from {version}\n",
        "templates/configmap.yaml": _CONFIG_MAP,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{CHART}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return gzip.compress(buffer.getvalue(), mtime=0)


@dataclass(frozen=True, slots=True)
class _Visitor:
    """Asks the gateway as a client would, and tells what came back."""

    gateway: str
    say: Say

    def manifest(self, version: str) -> None:
        started = time.perf_counter()
        response, body = self._get(f"/v2/{HOST}/{CHART}/manifests/{version}")
        spent_ms = (time.perf_counter() - started) * 1000
        if response.status == 200:
            told = f"{response.headers['X-Cache']:<4} {response.headers['Docker-Content-Digest'][:26]}…"
        else:
            told = json.loads(body)["errors"][0]["code"]
        self.say(f"     {CHART}:{version}   {response.status}  {told}  {spent_ms:.0f} ms")

    def wait(self) -> None:
        """Until the gateway answers."""
        for _ in range(200):
            try:
                self._get("/readyz")
            except OSError:
                time.sleep(0.02)
            else:
                return

    def _get(self, path: str) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection(self.gateway, timeout=35)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()


def _tour(gateway: str, repository: SampleRepository, say: Say) -> None:
    newest = VERSIONS[-1]
    visitor = _Visitor(gateway, say)
    visitor.wait()
    say(f"A classic Helm repository:   {repository.url}   (here, it is https://{HOST})")
    say(f"The gateway in front of it:  http://{gateway}\n")
    say("  1. a first pull: fetched, converted to OCI, kept")
    visitor.manifest(newest)
    say("  2. the same again: upstream is not asked")
    visitor.manifest(newest)
    repository.stop()
    say("  3. the repository is gone: what was pulled is still served, what was not is an honest outage")
    visitor.manifest(newest)
    visitor.manifest(VERSIONS[0])
    repository.start()
    say("  4. it is back")
    visitor.manifest(VERSIONS[0])
