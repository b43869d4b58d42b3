"""The members of a tar stream, one pass, in the dialects that Helm reads: ustar, PAX, GNU, V7.

An own small walker, since ``tarfile`` reads extended headers of any size, follows links and lets the last of
two equal members win. What counts as data follows Go's archive/tar, which is what Helm clients see.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from gateway.helm.gzip_stream import ArchiveError, GzipStream

MAX_MEMBERS = 20_000
MAX_FILE_SIZE = 5 * 1024 * 1024
MAX_EXTENDED_HEADER = 64 * 1024

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
_PAX_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=\0]+)=")
_PAX_SIZE = re.compile(rb"[0-9]{1,12}")
_WITHOUT_DATA = frozenset(b"123456")  # links, devices, folders, pipes: no data, whatever the size says


class Kind(Enum):
    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Member:
    """``size_bytes`` of data follow it in the stream; ``name`` as it stands in the archive."""

    name: bytes
    kind: Kind
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Header:
    name: bytes
    type_flag: int
    size_bytes: int


@dataclass(slots=True)
class _Extension:
    """What extended headers say of the member after them; of several that are alike the last counts."""

    name: bytes | None = None
    size_bytes: int | None = None
    long_name: bytes | None = None

    def forget(self) -> None:
        self.name = self.size_bytes = self.long_name = None


class TarMembers:
    """Iterate to get the members; between two of them ``read()`` gives the data of the last one."""

    def __init__(self, stream: GzipStream) -> None:
        self._stream = stream
        self._left = 0  # of the current member's data
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        count = 0
        extension = _Extension()
        while (header := self._next_header()) is not None:
            if self._extends(header, extension):
                continue
            count += 1
            if count > MAX_MEMBERS:
                raise ArchiveError(f"the archive has more than {MAX_MEMBERS} members")
            yield self._member(header, extension)
            extension = _Extension()

    def read(self) -> bytes:
        """Return all data of the current member, at most MAX_FILE_SIZE."""
        content = self._stream.read(self._left)
        if len(content) < self._left:
            raise ArchiveError("the archive ends inside a member")
        self._left = 0
        return content

    def _next_header(self) -> _Header | None:
        self._stream.skip(self._left + self._padding)
        block = self._stream.read(_BLOCK)
        if block == _ZEROS:
            block = self._stream.read(_BLOCK)
            if block not in (b"", _ZEROS):
                raise ArchiveError("data after the end of the tar archive")
            return None
        if not block:
            return None
        header = _parse_header(block)
        self._expect(0 if header.type_flag in _WITHOUT_DATA else header.size_bytes)
        return header

    def _expect(self, size_bytes: int) -> None:
        if size_bytes > MAX_FILE_SIZE:
            raise ArchiveError(f"a file of {size_bytes} bytes; at most {MAX_FILE_SIZE} are allowed")
        self._left = size_bytes
        self._padding = -size_bytes % _BLOCK

    def _extends(self, header: _Header, extension: _Extension) -> bool:
        """Read a header that only describes others; False for a member proper."""
        match chr(header.type_flag):
            case "x":
                _apply_pax(self._extended_header(), extension)
            case "L":
                extension.long_name = self._extended_header().partition(b"\0")[0]
            case "K":
                self._extended_header()
            case "g":
                self._extended_header()
                extension.forget()
            case "S":
                raise ArchiveError("a sparse file")
            case _:
                return False
        return True

    def _extended_header(self) -> bytes:
        if self._left > MAX_EXTENDED_HEADER:
            raise ArchiveError(f"an extended header of more than {MAX_EXTENDED_HEADER} bytes")
        return self.read()

    def _member(self, header: _Header, extension: _Extension) -> Member:
        name = extension.long_name or extension.name or header.name
        kind = _kind(header.type_flag, name)
        if extension.size_bytes is not None and header.type_flag not in _WITHOUT_DATA:
            self._expect(extension.size_bytes)
        return Member(name, kind, self._left)


def _kind(type_flag: int, name: bytes) -> Kind:
    match chr(type_flag):
        case "\0":  # V7 has no type for folders
            return Kind.FOLDER if name.endswith(b"/") else Kind.FILE
        case "0":
            return Kind.FILE
        case "5":
            return Kind.FOLDER
        case _:
            return Kind.OTHER


def _parse_header(block: bytes) -> _Header:
    if len(block) < _BLOCK:
        raise ArchiveError("the archive ends inside a header")
    unsigned = sum(block) - sum(block[148:156]) + 8 * 0x20  # the sum's own field counts as spaces
    checksum = _octal(block[148:156], "checksum")
    if checksum != unsigned and checksum != _signed(block, unsigned):
        raise ArchiveError("a tar header whose checksum is wrong: no tar archive, or a damaged one")
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    if prefix:
        name = prefix + b"/" + name
    return _Header(name, block[156], _octal(block[124:136], "size"))


def _signed(block: bytes, unsigned: int) -> int:
    """Return the sum as some old tars took it, over signed bytes."""
    high = sum(byte > 127 for byte in block[:148] + block[156:])
    return unsigned - 256 * high


def _octal(content: bytes, what: str) -> int:
    match = _OCTAL.fullmatch(content)
    if match is None:
        raise ArchiveError(f"a tar header whose {what} is no octal number: {content!r}")
    return int(match[1] or b"0", 8)


def _apply_pax(records: bytes, extension: _Extension) -> None:
    """Take path and size from ``length key=value`` records, refuse sparse files, ignore the rest."""
    extension.name = extension.size_bytes = None
    while records:
        key, value, records = _pax_record(records)
        if key.startswith(b"GNU.sparse"):
            raise ArchiveError("a sparse file")
        if key == b"path":
            extension.name = value
        elif key == b"size":
            if not _PAX_SIZE.fullmatch(value):
                raise ArchiveError(f"a PAX header whose size is no number: {value[:40]!r}")
            extension.size_bytes = int(value)


def _pax_record(records: bytes) -> tuple[bytes, bytes, bytes]:
    """Return key, value, and the records after this one."""
    match = _PAX_RECORD.match(records)
    length = int(match[1]) if match else 0
    if match is None or not match.end() < length <= len(records) or records[length - 1] != 0x0A:
        raise ArchiveError("a malformed PAX header")
    return match[2], records[match.end() : length - 1], records[length:]
