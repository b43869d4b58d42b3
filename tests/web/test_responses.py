"""Answers: sent whole or cut short, never wrong, and to nobody who has gone."""

import asyncio
from collections.abc import MutableMapping

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.ranges import ByteRange
from gateway.web.responses import (
    Answer,
    BlobAnswer,
    body_answer,
    error_answer,
    is_known,
    json_answer,
    send_answer,
)

pytestmark = pytest.mark.anyio

MIB = 1 << 20
DIGEST = Digest.of(b"wanted")


class FakeBlob:
    """A blob whose bytes are those it has now, whatever it had when it was opened."""

    def __init__(self, content: bytes, size: int | None = None) -> None:
        self.content = content
        self.size = len(content) if size is None else size
        self.is_closed = False

    async def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]

    def close(self) -> None:
        self.is_closed = True


class Sent:
    """What an application sent."""

    def __init__(self) -> None:
        self.messages: list[MutableMapping[str, object]] = []

    async def __call__(self, message: MutableMapping[str, object]) -> None:
        self.messages.append(message)

    @property
    def pieces(self) -> list[bytes]:
        return [body for message in self.messages if isinstance(body := message.get("body"), bytes)]

    @property
    def is_complete(self) -> bool:
        return self.messages[-1].get("more_body", False) is False and "body" in self.messages[-1]


def whole(blob: FakeBlob) -> BlobAnswer:
    return BlobAnswer(200, [], blob, ByteRange(0, blob.size))


async def test_a_long_text_goes_in_pieces_so_that_who_stalls_has_but_one() -> None:
    text, sent = bytes(range(256)) * (5 * MIB // 256), Sent()
    await send_answer(sent, body_answer(200, b"application/yaml", text, []), is_head=False)
    pieces = [message["body"] for message in sent.messages[1:]]
    assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == text
    assert max(len(piece) for piece in pieces if isinstance(piece, bytes)) == MIB
    assert [bool(message.get("more_body")) for message in sent.messages[1:]] == [True] * (len(pieces) - 1) + [
        False
    ]


async def test_a_blob_goes_out_in_ever_larger_pieces_and_is_closed() -> None:
    blob, sent = FakeBlob(bytes(3 * MIB + 5)), Sent()
    await send_answer(sent, whole(blob), is_head=False)
    assert [len(piece) >> 10 for piece in sent.pieces] == [128, 128, 256, 512, 1024, 1024, 0, 0]
    assert sum(map(len, sent.pieces)) == 3 * MIB + 5
    assert sent.is_complete
    assert blob.is_closed


async def test_a_range_is_just_its_bytes() -> None:
    blob, sent = FakeBlob(b"0123456789"), Sent()
    await send_answer(sent, BlobAnswer(206, [], blob, ByteRange(3, 7)), is_head=False)
    assert b"".join(sent.pieces) == b"3456"


async def test_a_blob_that_became_shorter_is_never_completed() -> None:
    blob, sent = FakeBlob(b"0123", size=10), Sent()
    with pytest.raises(EOFError):
        await send_answer(sent, whole(blob), is_head=False)
    assert b"".join(sent.pieces) == b"0123"
    assert not sent.is_complete
    assert blob.is_closed


async def test_a_blob_whose_answer_cannot_be_sent_is_closed() -> None:
    blob = FakeBlob(b"0123")

    async def gone(_message: MutableMapping[str, object]) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await send_answer(gone, whole(blob), is_head=False)
    assert blob.is_closed


class Client:
    """Reads ``stays_for`` pieces of an answer, then goes; what is sent after that is dropped."""

    def __init__(self, stays_for: int, *, is_stuck: bool = False) -> None:
        self.pieces = 0
        self._stays_for = stays_for
        self._is_stuck = is_stuck
        self._gone = asyncio.Event()

    async def send(self, message: MutableMapping[str, object]) -> None:
        if message["type"] == "http.response.body":
            self.pieces += 1
        if self.pieces == self._stays_for:
            self._gone.set()
            if self._is_stuck:
                await asyncio.Event().wait()

    async def receive(self) -> MutableMapping[str, object]:
        await self._gone.wait()
        return {"type": "http.disconnect"}


@pytest.mark.parametrize("is_stuck", [False, True])
async def test_nothing_is_read_for_a_client_that_has_gone(is_stuck: bool) -> None:
    blob, client = FakeBlob(bytes(50 * MIB)), Client(2, is_stuck=is_stuck)
    async with asyncio.timeout(5):
        await send_answer(client.send, whole(blob), is_head=False, receive=client.receive)
    assert client.pieces <= 4
    assert blob.is_closed


async def test_a_client_that_stays_gets_it_all_and_a_failure_is_told() -> None:
    blob, client = FakeBlob(bytes(3 * MIB)), Client(-1)
    await send_answer(client.send, whole(blob), is_head=False, receive=client.receive)
    assert client.pieces == 7
    shorter = FakeBlob(bytes(2 * MIB), size=3 * MIB)
    with pytest.raises(EOFError):
        await send_answer(client.send, whole(shorter), is_head=False, receive=client.receive)
    assert shorter.is_closed


async def test_what_fits_in_one_piece_is_sent_without_a_watcher() -> None:
    tasks: set[int] = set()

    async def send(_message: MutableMapping[str, object]) -> None:
        tasks.add(len(asyncio.all_tasks()))

    before = len(asyncio.all_tasks())
    client = Client(-1)
    await send_answer(send, whole(FakeBlob(bytes(MIB))), is_head=False, receive=client.receive)
    assert tasks == {before}


async def test_a_fast_reader_lets_others_in_between_pieces() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await send_answer(Sent(), whole(FakeBlob(bytes(8 * MIB))), is_head=False)
    task.cancel()
    assert turns >= 8


async def test_a_head_has_the_length_and_no_body() -> None:
    sent = Sent()
    await send_answer(sent, body_answer(200, b"text/plain", b"hello", []), is_head=True)
    assert sent.pieces == [b""]
    headers = sent.messages[0]["headers"]
    assert isinstance(headers, list)
    assert (b"content-length", b"5") in headers


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (None, False),
        (f'"{DIGEST}"', True),
        (f'W/"{DIGEST}"', True),
        (f'"a" ,"{DIGEST}"', True),
        ("*", True),
        (str(DIGEST), False),
        ('""', False),
        ("", False),
    ],
)
def test_a_client_knows_what_it_names_by_etag(header: str | None, known: bool) -> None:
    assert is_known(None if header is None else header.encode(), DIGEST) is known


def headers_of(answer: Answer) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in answer.headers}


@pytest.mark.parametrize("situation", Situation)
def test_every_situation_is_an_oci_error_that_nobody_caches(situation: Situation) -> None:
    error = OciError(situation, "<what> was “asked”", {"reason": "x"}, retry_after_seconds=7)
    answer = error_answer(error)
    headers = headers_of(answer)
    assert answer.status == error.status
    assert answer.body.decode() == (
        f'{{"errors":[{{"code":"{error.code}","message":"<what> was “asked”","detail":{{"reason":"x"}}}}]}}'
    )
    assert headers["content-length"] == str(len(answer.body))
    assert headers["cache-control"] == "no-store"
    assert headers["retry-after"] == "7"
    assert ("www-authenticate" in headers) is (answer.status == 401)
    assert ("allow" in headers) is (answer.status == 405)


def test_json_is_utf_8_with_its_length_in_bytes() -> None:
    answer = json_answer({"name": "café"})
    assert answer.body == '{"name":"café"}'.encode()
    assert headers_of(answer)["content-length"] == "16"
