"""A whole gateway on a port, in the test's own loop, and what is asked of it in the face of threats."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from gateway import hypercorn_fit
from gateway.access.readers import admit_anyone
from gateway.app import compose, create_app
from gateway.oci.digest import Digest
from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from gateway.rules.route import Route
from gateway.settings import Settings
from gateway.store.data_dir import DataDir
from tests.composed import Composed, FakeDns, upstream
from tests.fakes.images import OCI

HOST = "registry.example.test"
APP = "team/app"
NAME = f"{HOST}/{APP}"
TAG = "1.0.0"
LAYER_BYTES = 200_000
IMAGE = OCI.image(LAYER_BYTES)
LAYER = IMAGE.blobs[1]
LAYER_DIGEST = Digest.of(LAYER)
WITHHELD_BYTES = 32 * 1024
SIGNED = {"username_env": "GATEWAY_SECRET_USER", "password_env": "GATEWAY_SECRET_PASSWORD"}
SECRETS = {"GATEWAY_SECRET_USER": "robot", "GATEWAY_SECRET_PASSWORD": "s3cret"}
DUE_AT_ONCE = "fresh_for: 0s, recheck_for: 0s"
AUTH_LIKE = frozenset(
    {"authorization", "cookie", "proxy-authorization", "x-jfrog-art-api", "private-token", "x-api-key"}
)
_PATIENCE_SECONDS = 10.0

Told = tuple[int, str | None, str | None]


@asynccontextmanager
async def serving(
    folder: Path,
    rules: str,
    dns: FakeDns | None = None,
    *,
    settings: Settings | None = None,
    admit: Callable[[Route], None] = admit_anyone,
    claim: socket.socket | None = None,
) -> AsyncIterator[Composed]:
    """Run a gateway on ``folder``; ``rules`` is the text of rules.yaml without its version.

    ``claim`` is a bound socket, for a port that others must know before.
    """
    names = FakeDns() if dns is None else dns
    data_dir = DataDir(folder)
    data_dir.prepare()
    in_force = InForce(load_rules(f"version: 1\n{rules}"))
    given = settings or settings_of(folder)
    gateway = compose(given, data_dir, in_force, resolver=names, admit=admit)
    try:
        with claim or claimed_port() as listener:
            listener.listen(64)
            listener.setblocking(False)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            stop = asyncio.Event()
            running = asyncio.create_task(hypercorn_fit.run(create_app(gateway), listener, stop, 1.0))
            try:
                async with _client(url) as client:
                    yield Composed(gateway, client, names, data_dir)
            finally:
                stop.set()
                await running
    finally:
        data_dir.close()


def claimed_port() -> socket.socket:
    """A free port that nobody else is given."""
    claim = socket.socket()
    claim.bind(("127.0.0.1", 0))
    return claim


def settings_of(folder: Path, **changes: object) -> Settings:
    """Settings with the secrets at hand, and an upstream that is waited for as long as tests can wait."""
    given: dict[str, object] = {"data_dir": folder, "secrets_dir": folder, "secrets": SECRETS, **changes}
    return Settings(**given)  # type: ignore[arg-type]


def _client(url: str) -> httpx.AsyncClient:
    no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading the trust store would take longer than a test
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=_PATIENCE_SECONDS, verify=no_tls)


def registry_rules(origin: str, key: str = HOST, **more: str) -> str:
    """The rules by which ``key`` is a registry at ``origin``."""
    return f"upstreams:\n{registry_line(origin, key, **more)}"


def registry_line(origin: str, key: str = HOST, **more: str) -> str:
    return upstream(origin, key, **{"kind": "registry", **more})


def told(answer: httpx.Response) -> Told:
    """Status, OCI code and reason, as a client and its programs see them."""
    if answer.status_code < 400:
        return answer.status_code, None, None
    (error,) = answer.json()["errors"]
    detail = error.get("detail") or {}
    return answer.status_code, error["code"], detail.get("reason")


@dataclass(frozen=True, slots=True)
class Received:
    """A body as far as it came; ``is_whole``: as far as its Content-Length said."""

    status: int
    promised_bytes: int
    content: bytes
    is_whole: bool


async def receive(gateway: Composed, path: str, headers: Mapping[str, str] | None = None) -> Received:
    """Read a body until it ends, or is cut."""
    content = bytearray()
    is_whole = False
    async with gateway.client.stream("GET", path, headers=headers) as answer:
        try:
            async for piece in answer.aiter_raw():
                content += piece
            is_whole = True
        except (httpx.RemoteProtocolError, httpx.ReadError):
            pass
        promised_bytes = int(answer.headers.get("content-length", "-1"))
    return Received(answer.status_code, promised_bytes, bytes(content), is_whole)


def blob_path(digest: Digest = LAYER_DIGEST, name: str = NAME) -> str:
    return f"/v2/{name}/blobs/{digest}"


def partial_files(gateway: Composed) -> set[str]:
    """What lies in the blob directory that is no whole blob."""
    files = {path.name for path in gateway.data_dir.blobs.rglob("*") if path.is_file()}
    return {name for name in files if len(name) != 64}


def auth_like(headers: Mapping[str, str]) -> frozenset[str]:
    """The names of headers that may carry a secret."""
    return AUTH_LIKE & headers.keys()
