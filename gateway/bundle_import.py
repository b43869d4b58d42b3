"""Import a bundle: all of it is verified beside the store, then taken in one transaction, or nothing is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Final, TypeAlias

import structlog

from gateway.bundle import MAX_CONTENTS_BYTES
from gateway.bundle_checks import LAYOUT, BundleRefused, Entries, Entry, Stream
from gateway.bundle_judged import Judged, judge
from gateway.bundle_opening import Opening, contents_of, opening_of
from gateway.bundle_rules import RulesBrought, RulesImport
from gateway.bundle_signing import SignatureWrong, verify
from gateway.bundle_staging import Staging, open_staging
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.store.blobs import StorageFailed
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.disk import on_disk, settled
from gateway.store.engine import Engines
from gateway.store.eviction import Standing, standings
from gateway.store.import_rows import Fate, ImportBook, ImportedTag

log = structlog.get_logger(__name__)

Tell: TypeAlias = Callable[[int, int], None]

_BATCH: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """``public_key`` (PEM) is of the key that must have made the ``signature``.

    ``max_bytes`` is how much may be new. ``total_bytes`` is how long the stream is, 0 where nobody knows.
    ``actor`` is who imports.
    """

    is_dry: bool = False
    replaces: bool = False
    applies_rules: bool = False
    public_key: bytes | None = None
    signature: str | None = None
    max_bytes: int | None = None
    total_bytes: int = 0
    actor: str = "gateway import"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did, or in a dry run would do.

    ``version`` and ``made_at`` are those of the bundle, ``since`` is the one that it is the difference to.
    ``size_bytes`` is how much of blobs is new. ``rules`` is None where the bundle has none.
    """

    is_dry: bool
    version: str
    made_at: float
    since: str | None
    targets: int
    tags: Sequence[ImportedTag]
    manifests: int
    new_blobs: int
    held_blobs: int
    size_bytes: int
    rules: RulesBrought | None

    def tags_that_are(self, fate: Fate) -> Sequence[ImportedTag]:
        return [one for one in self.tags if one.fate is fate]

    @property
    def is_failure(self) -> bool:
        """Content is taken whole or not at all; its rules may be refused beside it."""
        return self.rules is not None and self.rules.failure is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """``root`` is the directory of ``blobs``; ``engines`` are ``DataDir.open_rule_engines``'s.

    ``key`` is where the public key lies, if it does, that every bundle must be signed with. ``copy`` copies a
    catalog that is a file. ``now`` gives seconds since the epoch.
    """

    root: Path
    blobs: DirectoryBlobs
    engines: Engines
    book: ImportBook
    rules: RulesImport
    key: Path
    max_blob_bytes: int
    copy: Callable[[], Awaitable[bool]] | None = None
    now: Callable[[], float] = time.time

    async def import_(
        self, stream: Stream, options: ImportOptions, tell: Tell = lambda _done, _total: None
    ) -> ImportReport:
        """Import what comes; ``stream`` is read, and ``tell`` called, in a thread.

        Raise BundleRefused, StorageFailed, ImportRunning; then nothing was changed. Whoever is cancelled
        waits until the thread has stopped: until the stream gives something, or raises.
        """
        stop = Event()
        running = asyncio.ensure_future(on_disk(self._import, stream, options, tell, stop))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            await settled(running)
            raise
        report = running.result()
        if self.copy is not None and not options.is_dry:
            await self.copy()
        return report

    def _import(self, stream: Stream, options: ImportOptions, tell: Tell, stop: Event) -> ImportReport:
        reading = _Reading(options, self._keys(options))
        reading.require_signature()
        with open_staging(self.root, self.blobs, options.max_bytes, stop) as staging:
            entries = Entries(stream, self.max_blob_bytes, lambda done: tell(done, options.total_bytes))
            for entry in entries:
                reading.take(entry, entries, staging)
            judged = reading.judged(staging, _Known(self.book, self.blobs), self.now())
            tags = self._foretell(judged, options) if options.is_dry else self._take(judged, staging, options)
            new = [digest for digest in judged.blobs if digest not in staging.held]
            report = _report(judged, tags, [staging.came[digest] for digest in new], is_dry=options.is_dry)
        return replace(report, rules=self._rules(judged, options))

    def _keys(self, options: ImportOptions) -> Sequence[bytes]:
        """All of them count: an option weakens nothing."""
        try:
            required = [self.key.read_bytes()]
        except FileNotFoundError:
            required = []
        except OSError as error:
            raise BundleRefused([f"the key {self.key} cannot be read: {error.strerror}"]) from error
        return required if options.public_key is None else [*required, options.public_key]

    def _foretell(self, judged: Judged, options: ImportOptions) -> Sequence[ImportedTag]:
        return self.book.foretell(judged.imported.holdings, replaces=options.replaces)

    def _take(self, judged: Judged, staging: Staging, options: ImportOptions) -> Sequence[ImportedTag]:
        """Bytes first: a crash between the two leaves files that nothing names, which are swept."""
        new = [digest for digest in judged.blobs if digest not in staging.held]
        try:
            staging.adopt(new)
            self._require_others(judged, frozenset(new))
            tags = self.book.write(judged.imported, self.now(), replaces=options.replaces)
        except BaseException:
            self._take_back(new)
            raise
        log.info("bundle_imported", made_at=judged.contents.made_at, tags=len(tags), new_blobs=len(new))
        return tags

    def _require_others(self, judged: Judged, new: frozenset[Digest]) -> None:
        """What the store had when it came may have been swept since; from now on it was used just now."""
        for digest, size_bytes in judged.imported.sizes.items():
            if digest not in new and self.blobs.use(digest) != size_bytes:
                raise StorageFailed(f"the store lost {digest} meanwhile: import the bundle again")

    def _take_back(self, digests: Sequence[Digest]) -> None:
        """Remove what was taken, unless something names it by now; else it is swept as what nothing names."""
        for start in range(0, len(digests), _BATCH):
            with suppress(StorageFailed, OSError):
                named = self.engines.read(standings, digests[start : start + _BATCH])
                for digest, standing in named.items():
                    if standing is Standing.UNNAMED:
                        self.blobs.remove(digest)

    def _rules(self, judged: Judged, options: ImportOptions) -> RulesBrought | None:
        if judged.rules is None:
            return None
        if not options.applies_rules:
            return self.rules.look(judged.rules)
        if options.is_dry:
            return self.rules.foretell(judged.rules)
        return self.rules.apply(judged.rules, options.actor, "from a bundle")


