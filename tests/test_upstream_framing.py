"""threats.md 1d, U1 and U3 to U6 on the wire: bodies that end too early, too late or never."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from tests.fakes.charts import make_chart
from tests.fakes.images import Artifact, helm_artifact
from tests.sources.raw_server import RawServer, Say, answer, raw_server
from tests.threats import (
    APP,
    HOST,
    IMAGE,
    LAYER,
    LAYER_DIGEST,
    NAME,
    TAG,
    WITHHELD_BYTES,
    Received,
    blob_path,
    partial_files,
    receive,
    registry_rules,
    serving,
    settings_of,
    told,
)

pytestmark = pytest.mark.slow  # live servers, seconds together

Body = Callable[[bytes, Say], Awaitable[None]]

KIB = 1 << 10
CHART = helm_artifact(make_chart("app", "1.0.0", {"values.yaml": bytes(100)}))


def head(*lines: str, status: int = 200) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode()


async def honest(content: bytes, say: Say) -> None:
    await say(answer(content))


async def flipped(content: bytes, say: Say) -> None:
    await say(answer(content[:-1] + bytes([content[-1] ^ 1])))


async def flipped_early(content: bytes, say: Say) -> None:
    await say(answer(bytes([content[0] ^ 1]) + content[1:]))


async def unframed_half(content: bytes, say: Say) -> None:
    await say(head("Connection: close") + content[: len(content) // 2])


async def unframed_whole(content: bytes, say: Say) -> None:
    await say(head("Connection: close") + content)


async def short(content: bytes, say: Say) -> None:
    await say(head(f"Content-Length: {len(content)}") + content[: len(content) // 2])


async def cut_chunks(content: bytes, say: Say) -> None:
    half = content[: len(content) // 2]
    await say(head("Transfer-Encoding: chunked") + f"{len(half):x}\r\n".encode() + half + b"\r\n")


async def chunks_that_end_early(content: bytes, say: Say) -> None:
    await cut_chunks(content, say)
    await say(b"0\r\n\r\n")


async def length_too_small(content: bytes, say: Say) -> None:
    await say(head(f"Content-Length: {len(content) - 1}", "Connection: close") + content)


async def length_too_large(content: bytes, say: Say) -> None:
    await say(head(f"Content-Length: {len(content) + 1}", "Connection: close") + content)


async def two_lengths(content: bytes, say: Say) -> None:
    lengths = (f"Content-Length: {length}" for length in (len(content), len(content) - 1))
    await say(head(*lengths, "Connection: close") + content)


async def negative_length(content: bytes, say: Say) -> None:
    await say(head("Content-Length: -1", "Connection: close") + content)


async def unasked_206(content: bytes, say: Say) -> None:
    await say(answer(content, status=206))


async def nothing_with_a_body(content: bytes, say: Say) -> None:
    await say(head(f"Content-Length: {len(content)}", status=204) + content)


async def one_byte_more(content: bytes, say: Say) -> None:
    await say(head("Transfer-Encoding: chunked"))
    for piece in (content, b"x"):
        await say(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    await say(b"0\r\n\r\n")


async def zeros_without_end(_content: bytes, say: Say) -> None:
    await say(head("Transfer-Encoding: chunked"))
    piece = bytes(64 * KIB)
    while True:
        await say(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")


async def a_byte_now_and_then(content: bytes, say: Say) -> None:
    """The next byte comes later than anybody waits: see ``upstream_timeout_seconds`` below."""
    await say(head(f"Content-Length: {len(content)}") + content[:1])
    await asyncio.Event().wait()


@dataclass(slots=True)
class Upstream:
    """A registry of honest artifacts; ``bodies`` are said instead, by path, until ``be_honest``."""

    contents: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, Body] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def push(self, name: str, artifact: Artifact) -> None:
        for reference in (TAG, artifact.digest):
            path = f"/v2/{name}/manifests/{reference}"
            self.contents[path], self.types[path] = artifact.manifest, artifact.media_type
        for blob in artifact.blobs:
            self.contents[f"/v2/{name}/blobs/{Digest.of(blob)}"] = blob

    async def script(self, target: str, say: Say) -> None:
        self.asked.append(target)
        content = self.contents.get(target)
        if content is None:
            await say(answer(b"{}", status=404))
        elif target in self.bodies:
            await self.bodies[target](content, say)
        elif target in self.types:
            await say(answer(content, f"Content-Type: {self.types[target]}"))
        else:
            await say(answer(content))


@asynccontextmanager
async def upstream_of(artifact: Artifact) -> AsyncIterator[tuple[Upstream, RawServer]]:
    upstream = Upstream()
    upstream.push(APP, artifact)

    async def script(target: str, say: Say) -> None:
        is_head = server.heads[-1].startswith("HEAD")
        if is_head and "/manifests/" in target:
            await say(answer(status=405))  # HEAD would say nothing that is of interest here
        elif is_head:
            await say(head(f"Content-Length: {len(upstream.contents.get(target, b''))}", "Connection: close"))
        else:
            await upstream.script(target, say)

    async with raw_server(script) as server:
        yield upstream, server


def _rules(server: RawServer) -> str:
    return registry_rules(server.origin, missing_for="0s")


CUT = [
    pytest.param(flipped, id="U1 the last byte is another"),
    pytest.param(flipped_early, id="U1 the first byte is another"),
    pytest.param(one_byte_more, id="U3 one byte more than the descriptor says"),
    pytest.param(unframed_half, id="U4 no length, half the blob"),
    pytest.param(unframed_whole, id="U4 no length, the whole blob"),
    pytest.param(short, id="U4 half of Content-Length"),
    pytest.param(cut_chunks, id="U4 half the chunks"),
    pytest.param(chunks_that_end_early, id="U4 half the blob in whole chunks"),
    pytest.param(length_too_small, id="U5 Content-Length too small"),
    pytest.param(length_too_large, id="U5 Content-Length too large"),
    pytest.param(two_lengths, id="U5 two Content-Lengths"),
    pytest.param(negative_length, id="U5 a negative Content-Length"),
    pytest.param(unasked_206, id="U5 206 unasked"),
    pytest.param(nothing_with_a_body, id="U5 204 with a body"),
    pytest.param(zeros_without_end, id="U6 zeros without end"),
    pytest.param(a_byte_now_and_then, id="U6 a byte now and then"),
]


@pytest.mark.anyio
@pytest.mark.parametrize("body", CUT)
async def test_a_blob_that_is_fetched_as_it_is_asked_for_never_comes_whole(
    body: Body, tmp_path: Path
) -> None:
    """Refused, or cut short of Content-Length, its last 32 KiB never sent; nothing stays."""
    settings = settings_of(tmp_path, upstream_timeout_seconds=0.4 if body is a_byte_now_and_then else 15.0)
    async with upstream_of(IMAGE) as (upstream, server):
        async with serving(tmp_path, _rules(server), settings=settings) as gateway:
            assert (await gateway.manifest(NAME, TAG)).content == IMAGE.manifest
            before = await gateway.stored()
            upstream.bodies[f"/v2/{APP}/blobs/{LAYER_DIGEST}"] = body
            received = await receive(gateway, blob_path())
            _require_cut(received)
            assert await gateway.stored() == before
            assert partial_files(gateway) == set()
        upstream.bodies.clear()
        async with serving(tmp_path, _rules(server)) as gateway:  # anew: whoever was silent is left alone
            assert (await receive(gateway, blob_path())).content == LAYER
            asked_before = len(upstream.asked)
            assert (await receive(gateway, blob_path())).content == LAYER
            assert len(upstream.asked) == asked_before


def _require_cut(received: Received) -> None:
    if received.status == 200:
        assert received.promised_bytes == len(LAYER)
        assert not received.is_whole
        assert len(received.content) <= len(LAYER) - WITHHELD_BYTES
    else:
        assert received.status in (502, 503)
        assert received.is_whole


@pytest.mark.anyio
async def test_u1_what_may_be_sent_is_sent_before_the_end_has_come(tmp_path: Path) -> None:
    """So it is the tail that is withheld, not the blob."""
    gate = asyncio.Event()

    async def pausing(content: bytes, say: Say) -> None:
        await say(head(f"Content-Length: {len(content)}") + content[:-1])
        await gate.wait()
        await say(bytes([content[-1] ^ 1]))

    async with upstream_of(IMAGE) as (upstream, server), serving(tmp_path, _rules(server)) as gateway:
        await gateway.manifest(NAME, TAG)
        upstream.bodies[f"/v2/{APP}/blobs/{LAYER_DIGEST}"] = pausing
        reading = asyncio.create_task(
            _read_until(gate, len(LAYER) - 1 - WITHHELD_BYTES, gateway.client.base_url.port)
        )
        content = await reading
    assert content == LAYER[: len(LAYER) - WITHHELD_BYTES]


async def _read_until(gate: asyncio.Event, count: int, port: int | None) -> bytes:
    """Open the gate once so many bytes of the body have come; return all that comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {blob_path()} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    try:
        async with asyncio.timeout(5):
            await reader.readuntil(b"\r\n\r\n")
            content = await reader.readexactly(count)
            gate.set()
            return content + await reader.read()
    finally:
        writer.close()


