"""What the cache takes on the disk, counted without getting in anybody's way."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

_PAUSE_EVERY = 64  # files: a look at each takes microseconds, and keeps an event loop from its turn
_PAUSE_SECONDS = 0.0005

T = TypeVar("T")


def gently(items: Iterable[T]) -> Iterator[T]:
    """The same, with a pause now and then for the other threads of the process."""
    for count, item in enumerate(items, start=1):
        yield item
        if count % _PAUSE_EVERY == 0:
            time.sleep(_PAUSE_SECONDS)


def bytes_used(blobs: Path, catalog: Path | None) -> int:
    """All files below ``blobs``, and those of the catalog: its own, its logs; not the copies of it."""
    used = sum(gently(_sizes(blobs)))
    if catalog is None:
        return used
    return used + sum(_size(path) for path in catalog.parent.glob(f"{catalog.name}*"))


def _sizes(folder: Path | str) -> Iterator[int]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path)
            else:
                with suppress(FileNotFoundError):
                    yield entry.stat(follow_symlinks=False).st_size


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0
