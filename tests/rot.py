"""What a disk, or somebody at it, does to a stored blob: for tests of what is served then."""

import os
from collections.abc import Callable
from pathlib import Path

from gateway.oci.digest import Digest


def place_of(blobs: Path, digest: Digest) -> Path:
    return blobs / digest.algorithm / digest.hex[:2] / digest.hex


def flip(place: Path, offset: int | None = None) -> None:
    """Change one byte, in the middle unless told where; the file's times stay, as on a disk that rots."""
    status = place.stat()
    with place.open("r+b") as file:
        file.seek(status.st_size // 2 if offset is None else offset)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(place: Path) -> None:
    os.truncate(place, place.stat().st_size // 2)


def empty(place: Path) -> None:
    os.truncate(place, 0)


def grow(place: Path) -> None:
    with place.open("ab") as file:
        file.write(b"more")


def swap(place: Path) -> None:
    place.write_bytes(b"something else altogether")


def link_to_passwd(place: Path) -> None:
    place.unlink()
    place.symlink_to("/etc/passwd")


def make_fifo(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def make_folder(place: Path) -> None:
    place.unlink()
    place.mkdir()
    (place / "file").write_bytes(b"in a folder")


EVERY_WAY: tuple[Callable[[Path], None], ...] = (
    flip,
    cut,
    empty,
    grow,
    swap,
    link_to_passwd,
    make_fifo,
    make_folder,
)
