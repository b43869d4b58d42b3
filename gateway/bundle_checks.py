"""A bundle, read entry by entry from a stream that only goes forward: what no honest tar has is refused."""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import zstandard

from gateway.bundle import MAX_INDEX_BYTES
from gateway.oci.digest import Digest

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LAYOUT: Final = "oci-layout"
INDEX: Final = "index.json"
PIECE_BYTES: Final = 256 << 10  # larger ones cost the memory of new pages
_BUFFER_BYTES: Final = 64 << 10  # what is read beyond it goes to its place at once
MAX_ENTRIES: Final = 1_000_000  # and headers with pax facts
_BLOB: Final = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_FOLDERS: Final = frozenset({".", "blobs", "blobs/sha256"})
_FACT: Final = re.compile(rb"([0-9]{1,7}) ")
_WHOLE_NUMBER: Final = re.compile(rb"[0-9]{1,15}")
_MISLEADING: Final = (b"path", b"linkpath", b"hdrcharset", b"GNU.sparse.", b"SUN.holesdata")
_BLOCK: Final = 512
_MAX_LAYOUT_BYTES: Final = 4096
_MAX_FACTS_BYTES: Final = 1 << 20  # what pax says of one file
_MAX_PADDING_BYTES: Final = 64 << 20  # behind the end: tar fills up a record, whose size anybody may choose
_MAX_WINDOW_BYTES: Final = 128 << 20
_TOLD: Final = 100
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_GZIP: Final = b"\x1f\x8b"
_KINDS: Final = {
    tarfile.SYMTYPE: "a symlink",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: "a folder",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.GNUTYPE_LONGNAME: "a name that is too long",
    tarfile.GNUTYPE_LONGLINK: "a link",
}


class BundleRefused(Exception):
    """The bundle is not what a bundle has to be, and nothing of it was taken; ``faults`` are in words."""

    def __init__(self, faults: Sequence[str]) -> None:
        told = list(dict.fromkeys(faults))
        more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
        self.faults: Sequence[str] = (*told[:_TOLD], *more)
        super().__init__("the bundle is refused, and nothing was changed: " + "; ".join(self.faults))


class Stream(Protocol):
    """Gives at most so many bytes, none at its end; it may take its time."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file of the bundle; ``digest`` is what its name says of a blob."""

    name: str
    size_bytes: int
    digest: Digest | None


class _Counted(io.RawIOBase):
    """The stream as it comes, before anything is unpacked."""

    def __init__(self, stream: Stream, tell: Callable[[int], None]) -> None:
        self._stream = stream
        self._tell = tell
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, room: "WriteableBuffer", /) -> int:
        view = memoryview(room)
        try:
            content = self._stream.read(len(view))
        except OSError as error:
            raise BundleRefused([f"it cannot be read: {error.strerror or error}"]) from error
        view[: len(content)] = content
        self._count += len(content)
        self._tell(self._count)
        return len(content)


