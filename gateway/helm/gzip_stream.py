"""A gzip stream, inflated piece by piece under a limit: however small the archive, never much memory."""

import zlib
from typing import BinaryIO

MAX_COMPRESSED = 100 * 1024 * 1024
MAX_INFLATED = 100 * 1024 * 1024
_GZIP = 16 + zlib.MAX_WBITS  # zlib reads the header itself, and checks CRC and length at the end
_READ_SIZE = 64 * 1024
_PIECE_SIZE = 128 * 1024


class ArchiveError(ValueError):
    """The bytes are no chart archive that we accept; the message says why."""


class GzipStream:
    """Exactly one gzip member; what is not asked for costs no memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflater = zlib.decompressobj(_GZIP)
        self._piece = b""
        self._offset = 0
        self._compressed_size = 0
        self._inflated_size = 0

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes; fewer only where the stream ends."""
        end = self._offset + size
        if end <= len(self._piece):
            content = self._piece[self._offset : end]
            self._offset = end
            return content
        return self._read_across(size)

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes, or raise ArchiveError where the stream ends before."""
        while size > len(self._piece) - self._offset:
            size -= len(self._piece) - self._offset
            if not self._refill():
                raise ArchiveError("the archive ends inside a member")
        self._offset += size

    def drain(self) -> None:
        """Inflate what is left: only the end proves CRC and length, and that nothing follows."""
        while self._refill():
            pass
        if self._inflater.unused_data or self._stream.read(1):
            raise ArchiveError("data after the end of the gzip stream")

    def _read_across(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            if self._offset == len(self._piece) and not self._refill():
                break
            end = min(len(self._piece), self._offset + size - len(content))
            content += self._piece[self._offset : end]
            self._offset = end
        return bytes(content)

    def _refill(self) -> bool:
        """Put the next inflated piece in place; False at the verified end of the stream."""
        self._offset = 0
        self._piece = b"" if self._inflater.eof else self._inflate(self._inflater.unconsumed_tail)
        while not self._piece and not self._inflater.eof:
            self._piece = self._inflate(self._read_compressed())
        self._inflated_size += len(self._piece)
        if self._inflated_size > MAX_INFLATED:
            raise ArchiveError(f"the archive inflates to more than {MAX_INFLATED} bytes")
        return bool(self._piece)

    def _read_compressed(self) -> bytes:
        compressed = self._stream.read(_READ_SIZE)
        if not compressed:
            raise ArchiveError("the gzip stream is cut short")
        self._compressed_size += len(compressed)
        if self._compressed_size > MAX_COMPRESSED:
            raise ArchiveError(f"the archive has more than {MAX_COMPRESSED} bytes")
        return compressed

    def _inflate(self, compressed: bytes) -> bytes:
        try:
            return self._inflater.decompress(compressed, _PIECE_SIZE)
        except zlib.error as error:
            raise ArchiveError(f"no intact gzip stream: {error}") from error
