"""What we know of what we hold: manifests, tags, rights, names. Each method is one transaction."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from anyio import to_thread
from sqlalchemy import Connection

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.oci.target import Target
from gateway.store import catalog_reads as reads
from gateway.store import catalog_writes as writes
from gateway.store.engine import Engines
from gateway.store.generation import Generation
from gateway.store.rows import HeldRow, KeptManifest, TagRow

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Catalog:
    """The catalog in a SQL database; errors of the database are StorageFailed."""

    def __init__(self, engines: Engines, generation: Generation) -> None:
        self._engines = engines
        self.generation = generation

    async def find_tag(self, target: Target, variant: str, tag: str) -> TagRow | None:
        return await self._read(reads.find_tag, target, variant, tag)

    async def find_versions(self, target: Target, variant: str) -> list[TagRow]:
        """Every tag held of the target, newest kept first."""
        return await self._read(reads.find_versions, target, variant)

    async def find_manifest(self, target: Target, digest: Digest) -> Manifest | None:
        """A manifest that the target itself has shown, in whatever variant."""
        return await self._read(reads.find_manifest, target, digest)

    async def find_blob_size(self, target: Target, digest: Digest) -> int | None:
        """The size in bytes of a blob that the target's own source delivered."""
        return await self._read(reads.find_blob_size, target, digest)

    async def find_edge(self, target: Target, digest: Digest) -> Descriptor | None:
        """What a manifest of the target says about a blob that it names."""
        return await self._read(reads.find_edge, target, digest)

    async def find_tags_naming(self, target: Target, digest: Digest) -> list[TagRow]:
        """The tags whose manifest is this one, or names this blob."""
        return await self._read(reads.find_tags_naming, target, digest)

    async def find_referrers(self, target: Target, subject: Digest) -> list[Descriptor]:
        return await self._read(reads.find_referrers, target, subject)

    async def tags_of(self, target: Target) -> set[str]:
        """The versions held, as upstream spells them."""
        return await self._read(reads.tags_of, target)

    async def names(self) -> list[tuple[str, Target]]:
        """The names clients asked for, with the target each had, where something is held."""
        return await self._read(reads.names)

    async def held(self) -> list[HeldRow]:
        return await self._read(reads.held)

    async def keep(self, name: str, row: TagRow, kept: KeptManifest) -> None:
        """Keep a pull whole: blobs, manifest, edges, rights, the name asked for, and the tag last."""
        await self._write(writes.keep, name, row, kept)

    async def keep_untagged(self, row: TagRow, kept: KeptManifest) -> None:
        """Keep what ``row`` would name for those who ask by digest; the tag stays what it is."""
        await self._write(writes.keep_untagged, row, kept)

    async def keep_tag(self, name: str, row: TagRow) -> None:
        """Keep another tag of a manifest that is held already."""
        await self._write(writes.keep_tag, name, row)

    async def confirm_tag(self, row: TagRow, confirmed_at: float, seen_digest: Digest | None) -> None:
        """Note that upstream was asked: it still has the tag, at ``seen_digest`` where that is another."""
        await self._write(writes.confirm_tag, row, confirmed_at, seen_digest)

    async def _read(self, query: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        return await to_thread.run_sync(self._run_read, query, *arguments)

    async def _write(self, command: Callable[[Connection, *Ts], bool], *arguments: *Ts) -> None:
        await to_thread.run_sync(self._run_write, command, *arguments)

    def _run_read(self, query: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        with self._engines.reading() as connection:
            return query(connection, *arguments)

    def _run_write(self, command: Callable[[Connection, *Ts], bool], *arguments: *Ts) -> None:
        """Run a command; it says whether it changed what a memory cache may hold."""
        with self._engines.writing() as connection:
            changed = command(connection, *arguments)
        if changed:
            self.generation.advance()
