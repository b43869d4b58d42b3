"""Export: what was selected, written as a bundle, whole or as the difference to earlier ones."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Event, Lock
from typing import Final, TypeAlias

import msgspec
import structlog

from gateway.bundle import (
    BUNDLE_ARTIFACT,
    CONTENTS_LAYER,
    FORMAT,
    MAX_CONTENTS_BYTES,
    MAX_INDEX_BYTES,
    REF_NAME,
    RULES_LAYER,
    BundledContent,
    Contents,
)
from gateway.bundle_checks import INDEX, LAYOUT
from gateway.bundle_difference import Difference, difference
from gateway.bundle_selection import Selected
from gateway.bundle_tar import (
    Compressed,
    ContentLost,
    Earlier,
    Entry,
    OpenBlob,
    Sink,
    blob_name,
    size_of,
    write_bundle,
)
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.media_types import OCI_IMAGE_INDEX, OCI_MANIFEST
from gateway.rules.masking import masked
from gateway.store.bundle_rows import MANIFESTS_AT_ONCE, BundleRows
from gateway.store.disk import in_thread, settled

log = structlog.get_logger(__name__)

Tell: TypeAlias = Callable[[int, int], None]

_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_NOTHING: Final = b"{}"
_EMPTY: Final = "application/vnd.oci.empty.v1+json"
_TOLD_BYTES: Final = 1 << 20
_THREADS: Final = 2  # that compress


class ExportFailed(Exception):
    """There is no bundle; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The bundle is the difference to all of ``earlier``, oldest first."""

    is_compressed: bool = False
    earlier: Sequence[Earlier] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """``index`` are the bytes of index.json, which a signature is over; sizes are in bytes.

    ``left_out`` is what an earlier bundle has, ``skipped`` what was not held whole.
    """

    index: bytes
    since: str | None
    targets: int
    tags: int
    manifests: int
    blobs: int
    size_bytes: int
    left_out: int
    left_out_bytes: int
    skipped: Sequence[str]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it, or nothing new."""
        return not self.targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """``rules`` gives the text of those in force; it may wait, as ``open_blob`` may."""

    rows: BundleRows
    open_blob: OpenBlob
    rules: Callable[[], bytes | None]
    version: str

    async def export(
        self,
        selected: Selected,
        sink: Sink,
        options: ExportOptions,
        tell: Tell = lambda _done, _total: None,
    ) -> Exported:
        """Write to ``sink``, from threads that may block on it; ``tell`` is called there too.

        Raise ExportFailed: what was written until then is no bundle. Whoever is cancelled waits until the
        threads have stopped: until the sink takes something, or raises.
        """
        stop = Event()
        work = in_thread(self._export, selected, sink, options, _Progress(tell, stop))
        running = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            await settled(running)
            raise
        except ContentLost as error:
            place = selected.places.get(error.digest, "what was selected")
            hint = "`gateway scrub` fetches anew what is damaged, then export again"
            raise ExportFailed(f"{place} cannot be exported: {error}; {hint}") from error
        except OSError as error:
            raise ExportFailed(f"the bundle cannot be written: {error.strerror or error}") from error

    def _export(
        self, selected: Selected, sink: Sink, options: ExportOptions, progress: "_Progress"
    ) -> Exported:
        chosen = difference(selected, [one.contents for one in options.earlier])
        since = str(options.earlier[-1].index) if options.earlier else None
        begin, index = self._begin(selected, chosen, since)
        taken = {entry.name for entry in begin}
        here = [one for one in chosen.contents if not one.is_left_out and _name(one) not in taken]
        sizes = [*begin, *(Entry(_name(one), one.size_bytes) for one in here)]
        progress.total_bytes = size_of(sizes)
        out = Compressed(sink, _THREADS) if options.is_compressed else None
        write_bundle(self._entries(begin, here), out or sink, self.open_blob, progress)
        if out is not None:
            out.close()
        log.info("exported", targets=len(chosen.targets), bytes=progress.total_bytes)
        return _report(selected, chosen, index, since)

    def _begin(
        self, selected: Selected, chosen: Difference, since: str | None
    ) -> tuple[Sequence[Entry], bytes]:
        """What stands before the contents, and index.json."""
        contents = msgspec.json.encode(
            Contents(FORMAT, self.version, selected.kept_at, since, chosen.targets, chosen.contents)
        )
        layers = [(CONTENTS_LAYER, contents)]
        rules = self.rules()
        if rules is not None:
            layers.append((RULES_LAYER, masked(rules.decode()).text.encode()))
        artifact = _artifact(layers)
        index = _index(selected, chosen, artifact)
        if len(index) > MAX_INDEX_BYTES or len(contents) > MAX_CONTENTS_BYTES:
            raise ExportFailed("it is too much for one bundle: export it in parts, by lists or references")
        blobs = {
            blob_name(Digest.of(one)): one for one in (artifact, _NOTHING, *(text for _, text in layers))
        }
        files = {LAYOUT: _LAYOUT, INDEX: index} | blobs
        return [Entry(name, len(content), content) for name, content in files.items()], index

    def _entries(self, begin: Iterable[Entry], here: Sequence[BundledContent]) -> Iterator[Entry]:
        """Manifests are read when their turn comes: together they may be large."""
        yield from begin
        manifests = [one for one in here if one.media_type]
        for start in range(0, len(manifests), MANIFESTS_AT_ONCE):
            batch = [Digest.parse(one.digest) for one in manifests[start : start + MANIFESTS_AT_ONCE]]
            contents = self.rows.contents(batch)
            for digest in batch:
                content = contents.get(digest, b"")
                if not digest.is_of(content):
                    raise ContentLost(digest, "is damaged" if content else "was purged meanwhile")
                yield Entry(blob_name(digest), len(content), content)
        for one in here:
            if not one.media_type:
                yield Entry(_name(one), one.size_bytes, digest=Digest.parse(one.digest))


