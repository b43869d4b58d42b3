"""A bundle as a tar: written, each blob hashed on its way; of an earlier bundle, its contents read."""

import sys
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from typing import Final, Protocol, TypeAlias, runtime_checkable

import zstandard

from gateway.bundle import MAX_CONTENTS_BYTES, Contents
from gateway.bundle_checks import INDEX, LAYOUT, BundleRefused, Entries, Stream
from gateway.bundle_opening import contents_of, opening_of
from gateway.oci.digest import Digest
from gateway.store.blob_places import NoPlainFile

_PIECE_BYTES: Final = 128 << 10  # what a processor has at hand: larger ones take longer
_THREADS: Final = 2
_BLOCK_BYTES: Final = tarfile.BLOCKSIZE
_LARGE_BYTES: Final = 8 << 30  # what a plain header cannot say
_LEVEL: Final = 3
_OWN_BLOBS: Final = 3  # of a bundle, before its contents are known: manifest, config, contents
_ZEROS: Final = bytes(_BLOCK_BYTES)

OpenBlob: TypeAlias = Callable[[Digest], FileIO | None]


class NoBundle(ValueError):
    """What was given is no bundle; the message says why."""


class ContentLost(Exception):
    """A blob is gone, or no more what its digest says."""

    def __init__(self, digest: Digest, what: str) -> None:
        super().__init__(f"{digest} {what}")
        self.digest = digest


class Sink(Protocol):
    """Takes the bytes in order; it may block, and raises what stops the export."""

    def write(self, content: memoryview, /) -> object: ...


