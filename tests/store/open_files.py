"""Which files of a folder a process has open: how many hold a lock, or wait for it."""

import asyncio
import os
from pathlib import Path


def open_below(folder: Path, pid: str = "self") -> int:
    links = Path("/proc") / pid / "fd"
    return sum(_target(link).startswith(f"{folder}/") for link in links.iterdir())


def the_file_in(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


async def until_open(folder: Path, count: int) -> None:
    """Wait until this process has so many files of the folder open."""
    async with asyncio.timeout(10):
        while True:
            if open_below(folder) >= count:
                return
            await asyncio.sleep(0)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # closed meanwhile
        return ""
