"""The gate: each limit at its value and one beyond, before anything behind it runs."""

from collections.abc import MutableMapping

import pytest
import structlog

from gateway.web.gate import Gate
from tests.web.live import Headers, Receive, Reply, Send, ask_app

pytestmark = pytest.mark.anyio

HOST = len(b"host") + len(b"gateway.test")


class Behind:
    """An application that says yes, and counts how often it was asked."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, scope: MutableMapping[str, object], _receive: Receive, send: Send) -> None:
        self.count += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"yes"})


async def ask(target: bytes, headers: Headers = (), method: str = "GET") -> Reply:
    """Ask through a gate; what is refused must not have reached what is behind it."""
    behind = Behind()
    reply = await ask_app(Gate(behind), method, target, headers)
    assert behind.count == (reply.status == 200)
    return reply


def target_of(size_bytes: int, query_bytes: int = 0) -> bytes:
    query = b"?" + b"q" * query_bytes if query_bytes else b""
    return b"/v2/" + b"a" * (size_bytes - query_bytes - 4) + query


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (target_of(2048), 200),
        (target_of(2049), 414),
        (target_of(2048, query_bytes=1000), 200),
        (target_of(2049, query_bytes=1000), 414),
    ],
)
async def test_a_target_has_at_most_2_kib(target: bytes, status: int) -> None:
    assert (await ask(target)).status == status


async def test_what_the_gate_refuses_is_told_to_the_log_too() -> None:
    with structlog.testing.capture_logs() as logs:
        await ask(b"/v2/", method="PUT")
    (line,) = (line for line in logs if line["event"] == "refused")
    assert (line["code"], line["status"], line["path"]) == ("UNSUPPORTED", 405, "/v2/")
    assert line["reason"] == "PUT is not offered here"


async def test_a_target_counts_as_it_was_sent_not_as_it_reads() -> None:
    assert (await ask(b"/v2/" + b"%61" * 700)).status == 414


@pytest.mark.parametrize(("count", "status"), [(99, 200), (100, 431)])
async def test_there_are_at_most_100_headers(count: int, status: int) -> None:
    reply = await ask(b"/v2/", [(b"x", b"")] * count)  # and Host
    assert reply.status == status


@pytest.mark.parametrize(("size_bytes", "status"), [(16 * 1024, 200), (16 * 1024 + 1, 431)])
async def test_headers_have_at_most_16_kib(size_bytes: int, status: int) -> None:
    reply = await ask(b"/v2/", [(b"x", b"y" * (size_bytes - HOST - 1))])
    assert reply.status == status


@pytest.mark.parametrize(("size_bytes", "status"), [(8 * 1024, 200), (8 * 1024 + 1, 431)])
@pytest.mark.parametrize("parts", [1, 2])
async def test_accept_has_at_most_8_kib_in_however_many_headers(
    size_bytes: int, status: int, parts: int
) -> None:
    half = size_bytes // 2
    sizes = [size_bytes] if parts == 1 else [half, size_bytes - half]
    reply = await ask(b"/v2/", [(b"accept", b"a" * size) for size in sizes])
    assert reply.status == status


async def test_1500_headers_and_an_endless_accept_are_refused() -> None:
    """H6."""
    assert (await ask(b"/v2/", [(b"x", b"y")] * 1500)).code == "UNSUPPORTED"
    assert (await ask(b"/v2/", [(b"accept", b"a/b," * 3700)])).status == 431


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "TRACE", "CONNECT", "OPTIONS", "get"])
async def test_no_method_but_get_and_head_is_offered(method: str) -> None:
    reply = await ask(b"/v2/", method=method)
    assert (reply.status, reply.code, reply.header("allow")) == (405, "UNSUPPORTED", "GET, HEAD")


async def test_a_method_of_a_thousand_letters_is_not_repeated_whole() -> None:
    reply = await ask(b"/v2/", method="A" * 1000)
    assert len(reply.body) < 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-length", b"0")], 200),
        ([(b"content-length", b"1")], 413),
        ([(b"content-length", b"0"), (b"content-length", b"1")], 413),
        ([(b"content-length", b"-0")], 413),
        ([(b"transfer-encoding", b"chunked")], 413),
        ([(b"content-length", b"0"), (b"transfer-encoding", b"chunked")], 400),
    ],
)
async def test_a_request_has_no_body(headers: Headers, status: int) -> None:
    assert (await ask(b"/v2/", headers)).status == status


@pytest.mark.parametrize(
    "target", [b"/v2/%2F", b"/v2/%2f", b"/v2/%5c", b"/v2/%25", b"/v2/\\", b"//v2/", b"v2/", b"*", b""]
)
async def test_a_path_has_one_reading(target: bytes) -> None:
    reply = await ask(target)
    assert (reply.status, reply.code) == (400, "NAME_INVALID")


async def test_a_percent_sign_in_a_query_is_no_matter() -> None:
    assert (await ask(b"/v2/?last=%2f%25")).status == 200


async def test_what_the_gate_refuses_ends_the_connection() -> None:
    sent: list[MutableMapping[str, object]] = []

    async def receive() -> MutableMapping[str, object]:
        raise AssertionError("nothing is read of what is refused")

    async def send(message: MutableMapping[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "*"}
    await Gate(Behind())({**scope, "raw_path": b"*", "query_string": b"", "headers": []}, receive, send)
    headers = sent[0]["headers"]
    assert isinstance(headers, list)
    assert (b"connection", b"close") in headers


@pytest.mark.parametrize(
    ("scheme", "version", "status"),
    [
        ("http", "1.0", 200),
        ("http", "1.1", 200),
        ("http", "2", 400),
        ("http", "2.0", 400),
        ("http", "1.2", 400),
        ("https", "2", 200),
    ],
)
async def test_http_2_is_spoken_with_tls_only(scheme: str, version: str, status: int) -> None:
    behind, sent = Behind(), list[MutableMapping[str, object]]()

    async def receive() -> MutableMapping[str, object]:
        return {"type": "http.request"}

    async def send(message: MutableMapping[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "http_version": version, "method": "GET", "scheme": scheme, "path": "/v2/"}
    await Gate(behind)({**scope, "raw_path": b"/v2/", "query_string": b"", "headers": []}, receive, send)
    assert sent[0]["status"] == status


async def test_a_web_socket_is_closed_before_it_is_one() -> None:
    behind, sent = Behind(), list[MutableMapping[str, object]]()

    async def receive() -> MutableMapping[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, object]) -> None:
        sent.append(message)

    await Gate(behind)({"type": "websocket", "path": "/v2/"}, receive, send)
    assert sent == [{"type": "websocket.close"}]
    assert behind.count == 0