_WRONG = "manifest_invalid"
REFUSED = [
    # what it is for a blob, and for a manifest, whose length nobody knows before it comes
    pytest.param(one_byte_more, "too_large", _WRONG, id="U3 one byte more than the descriptor says"),
    pytest.param(unframed_half, "truncated", "truncated", id="U4 no length, half of it"),
    pytest.param(unframed_whole, "truncated", "truncated", id="U4 no length, the whole"),
    pytest.param(short, None, None, id="U4 half of Content-Length"),
    pytest.param(cut_chunks, None, None, id="U4 half the chunks"),
    pytest.param(chunks_that_end_early, None, _WRONG, id="U4 half of it in whole chunks"),
    pytest.param(length_too_small, "size_mismatch", _WRONG, id="U5 Content-Length too small"),
    pytest.param(length_too_large, "size_mismatch", None, id="U5 Content-Length too large"),
    pytest.param(two_lengths, None, None, id="U5 two Content-Lengths"),
    pytest.param(negative_length, None, None, id="U5 a negative Content-Length"),
    pytest.param(unasked_206, "unexpected_status", "unexpected_status", id="U5 206 unasked"),
    pytest.param(nothing_with_a_body, "unexpected_status", "unexpected_status", id="U5 204 with a body"),
    pytest.param(zeros_without_end, "too_large", "too_large", id="U6 zeros without end"),
    pytest.param(a_byte_now_and_then, None, None, id="U6 a byte now and then"),
]


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["layer", "manifest"])
@pytest.mark.parametrize(("body", "of_layer", "of_manifest"), REFUSED)
async def test_a_chart_that_does_not_come_whole_is_refused(
    body: Body, of_layer: str | None, of_manifest: str | None, what: str, tmp_path: Path
) -> None:
    """What broke off is an outage, to be asked for again; what is wrong is wrong."""
    reason = of_layer if what == "layer" else of_manifest
    path = f"/v2/{APP}/" + (f"blobs/{Digest.of(CHART.blobs[1])}" if what == "layer" else f"manifests/{TAG}")
    settings = settings_of(tmp_path, upstream_timeout_seconds=0.4 if body is a_byte_now_and_then else 15.0)
    async with upstream_of(CHART) as (upstream, server):
        async with serving(tmp_path, _rules(server), settings=settings) as gateway:
            before = await gateway.stored()
            upstream.bodies[path] = body
            refused = await gateway.manifest(NAME, TAG)
            expected = (503, "UNAVAILABLE", "unavailable") if reason is None else (502, "UNKNOWN", reason)
            assert told(refused) == expected, refused.text
            assert await gateway.stored() == before
            assert partial_files(gateway) == set()
        upstream.bodies.clear()
        async with serving(tmp_path, _rules(server)) as gateway:
            assert (await gateway.manifest(NAME, TAG)).content == CHART.manifest


@pytest.mark.anyio
@pytest.mark.parametrize("path", [f"{HOST}/charts/app/manifests/1.0.0", f"{HOST}/{APP}/tags/list"])
async def test_u6_lists_and_indexes_without_end_are_refused(path: str, tmp_path: Path) -> None:
    async def script(_target: str, say: Say) -> None:
        await zeros_without_end(b"", say)

    settings = settings_of(tmp_path, max_index_size_bytes=1 << 20)
    async with raw_server(script) as server:
        kind = "helm" if "charts" in path else "registry"
        rules = registry_rules(server.origin, kind=kind)
        async with serving(tmp_path, rules, settings=settings) as gateway:
            before = await gateway.stored()
            assert told(await gateway.client.get(f"/v2/{path}")) == (502, "UNKNOWN", "too_large")
            assert await gateway.stored() == before
