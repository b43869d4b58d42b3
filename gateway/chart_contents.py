"""What is in a chart for people: its facts, its values.yaml, its README, out of the archive that is held."""

import io
import re
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from anyio import CapacityLimiter, from_thread, to_thread
from cachetools import LRUCache

from gateway.helm.archive import MAX_CHART_YAML, ArchiveError, ChartFiles
from gateway.helm.gzip_stream import GzipStream
from gateway.helm.metadata import ChartMetadata, MetadataError, parse_metadata
from gateway.helm.tar_members import Kind, TarMembers
from gateway.oci.digest import Digest
from gateway.store.blobs import BlobStore, OpenBlob, TransferBroken, read_whole

SHOWN_BYTES: Final = 256 * 1024  # of values.yaml and of README.md
_REMEMBERED: Final = 32  # each of a few MiB at most
_READ_AT_ONCE: Final = 2
PIECE_BYTES: Final = 256 * 1024
_CHART, _REQUIREMENTS, _VALUES, _README = b"chart.yaml", b"requirements.yaml", b"values.yaml", b"readme.md"
_FILES: Final = frozenset({_CHART, _REQUIREMENTS, _VALUES, _README})
_CONTROL: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]"
)  # and what turns text round


@dataclass(frozen=True, slots=True)
class TextShown:
    """A file as text, at most its first 256 KiB; ``size_bytes`` is of the whole."""

    text: str
    size_bytes: int

    @property
    def is_cut(self) -> bool:
        return self.size_bytes > SHOWN_BYTES


@dataclass(frozen=True, slots=True)
class ChartContents:
    """What is known of a chart. Where its archive is not held there are only facts, from its config.

    ``trouble`` says what could not be read, and why.
    """

    metadata: ChartMetadata | None = None
    values: TextShown | None = None
    readme: TextShown | None = None
    is_held: bool = False
    trouble: str = ""


class ChartReader:
    """Reads archives in threads, two at once; what was read is remembered for a while."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._threads = CapacityLimiter(_READ_AT_ONCE)
        self._read: LRUCache[Digest, ChartContents] = LRUCache(_REMEMBERED)

    async def of_layer(self, layer: Digest) -> ChartContents | None:
        """None where the layer is not held."""
        if (known := self._read.get(layer)) is not None:
            return known
        blob = await self._blobs.open(layer)
        if blob is None:
            return None
        try:
            stream = io.BufferedReader(BlobStream(blob), PIECE_BYTES)
            contents = await to_thread.run_sync(read_contents, stream, limiter=self._threads)
        except TransferBroken:
            return None
        finally:
            blob.close()
        self._read[layer] = contents
        return contents

    async def of_config(self, config: Digest, size_bytes: int) -> ChartContents:
        """The facts alone: a chart's config is its Chart.yaml as JSON."""
        if size_bytes > MAX_CHART_YAML:
            return ChartContents(trouble="the config is too large to be a chart's")
        content = await read_whole(self._blobs, config)
        if content is None:
            return ChartContents()
        return await to_thread.run_sync(_facts, ChartFiles(content), limiter=self._threads)


class BlobStream(io.RawIOBase):
    """A blob as a thread reads it; each piece is read by the event loop that the thread came from."""

    def __init__(self, blob: OpenBlob) -> None:
        super().__init__()
        self._blob = blob
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = from_thread.run(self._blob.read, self._offset, len(buffer))
        buffer[: len(piece)] = piece
        self._offset += len(piece)
        return len(piece)


def read_contents(stream: BinaryIO) -> ChartContents:
    """Read an archive, under the limits of all archives; what is odd about it is told, and the rest shown."""
    found: dict[bytes, bytes] = {}
    trouble = ""
    try:
        _collect(stream, found)
    except ArchiveError as error:
        trouble = f"the archive cannot be read to its end: {error}"
    facts = ChartContents(trouble="the archive has no Chart.yaml")
    if _CHART in found:
        facts = _facts(ChartFiles(found[_CHART], found.get(_REQUIREMENTS)))
    return replace(
        facts,
        values=_text(found.get(_VALUES)),
        readme=_text(found.get(_README)),
        is_held=True,
        trouble=trouble or facts.trouble,
    )


def _collect(stream: BinaryIO, found: dict[bytes, bytes]) -> None:
    """The files that count, of the chart's own folder, whatever its name; of equal ones the first."""
    members = TarMembers(GzipStream(stream))
    for member in members:
        path = [part for part in member.name.split(b"/")[1:] if part not in (b"", b".")]
        name = path[0].lower() if len(path) == 1 else b""
        if name not in _FILES or name in found or member.kind is not Kind.FILE:
            continue
        if name in (_CHART, _REQUIREMENTS) and member.size_bytes > MAX_CHART_YAML:
            continue
        found[name] = members.read()


def _facts(files: ChartFiles) -> ChartContents:
    try:
        return ChartContents(parse_metadata(files))
    except MetadataError as error:
        return ChartContents(trouble=f"no chart's metadata: {error}")


def _text(content: bytes | None) -> TextShown | None:
    if content is None:
        return None
    text = content[:SHOWN_BYTES].decode(errors="replace").replace("\r\n", "\n")
    return TextShown(_CONTROL.sub("\ufffd", text), len(content))
