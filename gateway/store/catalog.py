"""What we know of what we hold: manifests, tags, rights, names. Each method is one transaction."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeVar, TypeVarTuple

from sqlalchemy import Connection

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.oci.target import Target
from gateway.store import catalog_reads as reads
from gateway.store import catalog_writes as writes
from gateway.store import eviction, private_targets, tag_lists, tag_targets
from gateway.store.engine import Engines
from gateway.store.eviction import Standing
from gateway.store.generation import Generation
from gateway.store.rows import (
    HeldRow,
    KeptManifest,
    KnownRegistry,
    NamedBlob,
    NewTagList,
    Right,
    TagList,
    TagRow,
)
from gateway.store.unwritten import Unwritten

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_NOTHING_TOLD: Final[Mapping[str, float]] = MappingProxyType({})


class Catalog:
    """The catalog in a SQL database; errors of the database are StorageFailed."""

    def __init__(self, engines: Engines | Unwritten, generation: Generation) -> None:
        self._rows = engines
        self.generation = generation

    @property
    def is_all_seen(self) -> bool:
        """Whether reads see all rows there are; not where some wait in the memory of another worker."""
        return self._rows.is_all_seen

    async def find_tags(self, target: Target, variant: str, tag: str) -> list[TagRow]:
        """The tag as each source gave it."""
        return await self._read(reads.find_tags, target, variant, tag)

    async def find_versions(self, target: Target, variant: str, version: str | None = None) -> list[TagRow]:
        """Every tag held of the target, or of one version of it, newest kept first."""
        return await self._read(reads.find_versions, target, variant, version)

    async def find_manifest(self, target: Target, digest: Digest) -> Manifest | None:
        """A manifest that the target itself has shown, in whatever variant."""
        return await self._read(reads.find_manifest, target, digest)

    async def find_manifest_source(self, target: Target, digest: Digest) -> str | None:
        """The source that gave the target this manifest."""
        return await self._read(reads.find_manifest_source, target, digest)

    async def find_right(self, target: Target, digest: Digest) -> Right | None:
        """What is known of a blob that the target's own source delivered or confirmed."""
        return await self._read(reads.find_right, target, digest)

    async def find_owners(self, digest: Digest) -> list[Target]:
        """Targets that have the right to a blob or manifest; of very many some."""
        return await self._read(reads.find_owners, digest)

    async def find_named(self, target: Target, digest: Digest) -> list[NamedBlob]:
        """What the target's manifests say of a blob that they name, newest kept first."""
        return await self._read(reads.find_named, target, digest)

    async def find_tags_naming(self, target: Target, digest: Digest) -> list[TagRow]:
        """The tags whose manifest is this one, or names this blob."""
        return await self._read(reads.find_tags_naming, target, digest)

    async def find_referrers(self, target: Target, subject: Digest) -> list[Descriptor]:
        return await self._read(reads.find_referrers, target, subject)

    async def versions_of(self, target: Target) -> set[tuple[str, str]]:
        """The versions held, as upstream spells them, each with the source that gave it."""
        return await self._read(reads.versions_of, target)

    async def find_tag_list(self, target: Target, variant: str) -> list[TagList]:
        """The list of each source as it was last good."""
        return await self._read(tag_lists.find, target, variant)

    async def find_tag_times(self, target: Target) -> dict[str, float]:
        """Since when each listed tag is known to exist: created, or first seen here."""
        return await self._read(tag_lists.find_times, target)

    async def find_registry(self, place: str) -> KnownRegistry | None:
        """Whether a place is a registry, where that was learnt."""
        return await self._read(reads.find_registry, place)

    async def find_tag_target(self, name: str, tag: str) -> Target | None:
        """At which target a name's tag was first found, where its rule gives several."""
        return await self._read(tag_targets.find, name, tag)

    async def find_tag_targets(self, name: str) -> dict[str, Target]:
        """At which target each tag of a name was first found."""
        return await self._read(tag_targets.find_all, name)

    async def names(self) -> list[tuple[str, Target]]:
        """The names clients asked for, with the target each had, where something is held."""
        return await self._read(reads.names)

    async def holds_of(self, host: str) -> bool:
        """Whether anything was pulled from a target on this host."""
        return await self._read(reads.holds_of, host)

    async def held(self) -> list[HeldRow]:
        return await self._read(reads.held)

    async def names_at(self, target: Target) -> list[str]:
        """Names by which clients came to a target; of very many some."""
        return await self._rows.ask_written(eviction.names_at, target)

    async def standings(self, digests: Sequence[Digest]) -> Mapping[Digest, Standing]:
        """What each of some hundred blobs is here, but for Helm indexes."""
        return await self._rows.ask_written(eviction.standings, digests)

    async def kept_whatever_comes(self) -> frozenset[str]:
        """The digests that no quota evicts: Helm indexes, and all that is pinned."""
        return await self._rows.ask_written(eviction.kept_whatever_comes)

    async def known_since(self) -> float | None:
        """When the oldest name was learnt, in seconds since the epoch; None where there is none."""
        return await self._rows.ask_written(eviction.known_since)

    async def told_of(self, digest: Digest) -> list[str]:
        """``name:tag`` of what a blob belongs to; some of many."""
        return await self._rows.ask_written(eviction.told_of, digest)

    async def keep(self, name: str, row: TagRow, kept: KeptManifest, replaces: Digest | None = None) -> None:
        """Keep a pull whole: blobs, manifest, edges, rights, the name asked for, and the tag last."""
        await self._rows.run(
            lambda engines: self._run_write(engines, writes.keep, name, row, kept, replaces), kept.size_bytes
        )

    async def keep_untagged(self, row: TagRow, kept: KeptManifest) -> None:
        """Keep what ``row`` would name for those who ask by digest; the tag stays what it is."""
        await self._rows.run(
            lambda engines: self._run_write(engines, writes.keep_untagged, row, kept), kept.size_bytes
        )

    async def keep_tag(self, name: str, row: TagRow, replaces: Digest | None = None) -> None:
        """Keep another tag of a manifest that is held already.

        A tag that is held with other content is replaced only where that is ``replaces``; else somebody was
        quicker, and only what was seen upstream is noted.
        """
        await self._write(writes.keep_tag, name, row, replaces)

    async def note_private(self, target: Target, now: float) -> None:
        """Note that what this target holds came by credentials."""
        await self._write(private_targets.note, target, now)

    async def note_name(self, name: str, target: Target, now: float) -> None:
        """Note a name that led a client to a target; once noted it stays as it was."""
        await self._write(writes.note_name, name, target, now)

    async def keep_blob(  # noqa: PLR0917 (a right's columns, in their order)
        self, target: Target, variant: str, digest: Digest, size_bytes: int, source: str, kept_at: float
    ) -> None:
        """Keep that a source delivered or confirmed a blob, which gives the target the right to it.

        Not where no manifest of the target names it any more: that was purged meanwhile.
        """
        key, right = (target, variant, digest), Right(size_bytes, source)

        def keep(engines: Engines) -> None:
            command = writes.keep_blob if engines.is_part else writes.keep_named_blob
            self._run_write(engines, command, key, right, kept_at)

        await self._rows.run(keep)

    async def confirm_tag(
        self,
        row: TagRow,
        confirmed_at: float,
        seen_digest: Digest | None,
        upstream_digest: Digest | None = None,
    ) -> None:
        """Note that upstream was asked: it still has the tag, at ``seen_digest`` where that is another.

        ``upstream_digest``, where it is given, is what the source will be compared with from now on.
        """
        await self._write(writes.confirm_tag, row, confirmed_at, seen_digest, upstream_digest)

    async def drop_tag(self, target: Target, variant: str, tag: str) -> None:
        """Forget a tag of every source; what it named stays for those who ask by digest."""
        await self._write(writes.drop_tag, target, variant, tag)

    async def keep_tag_list(
        self, target: Target, variant: str, tag_list: TagList, created: Mapping[str, float] = _NOTHING_TOLD
    ) -> None:
        """Make ``tag_list`` the list of its source; ``created`` is when its tags were, as far as it says."""
        await self.keep_tag_lists([NewTagList(target, variant, tag_list, created)])

    async def keep_tag_lists(self, lists: Sequence[NewTagList]) -> None:
        """The same for several, in one transaction."""
        await self._write(tag_lists.keep, lists)

    async def keep_registry(self, place: str, is_registry: bool, learnt_at: float) -> None:
        await self._write(writes.keep_registry, place, KnownRegistry(is_registry, learnt_at))

    async def keep_tag_target(
        self, name: str, tag: str, target: Target, found_at: float, *, replaces: Target | None = None
    ) -> Target:
        """Keep at which target a name's tag was found; return the one that holds: whoever was first stays.

        Only one that is ``replaces`` gives way: the caller's rule names it no more.
        """
        return await self._rows.tell(tag_targets.keep, (name, tag), target, found_at, replaces)

    async def _read(self, query: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        return await self._rows.ask(query, *arguments)

    async def _write(self, command: Callable[[Connection, *Ts], bool], *arguments: *Ts) -> None:
        """Run a command; it says whether it changed what a memory cache may hold."""
        await self._rows.run(lambda engines: self._run_write(engines, command, *arguments))

    def _run_write(
        self, engines: Engines, command: Callable[[Connection, *Ts], bool], *arguments: *Ts
    ) -> None:
        def announced(connection: Connection) -> bool:
            changed = command(connection, *arguments)
            if changed:
                self.generation.announce(connection)
            return changed

        if engines.write(announced):
            self.generation.advance()
