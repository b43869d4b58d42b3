"""The disk's threads."""

import asyncio
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from gateway.store.disk import in_thread


@pytest.mark.anyio
async def test_what_was_opened_for_somebody_who_left_meanwhile_is_closed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"content")
    begun, may_open, opened = asyncio.Event(), threading.Event(), list[BinaryIO]()
    loop = asyncio.get_running_loop()

    def open_slowly() -> BinaryIO:
        loop.call_soon_threadsafe(begun.set)
        may_open.wait()
        opened.append((tmp_path / "blob").open("rb"))
        return opened[0]

    asking = asyncio.ensure_future(in_thread(open_slowly))
    await begun.wait()
    asking.cancel()
    may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert opened[0].closed
