"""A chart archive: the chart's own Chart.yaml out of a .tgz, in one pass, with nothing put on disk."""

import re
from dataclasses import dataclass
from typing import BinaryIO

from gateway.helm.gzip_stream import ArchiveError, GzipStream
from gateway.helm.tar_members import Kind, Member, TarMembers

__all__ = ["MAX_CHART_YAML", "ArchiveError", "ChartFiles", "read_chart_archive"]

MAX_CHART_YAML = 1024 * 1024
_CHART = b"Chart.yaml"
_REQUIREMENTS = b"requirements.yaml"
_DRIVE = re.compile(rb"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class ChartFiles:
    """The files that make a chart's metadata, as they stand in the archive."""

    chart: bytes
    requirements: bytes | None = None


def read_chart_archive(stream: BinaryIO) -> ChartFiles:
    """Read a .tgz to its end; raise ArchiveError for what is no intact, safe chart archive.

    Memory stays at a few MiB whatever the archive. Only files directly in the chart's folder count; the
    folder may have any name, also ``.``.
    """
    unzipped = GzipStream(stream)
    members = TarMembers(unzipped)
    found: dict[bytes, bytes] = {}
    for member in members:
        path = _path_in_chart(member)
        if path == _CHART or (path == _REQUIREMENTS and member.kind is Kind.FILE):
            if path in found:
                raise ArchiveError(f"the archive has two {path.decode()}")
            found[path] = _read(member, members)
    unzipped.drain()
    if _CHART not in found:
        raise ArchiveError("the archive has no Chart.yaml in its folder")
    return ChartFiles(found[_CHART], found.get(_REQUIREMENTS))


def _read(member: Member, members: TarMembers) -> bytes:
    if member.kind is not Kind.FILE:
        raise ArchiveError(f"{_shown(member.name)} is no regular file")
    if member.size_bytes > MAX_CHART_YAML:
        raise ArchiveError(f"{_shown(member.name)} has more than {MAX_CHART_YAML} bytes")
    return members.read()


def _path_in_chart(member: Member) -> bytes:
    """Return the member's path without its first element, whatever that is; refuse unsafe names."""
    name = member.name
    if b"\0" in name or b"\\" in name or name.startswith(b"/"):
        raise ArchiveError(f"{_shown(name)} is absolute, or has a backslash or NUL in it")
    elements = name.split(b"/")
    if b".." in elements or any(map(_DRIVE.fullmatch, elements[:2])):
        raise ArchiveError(f"{_shown(name)} leads out of the archive")
    path = [element for element in elements[1:] if element not in (b"", b".")]
    if member.kind is Kind.FILE and (not path or elements[1] == b""):
        raise ArchiveError(f"{_shown(name)} is outside the chart's folder")
    return b"/".join(path)


def _shown(name: bytes) -> str:
    return repr(name[:120].decode(errors="replace"))