@dataclass(frozen=True, slots=True)
class _Known:
    """What is held here already, by rows and by files."""

    book: ImportBook
    blobs: DirectoryBlobs

    def manifests(self, digests: Iterable[Digest]) -> Iterator[Manifest]:
        return self.book.manifests(digests)

    def owners(self, digests: Iterable[Digest]) -> Mapping[Digest, frozenset[str]]:
        return self.book.owners(digests)

    def private_targets(self) -> frozenset[str]:
        return self.book.private_targets()

    def size(self, blob: Digest) -> int | None:
        return self.blobs.use(blob)


@dataclass(slots=True)
class _Reading:
    """What is known of a bundle while it comes; its entries may be in any order."""

    options: ImportOptions
    keys: Sequence[bytes]
    layout: bytes | None = None
    index: bytes | None = None
    opening: Opening | None = None
    manifests: frozenset[str] | None = None

    def require_signature(self) -> None:
        if self.keys and self.options.signature is None:
            raise BundleRefused(["it has no signature, and only signed ones are taken here"])

    def take(self, entry: Entry, entries: Entries, staging: Staging) -> None:
        if entry.digest is not None:
            is_read = self._is_read_again(entry.digest)
            is_kept = is_read or not self.options.is_dry or self._may_be_read(entry)
            staging.take(entry, entry.digest, entries, is_kept=is_kept, is_read=is_read)
        elif entry.name == LAYOUT:
            self.layout = entries.read_all()
        else:
            self.index = entries.read_all()
            self._verify(self.index)
        self._look_for_contents(staging)

    def judged(self, staging: Staging, known: _Known, now: float) -> Judged:
        return judge(self.layout, self.index, staging, known, now=now, faults=staging.faults)

    def _is_read_again(self, digest: Digest) -> bool:
        """As far as is known by now."""
        if self.manifests is None or self.opening is None:
            return False
        return str(digest) in self.manifests or digest in self.opening.own

    def _may_be_read(self, entry: Entry) -> bool:
        """In a dry run only what has to be read again is written."""
        return self.manifests is None and entry.size_bytes <= MAX_CONTENTS_BYTES

    def _look_for_contents(self, staging: Staging) -> None:
        if self.index is None or self.manifests is not None:
            return
        if self.opening is None:
            self.opening = opening_of(self.index, staging)
        contents = None if self.opening is None else contents_of(self.opening, staging)
        if contents is not None:
            self.manifests = frozenset(one.digest for one in contents.contents if one.media_type)

    def _verify(self, index: bytes) -> None:
        try:
            for key in self.keys:
                verify(key, index, self.options.signature or "")
        except SignatureWrong as error:
            raise BundleRefused([str(error)]) from error


def _report(
    judged: Judged, tags: Sequence[ImportedTag], new_bytes: Sequence[int], *, is_dry: bool
) -> ImportReport:
    contents = judged.contents
    return ImportReport(
        is_dry=is_dry,
        version=contents.version,
        made_at=contents.made_at,
        since=contents.since,
        targets=len(contents.targets),
        tags=tags,
        manifests=len(judged.imported.named),
        new_blobs=len(new_bytes),
        held_blobs=len(judged.blobs) - len(new_bytes),
        size_bytes=sum(new_bytes),
        rules=None,
    )