class _Progress:
    """Counts what several threads write; tells now and then, and stops them once nobody wants it."""

    def __init__(self, tell: Tell, stop: Event) -> None:
        self._tell = tell
        self._stop = stop
        self._turn = Lock()
        self._done = self._told = 0
        self.total_bytes = 0

    def __call__(self, count: int) -> None:
        with self._turn:
            self._done += count
            if self._stop.is_set():
                raise ExportFailed("nobody wants it any more")
            if self._done - self._told >= _TOLD_BYTES or self._done == self.total_bytes:
                self._told = self._done
                self._tell(self._done, self.total_bytes)


def _name(one: BundledContent) -> str:
    return blob_name(Digest.parse(one.digest))


def _artifact(layers: Iterable[tuple[str, bytes]]) -> bytes:
    """Our own manifest, see image-spec, manifest.md, "Guidelines for Artifact Usage"."""
    return dump_compact(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": BUNDLE_ARTIFACT,
            "config": _described(_EMPTY, _NOTHING).to_json(),
            "layers": [_described(media_type, content).to_json() for media_type, content in layers],
        }
    )


def _index(selected: Selected, chosen: Difference, artifact: bytes) -> bytes:
    named = [(digest, name) for name, digest in chosen.references.items()]
    loose = [(digest, "") for digest in sorted(chosen.loose)]
    descriptors: list[Descriptor] = []
    for digest, name in (*named, *loose):
        manifest = selected.manifests[digest]
        annotations = {REF_NAME: name} if name else {}
        descriptors.append(Descriptor(manifest.media_type, digest, manifest.size_bytes, annotations))
    descriptors.append(replace(_described(OCI_MANIFEST, artifact), artifact_type=BUNDLE_ARTIFACT))
    manifests = [descriptor.to_json() for descriptor in descriptors]
    return dump_compact({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": manifests})


def _described(media_type: str, content: bytes) -> Descriptor:
    return Descriptor(media_type, Digest.of(content), len(content))


def _report(selected: Selected, chosen: Difference, index: bytes, since: str | None) -> Exported:
    here = [one for one in chosen.contents if not one.is_left_out]
    size_bytes = sum(one.size_bytes for one in here)
    all_bytes = sum(one.size_bytes for one in selected.manifests.values()) + sum(selected.blobs.values())
    return Exported(
        index=index,
        since=since,
        targets=len(chosen.targets),
        tags=sum(len(one.tags) for one in chosen.targets),
        manifests=sum(bool(one.media_type) for one in here),
        blobs=sum(not one.media_type for one in here),
        size_bytes=size_bytes,
        left_out=len(selected.manifests) + len(selected.blobs) - len(here),
        left_out_bytes=all_bytes - size_bytes,
        skipped=[str(one) for one in selected.skipped],
    )