@dataclass(slots=True)
class Entries:
    """Reads entries one after another; ``tell`` is told how many bytes of the stream were read.

    Each is read to its end before the next is asked for, and each name comes once. Raises BundleRefused. It
    waits for the stream: for threads.
    """

    stream: Stream
    max_blob_bytes: int
    tell: Callable[[int], None] = lambda _count: None
    max_entries: int = MAX_ENTRIES
    _left: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[Entry]:
        came = io.BufferedReader(_Counted(self.stream, self.tell), _BUFFER_BYTES)
        self.stream = _unpacked(came)
        seen: set[str] = set()
        for header, size_bytes in self._headers():
            name = header.name.removeprefix("./")
            if name in seen:
                raise BundleRefused([f"it has {name} twice"])
            seen.add(name)
            if header.type == tarfile.DIRTYPE and name in _FOLDERS and not size_bytes:
                continue
            entry = self._entry(name, header.type, size_bytes)
            self._left = size_bytes
            yield entry
            self._exactly(-size_bytes % _BLOCK)

    def read(self) -> bytes:
        """The next piece of the entry, nothing at its end."""
        if not self._left:
            return b""
        content = self._exactly(min(self._left, PIECE_BYTES))
        self._left -= len(content)
        return content

    def read_all(self) -> bytes:
        """What is left of a small entry."""
        return b"".join(iter(self.read, b""))

    def _headers(self) -> Iterator[tuple[tarfile.TarInfo, int]]:
        """Of what has content, with its size; pax facts count for the header behind them."""
        size_bytes: int | None = None
        has_facts = False
        for _ in range(self.max_entries):
            block = self._exactly(_BLOCK)
            if not any(block) and not has_facts:
                self._require_end()
                return
            header = _header(block)
            if header.type != tarfile.XHDTYPE:
                yield header, header.size if size_bytes is None else size_bytes
                size_bytes, has_facts = None, False
            elif has_facts:
                raise BundleRefused(["it has a pax header behind a pax header"])
            else:
                size_bytes, has_facts = self._facts(header.size), True
        raise BundleRefused([f"it has more than {self.max_entries:,} entries"])

    def _entry(self, name: str, kind: bytes, size_bytes: int) -> Entry:
        if kind not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
            raise BundleRefused([f"{name!r} is {_KINDS.get(kind, 'no regular file')}"])
        match = _BLOB.fullmatch(name)
        if match is None and name not in {LAYOUT, INDEX}:
            raise BundleRefused([f"{name!r} is no name that a bundle has"])
        most = {LAYOUT: _MAX_LAYOUT_BYTES, INDEX: MAX_INDEX_BYTES}.get(name, self.max_blob_bytes)
        if not 0 <= size_bytes <= most:
            raise BundleRefused([f"{name} has {size_bytes} bytes, of which at most {most} are taken"])
        return Entry(name, size_bytes, None if match is None else Digest("sha256", match[1]))

    def _facts(self, size_bytes: int) -> int | None:
        """The size that pax says a file has, where it says one."""
        if not 0 <= size_bytes <= _MAX_FACTS_BYTES:
            raise BundleRefused(["a pax header is too large"])
        content = self._exactly(size_bytes)
        self._exactly(-size_bytes % _BLOCK)
        found: int | None = None
        while content:
            key, value, content = _fact(content)
            if key.startswith(_MISLEADING):
                raise BundleRefused([f"a pax header says {key.decode(errors='replace')!r} of an entry"])
            if key == b"size":
                found = _size(value)
        return found

    def _require_end(self) -> None:
        """Behind the end there is nothing, but for zeros."""
        for _ in range(_MAX_PADDING_BYTES // PIECE_BYTES):
            content = self._piece(PIECE_BYTES)
            if not content:
                return
            if content.count(0) != len(content):
                break
        raise BundleRefused(["there is something behind its end"])

    def _exactly(self, size: int) -> bytes:
        content = self._piece(size)
        if len(content) < size:
            raise BundleRefused(["it ends early: it was cut off, or a volume is missing"])
        return content

    def _piece(self, size: int) -> bytes:
        """Fewer bytes only at the end."""
        try:
            return self.stream.read(size) if size else b""
        except (zstandard.ZstdError, zlib.error, gzip.BadGzipFile, EOFError) as error:
            raise BundleRefused([f"it cannot be unpacked: {error}"]) from error


def _unpacked(came: "io.BufferedReader[_Counted]") -> Stream:
    begun = came.peek(len(_ZSTD))
    if begun.startswith(_ZSTD):
        unpacking = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        return unpacking.stream_reader(came, read_size=PIECE_BYTES, read_across_frames=True)
    return gzip.GzipFile(fileobj=came) if begun.startswith(_GZIP) else came


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise BundleRefused(
            ["it is no tar of an OCI image layout: what should be a header is none"]
        ) from error


def _fact(content: bytes) -> tuple[bytes, bytes, bytes]:
    """The first ``length key=value`` of a pax header, and what is behind it."""
    match = _FACT.match(content)
    length = int(match[1]) if match else 0
    if match is None or not match.end() < length <= len(content) or content[length - 1 : length] != b"\n":
        raise BundleRefused(["a pax header cannot be read"])
    key, _, value = content[match.end() : length - 1].partition(b"=")
    return key, value, content[length:]


def _size(value: bytes) -> int:
    if not _WHOLE_NUMBER.fullmatch(value):
        raise BundleRefused(["a pax header says a size that is none"])
    return int(value)
