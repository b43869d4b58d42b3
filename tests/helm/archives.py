"""Chart archives for tests, block by block: also what no honest tool would write."""

import gzip
from io import BytesIO

from gateway.helm.archive import ChartFiles, read_chart_archive

CHART = b"apiVersion: v2\nname: demo\nversion: 1.2.3\n"
END = bytes(1024)
USTAR = b"ustar\x0000"
GNU = b"ustar  \x00"
V7 = bytes(8)


def member(
    name: bytes,
    content: bytes = b"",
    *,
    flag: bytes = b"0",
    size: bytes | None = None,
    magic: bytes = USTAR,
    prefix: bytes = b"",
) -> bytes:
    """Return a header with a right checksum, the content, and its padding."""
    size_field = b"%011o\0" % len(content) if size is None else size
    numbers = b"0000644\0" + b"0000000\0" * 2 + size_field + b"00000000000\0"
    block = name.ljust(100, b"\0") + numbers + b" " * 8 + flag + bytes(100) + magic + bytes(80) + prefix
    header = bytearray(block.ljust(512, b"\0"))
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % 512)


def pax(*records: tuple[str, str], flag: bytes = b"x") -> bytes:
    return member(b"PaxHeader", b"".join(map(_pax_record, records)), flag=flag)


def _pax_record(record: tuple[str, str]) -> bytes:
    text = b" %s=%s\n" % (record[0].encode(), record[1].encode())
    length = len(text)
    while len(b"%d" % length + text) != length:
        length = len(b"%d" % length + text)
    return b"%d" % length + text


def chart_yaml(content: bytes = CHART) -> bytes:
    return member(b"demo/Chart.yaml", content)


def tgz(*members: bytes, end: bytes = END) -> bytes:
    return gzip.compress(b"".join(members) + end, compresslevel=1, mtime=0)


def read(archive: bytes) -> ChartFiles:
    return read_chart_archive(BytesIO(archive))