@runtime_checkable
class Positioned(Sink, Protocol):
    """One that takes them in any order, too, from several threads."""

    def write_at(self, offset: int, content: memoryview, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the layout: its ``content``, or the blob to read it from."""

    name: str
    size_bytes: int
    content: bytes | None = None
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Earlier:
    """A bundle that was made before: the digest of its index.json, and what it has."""

    index: Digest
    contents: Contents


def blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def write_bundle(
    entries: Iterable[Entry], sink: Sink, open_blob: OpenBlob, tell: Callable[[int], None]
) -> None:
    """Write all of it; where the sink can, from several threads, each at entries of its own.

    ``tell`` gets the bytes that were written since it was last told; what it raises ends the work, as does
    what the sink raises. Raise ContentLost for a blob that is gone or damaged: what was written then is no
    bundle.
    """
    if isinstance(sink, Positioned):
        _write_at_once(entries, sink, open_blob, tell)
        return
    written = 0
    writer = _Writer(sink.write, open_blob, tell)
    for entry in entries:
        writer.write_entry(entry)
        written += room_of(entry)
    writer.write(_end(written))


def room_of(entry: Entry) -> int:
    """The bytes that it takes: header, content, padding."""
    header_bytes = _BLOCK_BYTES if entry.size_bytes < _LARGE_BYTES else len(_header(entry))
    return header_bytes + entry.size_bytes + -entry.size_bytes % _BLOCK_BYTES


def size_of(entries: Iterable[Entry]) -> int:
    """The bytes that ``write_bundle`` writes of these."""
    written = sum(map(room_of, entries))
    return written + len(_end(written))


def _write_at_once(
    entries: Iterable[Entry], sink: Positioned, open_blob: OpenBlob, tell: Callable[[int], None]
) -> None:
    """A thread reads, hashes and writes a blob: to another processor its bytes would take longer."""
    turn = threading.Lock()
    todo = _placed(entries)
    failures: list[BaseException] = []

    def work() -> None:
        while not failures:
            with turn:
                placed = next(todo, None)
            if placed is None:
                return
            offset, entry = placed
            write = _At(sink, offset).write
            try:
                writer = _Writer(write, open_blob, tell)
                writer.write(_end(offset)) if entry is None else writer.write_entry(entry)
            except BaseException as error:  # whatever it is, it is for who waits
                failures.append(error)

    threads = [threading.Thread(target=work, name="bundle-writer") for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _placed(entries: Iterable[Entry]) -> Iterator[tuple[int, Entry | None]]:
    """Each with its offset; none stands for the end."""
    offset = 0
    for entry in entries:
        yield offset, entry
        offset += room_of(entry)
    yield offset, None


class _At:
    """A part of a sink, written in order."""

    def __init__(self, sink: Positioned, offset: int) -> None:
        self._sink = sink
        self._offset = offset

    def write(self, content: memoryview) -> None:
        self._sink.write_at(self._offset, content)
        self._offset += len(content)


class _Writer:
    """Writes entries as a tar has them."""

    def __init__(
        self, write: Callable[[memoryview], object], open_blob: OpenBlob, tell: Callable[[int], None]
    ) -> None:
        self._write = write
        self._open_blob = open_blob
        self._tell = tell
        self._piece = memoryview(bytearray(_PIECE_BYTES))

    def write(self, content: bytes) -> None:
        self._give(memoryview(content))

    def write_entry(self, entry: Entry) -> None:
        self.write(_header(entry))
        if entry.content is not None:
            self.write(entry.content)
        elif entry.digest is not None:
            self._write_blob(entry.digest, entry.size_bytes)
        self.write(_ZEROS[: -entry.size_bytes % _BLOCK_BYTES])

    def _write_blob(self, digest: Digest, size_bytes: int) -> None:
        hasher = digest.hasher()
        left = size_bytes
        with self._opened(digest) as file:
            while left and (count := self._read(file, digest, left)):
                hasher.update(self._piece[:count])
                self._give(self._piece[:count])
                left -= count
            if left or self._read(file, digest, 1) or hasher.hexdigest() != digest.hex:
                raise ContentLost(digest, "is damaged")

    def _opened(self, digest: Digest) -> FileIO:
        try:
            file = self._open_blob(digest)
        except (OSError, NoPlainFile) as error:
            raise ContentLost(digest, f"cannot be read: {error}") from error
        if file is None:
            raise ContentLost(digest, "is gone")
        return file

    def _read(self, file: FileIO, digest: Digest, most_bytes: int) -> int:
        try:
            return file.readinto(self._piece[:most_bytes]) or 0
        except OSError as error:
            raise ContentLost(digest, f"cannot be read: {error.strerror}") from error

    def _give(self, content: memoryview) -> None:
        self._write(content)
        self._tell(len(content))


def _header(entry: Entry) -> bytes:
    """Plain ustar, always the same; before one of 8 GiB and more a pax header has the size."""
    header = tarfile.TarInfo(entry.name)
    header.size = entry.size_bytes
    return header.tobuf(tarfile.PAX_FORMAT)


def _end(written: int) -> bytes:
    end_bytes = 2 * _BLOCK_BYTES
    return bytes(end_bytes + -(written + end_bytes) % tarfile.RECORDSIZE)


class Compressed:
    """A sink before another: one zstd frame, the same for the same bytes. ``close`` writes its end."""

    def __init__(self, sink: Sink, threads: int) -> None:
        self._sink = sink
        self._chunks = zstandard.ZstdCompressor(level=_LEVEL, threads=threads).compressobj()

    def write(self, content: memoryview) -> None:
        self._write(self._chunks.compress(content))

    def close(self) -> None:
        self._write(self._chunks.flush())

    def _write(self, content: bytes) -> None:
        if content:
            self._sink.write(memoryview(content))


def read_earlier(stream: Stream) -> Earlier:
    """What a bundle has, which stands at its beginning; raise NoBundle."""
    try:
        return _read_earlier(Entries(stream, sys.maxsize))
    except BundleRefused as error:
        raise NoBundle("; ".join(error.faults)) from error


def _read_earlier(entries: Entries) -> Earlier:
    index: bytes | None = None
    beginning = _Beginning()
    for entry in entries:
        if entry.name == LAYOUT:
            entries.read_all()
        elif entry.name == INDEX:
            index = entries.read_all()
        elif index is None or entry.digest is None or len(beginning.came) == _OWN_BLOBS:
            break
        elif entry.size_bytes <= MAX_CONTENTS_BYTES:
            beginning.keep(entry.digest, entries.read_all())
            opening = opening_of(index, beginning)
            contents = opening and contents_of(opening, beginning)
            if contents:
                return Earlier(Digest.of(index), contents)
    raise NoBundle("its contents are not at its beginning: it was packed anew, or is no bundle of a gateway")


class _Beginning:
    """The first blobs, which are small."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, bytes] = {}
        self.came: dict[Digest, int] = {}

    def keep(self, digest: Digest, content: bytes) -> None:
        if not digest.is_of(content):
            raise NoBundle(f"{digest} in it is damaged")
        self._blobs[digest] = content
        self.came[digest] = len(content)

    def read(self, digest: Digest, _most_bytes: int = 0, /) -> bytes | None:
        return self._blobs.get(digest)
