"""Bodies of any size: piece by piece between the loop and a thread, ended by either side."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping

import httpx
import pytest
from starlette.types import Message

from gateway.access.roles import Role
from gateway.oci.errors import OciError, Situation
from gateway.web.admin.operations import Call, Nothing, Reply
from gateway.web.admin.stream_operations import Arriving, Download, Leaving, Upload
from gateway.web.admin.streams import PIECE_BYTES, Inflow, Outflow
from tests.web.admin_house import EDITOR, VIEWER, open_desk

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # threads

CONTENT = bytes(range(256)) * (PIECE_BYTES // 64)  # four pieces
TAR = "application/x-tar"


def body(*pieces: bytes, ends: str = "http.request") -> Inflow:
    """A request that brings these, then ends or breaks off, or says nothing more."""
    messages: Iterator[Message] = iter(
        [
            *({"type": "http.request", "body": piece, "more_body": True} for piece in pieces),
            *([{"type": ends, "body": b"", "more_body": False}] if ends else []),
        ]
    )

    async def receive() -> Message:
        for message in messages:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    return Inflow(receive, stall_seconds=0.01 if not ends else 60)


def read_all(flow: Inflow) -> bytes:
    return b"".join(iter(lambda: flow.read(100_000), b""))


def write_all(flow: Outflow) -> None:
    for at in range(0, len(CONTENT), 999):
        flow.write(CONTENT[at : at + 999])


async def test_a_thread_reads_a_body_as_it_comes() -> None:
    flow = body(*(CONTENT[at : at + 70_000] for at in range(0, len(CONTENT), 70_000)))
    assert await asyncio.to_thread(read_all, flow) == CONTENT


@pytest.mark.parametrize(
    ("ends", "situation"), [("http.disconnect", Situation.BODY_MALFORMED), ("", Situation.BODY_TOO_SLOW)]
)
async def test_a_body_that_does_not_come_whole_is_an_error(ends: str, situation: Situation) -> None:
    flow = body(b"begun", ends=ends)
    with pytest.raises(OciError) as caught:
        await asyncio.to_thread(read_all, flow)
    assert caught.value.situation is situation


async def test_who_waits_for_a_body_is_told_that_nobody_wants_it() -> None:
    asked = asyncio.Event()

    async def receive() -> Message:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    flow = Inflow(receive)
    reading = asyncio.create_task(asyncio.to_thread(flow.read, 1))
    await asked.wait()
    flow.close()
    for _ in range(2):
        with pytest.raises(OciError, match="cancelled"):
            await reading
        reading = asyncio.create_task(asyncio.to_thread(flow.read, 1))
    with pytest.raises(OciError, match="cancelled"):
        await reading


async def test_what_is_left_of_a_body_is_dropped() -> None:
    flow = body(b"one", b"two")
    await flow.drain()
    assert await asyncio.to_thread(read_all, flow) == b""


async def test_what_a_thread_writes_comes_out_in_order() -> None:
    flow = Outflow()

    async def make() -> None:
        await asyncio.to_thread(write_all, flow)
        flow.finish()

    making = asyncio.create_task(make())
    await flow.begin()
    assert b"".join([piece async for piece in flow.pieces()]) == CONTENT
    await making


async def test_who_writes_waits_for_who_takes_and_ends_with_them() -> None:
    flow, written = Outflow(), 0
    is_through = threading.Event()

    def make() -> None:
        nonlocal written
        while True:
            flow.write(bytes(PIECE_BYTES))
            written += 1
            if written == 4:
                is_through.set()

    making = asyncio.create_task(asyncio.to_thread(make))
    await asyncio.to_thread(is_through.wait)
    flow.close()
    with pytest.raises(OciError, match="left before its end"):
        await making
    assert written == 4


class Nowhere:
    """An upload that is counted, and refused where it says so; a download of as many bytes."""

    def __init__(self) -> None:
        self.came: list[tuple[int, int, Mapping[str, str]]] = []

    async def put_file(self, call: Call[Nothing, Arriving]) -> Reply[list[int]]:
        first = await asyncio.to_thread(call.body.flow.read, 6)
        if first == b"refuse":
            raise OciError(Situation.CONFLICT, "no")
        rest = await asyncio.to_thread(read_all, call.body.flow)
        self.came.append((len(first + rest), call.body.size_bytes, call.body.headers))
        return Reply([len(first + rest)])

    async def get_file(self, _call: Call[Nothing, Nothing]) -> Leaving:
        flow = Outflow()
        await asyncio.to_thread(flow.write, b"a file")
        flow.finish()
        await flow.begin()
        return Leaving("a.tar", TAR, flow)


@pytest.fixture
def nowhere() -> Nowhere:
    return Nowhere()


@pytest.fixture
async def desk(nowhere: Nowhere) -> AsyncIterator[httpx.AsyncClient]:
    endpoints = (
        Download("/files", "files", "Get it", nowhere.get_file, Nothing, (TAR,), Role.EDITOR),
        Upload(
            "/files", "files", "Put it", nowhere.put_file, Nothing, list[int], (TAR,),
            {"x-beside": "told"}, Role.EDITOR,
        ),
    )  # fmt: skip
    async with open_desk(endpoints=endpoints) as client:
        yield client


async def test_a_file_is_sent_and_got_by_who_may(desk: httpx.AsyncClient, nowhere: Nowhere) -> None:
    put = await desk.put("/admin/api/files", content=CONTENT, headers={**EDITOR, "x-beside": "signed"})
    assert (put.status_code, put.json()) == (200, [len(CONTENT)])
    assert nowhere.came == [(len(CONTENT), len(CONTENT), {"x-beside": "signed"})]
    got = await desk.get("/admin/api/files", headers=EDITOR)
    assert (got.content, got.headers["content-type"]) == (b"a file", TAR)
    assert got.headers["content-disposition"] == 'attachment; filename="a.tar"'
    head = await desk.head("/admin/api/files", headers=EDITOR)
    assert (head.status_code, head.content) == (200, b"")
    for method in ("PUT", "GET"):
        assert (await desk.request(method, "/admin/api/files", headers=VIEWER)).status_code == 403


async def test_a_refused_file_is_read_to_its_end_so_that_the_answer_arrives(desk: httpx.AsyncClient) -> None:
    left = [b"refuse", *[bytes(1000)] * 50]

    async def sent() -> AsyncIterator[bytes]:
        while left:
            yield left.pop(0)

    answer = await desk.put("/admin/api/files", content=sent(), headers=EDITOR)
    assert (answer.status_code, left) == (409, [])


async def test_a_file_of_another_kind_is_refused(desk: httpx.AsyncClient) -> None:
    headers = {**EDITOR, "content-type": "text/html"}
    assert (await desk.put("/admin/api/files", content=b"x", headers=headers)).status_code == 415


async def test_files_are_described_as_what_they_are(desk: httpx.AsyncClient) -> None:
    told = (await desk.get("/admin/api/openapi.json", headers=VIEWER)).json()["paths"]["/files"]
    assert list(told["get"]["responses"]["200"]["content"]) == [TAR]
    assert list(told["put"]["requestBody"]["content"]) == [TAR]
    assert [one["name"] for one in told["put"]["parameters"]] == ["x-beside"]
