"""Fuzz target: a whole request, as a server hands it to a gateway that holds an image and asks nobody."""

import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeAlias

from starlette.types import ASGIApp, Message

from gateway.app import compose, create_app
from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode
from gateway.oci.ranges import ByteRange
from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from gateway.settings import Settings
from gateway.settings_values import LogLevel
from gateway.store.data_dir import DataDir
from tests.composed import HOST, composed, upstream
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry
from tests.fuzz.target import Target

_Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_IMAGE = OCI.image(2000)
_LAYER = _IMAGE.blobs[1]
_NAME = f"{HOST}/a"
_STATUSES = frozenset({200, 206, 304, 400, 401, 403, 404, 405, 413, 414, 416, 431})
_CODES = frozenset(code.value for code in ErrorCode)
_BLOB = f"/v2/{_NAME}/blobs/{Digest.of(_LAYER)}"


@dataclass(slots=True)
class _Reply:
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            assert self.status == 0
            self.status, self.headers = message["status"], message["headers"]
        else:
            self.body += message.get("body", b"")


@dataclass(frozen=True, slots=True)
class _House:
    """A gateway that is offline, on the loop that it was made on."""

    loop: asyncio.AbstractEventLoop
    app: ASGIApp

    def ask(self, method: str, path: bytes, query: bytes, headers: _Headers) -> _Reply:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 9000),
        }
        reply = _Reply()
        self.loop.run_until_complete(self.app(scope, _never_more, reply.send))
        return reply


async def _never_more() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


@cache
def _house() -> _House:
    loop = asyncio.new_event_loop()
    folder = Path(tempfile.mkdtemp(prefix="fuzzed-gateway-"))
    return _House(loop, loop.run_until_complete(_opened(folder)))


async def _opened(folder: Path) -> ASGIApp:
    with FakeRegistry() as registry:
        _IMAGE.push_to(registry, "a", "1")
        rules = f"upstreams:\n{upstream(registry.origin, kind='registry')}"
        async with composed(folder, rules) as filled:
            for path in (f"/v2/{_NAME}/manifests/1", _BLOB):
                assert (await filled.client.get(path)).status_code == 200
    data_dir = DataDir(folder)
    data_dir.prepare()
    offline = InForce(load_rules(f"version: 1\negress: {{mode: offline}}\n{rules}"))
    return create_app(compose(Settings(data_dir=folder, log_level=LogLevel.ERROR), data_dir, offline))


def check_request(data: bytes) -> None:
    """No request is our fault; a no is one of the specification's; what is sent is what is held."""
    path, query, *lines = [*data.split(b"\n"), b""]
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    house = _house()
    got, head = (house.ask(method, b"/" + path, query, headers) for method in ("GET", "HEAD"))
    for reply in (got, head):
        assert reply.status in _STATUSES or path.startswith(b"readyz"), reply
        assert all(set(b"\r\n\0").isdisjoint(name + value) for name, value in reply.headers)
    assert got.status == head.status or {got.status, head.status} <= {200, 206, 416}
    if path.startswith((b"readyz", b"healthz")):  # they are no registry's
        return
    assert head.body == b""
    if got.status >= 400:
        assert json.loads(got.body)["errors"][0]["code"] in _CODES
    if (b"content-type", b"application/octet-stream") in got.headers:
        assert got.body == _LAYER[_sent(got.headers)] or Digest.of(got.body) in map(Digest.of, _IMAGE.blobs)


def _sent(headers: _Headers) -> slice:
    told = dict(headers).get(b"content-range", b"bytes 0-1999/2000").decode()
    first, last = told.removeprefix("bytes ").partition("/")[0].split("-")
    part = ByteRange(int(first), int(last) + 1)
    return slice(part.start, part.stop)


TARGETS = (
    Target(
        "request",
        check_request,
        [
            f"v2/{_NAME}/manifests/1\n\nhost: gw.example".encode(),
            f"{_BLOB[1:]}\n\nrange: bytes=5-9\nhost: a:1".encode(),
            f'{_BLOB[1:]}\nns=docker.io\nif-none-match: "{Digest.of(_LAYER)}"'.encode(),
            f"v2/{_NAME}/tags/list\nn=1&last=x\nvia: 1.1 abc\nx-forwarded-host: b".encode(),
            f"v2/a/referrers/{_IMAGE.digest}\nartifactType=x/y\naccept: */*".encode(),
            b"v2/_catalog\nn=5",
        ],
        [
            *(
                "v2/",
                "/manifests/",
                "/blobs/",
                "/tags/list",
                "/referrers/",
                "_catalog",
                "?",
                "n=",
                "last=",
                "ns=",
            ),
            *(
                "rewrite_dependencies=true",
                "artifactType=",
                "\nrange: bytes=",
                "\nif-none-match: ",
                "\nvia: 1.1 ",
            ),
            *(
                "\nhost: ",
                "\ntransfer-encoding: chunked",
                "\ncontent-length: 0",
                "%2f",
                "%00",
                _NAME,
                "sha256:",
            ),
        ],
        1024,
    ),
)
