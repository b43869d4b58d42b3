"""A chart archive written again with other contents of some files, always in the same bytes.

The tar is the source's own, block by block, but for the size and content of those files. The gzip around it
has stored blocks only: what zlib compresses differs between its versions and builds, and a copy made again,
years later or by another replica, must have the digest that manifests name and clients have pinned. The
price is size, about eight times that of the source; where it would be much more, there is no copy, or a
source of zeros would fill the disk.
"""

import zlib
from collections.abc import Collection, Mapping
from io import SEEK_END, BytesIO
from typing import BinaryIO

from gateway.helm.archive import MAX_CHART_YAML
from gateway.helm.gzip_stream import MAX_COMPRESSED, ArchiveError, GzipStream
from gateway.helm.tar_members import Kind, Member, TarMembers

_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time, no operating system (RFC 1952)
_MAX_STORED = 0xFFFF
MAX_GROWTH = 40  # times the source
_SMALL = 2 * 1024 * 1024  # a copy that is always allowed
_TAR_BLOCK = 512
_TAR_END = bytes(2 * _TAR_BLOCK)


def read_files(archive: BinaryIO, paths: Collection[bytes]) -> dict[bytes, bytes]:
    """Return those of these files of the chart's folder that are there.

    Names are taken as they are: ``read_chart_archive`` is what refuses unsafe ones.
    """
    archive.seek(0)
    members = TarMembers(GzipStream(archive))
    found: dict[bytes, bytes] = {}
    for member in members:
        path = _path_in_chart(member)
        if path not in paths or member.kind is not Kind.FILE:
            continue
        if path in found:
            raise ArchiveError(f"the archive has two {path.decode()}")
        if member.size_bytes > MAX_CHART_YAML:
            raise ArchiveError(f"{path.decode()} has more than {MAX_CHART_YAML} bytes")
        found[path] = members.read()
    return found


def copy_with(archive: BinaryIO, contents: Mapping[bytes, bytes]) -> bytes:
    """Return the archive with these contents of files that it has; ArchiveError where that cannot be.

    Members keep order, names, modes, times and kinds; what stands behind the end of the tar is left out.
    """
    size_bytes = archive.seek(0, SEEK_END)
    archive.seek(0)
    source = _CopyingStream(archive)
    target = _StoredGzip(min(MAX_COMPRESSED, max(_SMALL, MAX_GROWTH * size_bytes)))
    members = TarMembers(source)
    old_padding = 0
    for member in members:
        passed = source.taken()[old_padding:]
        content = contents.get(_path_in_chart(member)) if member.kind is Kind.FILE else None
        if content is None:
            target.write(passed)
            old_padding = 0
            continue
        target.write(passed[:-_TAR_BLOCK] + _resized(passed[-_TAR_BLOCK:], len(content)))
        target.write(content + bytes(-len(content) % _TAR_BLOCK))
        old_padding = -len(members.read()) % _TAR_BLOCK
        source.taken()
    target.write(source.taken()[old_padding:] + _TAR_END)
    copied = target.close()
    if read_files(BytesIO(copied), contents) != contents:  # a PAX header gives a size of its own
        raise ArchiveError("the archive has a file that cannot be given another content")
    return copied


def _path_in_chart(member: Member) -> bytes:
    elements = member.name.split(b"/")[1:]
    return b"/".join(element for element in elements if element not in (b"", b"."))


def _resized(header: bytes, size: int) -> bytes:
    block = bytearray(header)
    block[124:136] = b"%011o\0" % size
    block[148:156] = b" " * 8  # the checksum counts its own field as blanks
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


class _CopyingStream(GzipStream):
    """Keeps what is read or passed over, until it is taken."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self._copy = bytearray()

    def read(self, size: int) -> bytes:
        content = super().read(size)
        self._copy += content
        return content

    def skip(self, size: int) -> None:
        if len(self.read(size)) < size:
            raise ArchiveError("the archive ends inside a member")

    def taken(self) -> bytes:
        copy, self._copy = bytes(self._copy), bytearray()
        return copy


class _StoredGzip:
    """One gzip member of stored blocks (RFC 1951 §3.2.4), each full but the last."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._target = BytesIO()
        self._target.write(_GZIP_HEADER)
        self._pending = bytearray()
        self._size = 0
        self._checksum = 0

    def write(self, content: bytes) -> None:
        self._checksum = zlib.crc32(content, self._checksum)
        self._size += len(content)
        self._pending += content
        while len(self._pending) > _MAX_STORED:
            self._put(0)
        if self._target.tell() > self._limit_bytes:
            raise ArchiveError(f"the archive written again has more than {self._limit_bytes} bytes")

    def close(self) -> bytes:
        self._put(1)
        self._target.write(self._checksum.to_bytes(4, "little") + self._size.to_bytes(4, "little"))
        return self._target.getvalue()

    def _put(self, is_last: int) -> None:
        block = self._pending[:_MAX_STORED]
        del self._pending[:_MAX_STORED]
        length = len(block)
        self._target.write(bytes((is_last,)) + length.to_bytes(2, "little"))
        self._target.write((length ^ 0xFFFF).to_bytes(2, "little"))
        self._target.write(block)
