"""A catalog with charts and images in it, kept as a pull keeps them, and the desk that shows it."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sqlalchemy import delete, insert

from gateway.catalog_desk import CatalogDesk
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest, parse_manifest
from gateway.oci.media_types import HELM_CHART_LAYER, HELM_CONFIG, OCI_IMAGE_INDEX, OCI_MANIFEST
from gateway.oci.target import Target
from gateway.store.blobs import keep_bytes
from gateway.store.catalog_search import CatalogSearch
from gateway.store.data_dir import DataDir
from gateway.store.rows import KeptManifest, TagRow
from gateway.store.storage import Storage, open_storage
from gateway.store.tables import tags as tag_table
from tests.fakes.charts import chart_yaml_of, make_chart

HOST = "charts.example.test"
ARGO = f"{HOST}/argo/argo-cd"
NOW = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class CatalogHouse:
    storage: Storage
    desk: CatalogDesk

    async def keep(
        self,
        name: str,
        tag: str,
        document: Mapping[str, object],
        *,
        target: str = "",
        seen: str = "",
        variant: str = "plain",
    ) -> Digest:
        """Keep a manifest under a tag, as the Helm source gave it."""
        row, kept = _pulled(name, tag, document, target=target, seen=seen, variant=variant)
        await self.storage.catalog.keep(name, row, kept)
        return row.digest

    async def keep_text(
        self, name: str, tag: str, document: Mapping[str, object], *, replacing: str
    ) -> Digest:
        """An image index whose first platform is written as ``replacing`` says."""
        row, kept = _pulled(name, tag, document)
        platform = json.dumps({"os": "PLATFORM", "architecture": "x"}).encode()
        assert platform in kept.manifest.content
        content = kept.manifest.content.replace(platform, replacing.encode())
        manifest = Manifest.of(content, kept.manifest.media_type)
        row = replace(row, digest=manifest.digest)
        await self.storage.catalog.keep(name, row, replace(kept, manifest=manifest))
        return manifest.digest

    async def keep_many(self, name: str, document: Mapping[str, object], tags: Sequence[str]) -> None:
        """One manifest under many tags."""
        await self.keep(name, "first", document)
        row, _ = _pulled(name, "first", document)
        with self.storage.engines.writing() as connection:
            connection.execute(delete(tag_table))
            connection.execute(insert(tag_table), [_columns(replace(row, tag=tag)) for tag in tags])

    async def keep_chart(
        self,
        name: str,
        version: str,
        files: Mapping[str, bytes] | None = None,
        *,
        target: str = "",
        **chart_yaml: object,
    ) -> Digest:
        archive = make_chart(name.rpartition("/")[2], version, files, **chart_yaml)
        return await self.keep_archive(name, version, archive, target=target)

    async def keep_archive(self, name: str, version: str, archive: bytes, *, target: str = "") -> Digest:
        return await self.keep(
            name, version.replace("+", "_"), await self.chart_manifest(archive), target=target
        )

    async def chart_manifest(self, archive: bytes, config: bytes | None = None) -> Mapping[str, object]:
        """The manifest of a chart whose parts are held from now on."""
        described = json.dumps(chart_yaml_of(archive)).encode() if config is None else config
        return {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": await self._descriptor(described, HELM_CONFIG),
            "layers": [await self._descriptor(archive, HELM_CHART_LAYER)],
        }

    async def _descriptor(self, content: bytes, media_type: str) -> Mapping[str, object]:
        digest = await keep_bytes(self.storage.blobs, content)
        return {"mediaType": media_type, "digest": str(digest), "size": len(content)}


def _pulled(
    name: str,
    tag: str,
    document: Mapping[str, object],
    *,
    target: str = "",
    seen: str = "",
    variant: str = "plain",
) -> tuple[TagRow, KeptManifest]:
    content = json.dumps(document).encode()
    manifest = Manifest.of(content, str(document["mediaType"]))
    parsed = parse_manifest(content, manifest.media_type)
    place = Target.parse(target or name)
    row = TagRow(
        target=place,
        variant=variant,
        tag=tag,
        source="helm",
        digest=manifest.digest,
        version=tag.replace("_", "+"),
        is_exact=True,
        upstream_digest=None,
        seen_digest=Digest.parse(seen) if seen else None,
        origin=f"https://{place}-{tag}.tgz",
        kept_at=NOW,
        confirmed_at=NOW,
    )
    sizes = {edge.descriptor.digest: edge.descriptor.size for edge in parsed.edges}
    return row, KeptManifest(manifest, parsed, sizes)


def _columns(row: TagRow) -> dict[str, object]:
    return {**asdict(row), "target": str(row.target), "digest": str(row.digest)}


def image_of(*layers: bytes) -> Mapping[str, object]:
    """An image none of whose parts is held."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _named(b"config", "application/vnd.oci.image.config.v1+json"),
        "layers": [_named(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers],
    }


def index_of(platforms: Mapping[str, Digest]) -> Mapping[str, object]:
    """An image index by ``os/architecture``."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_INDEX,
        "manifests": [_of_platform(platform, digest) for platform, digest in platforms.items()],
    }


def _of_platform(platform: str, digest: Digest) -> Mapping[str, object]:
    os, _, architecture = platform.partition("/")
    named = {"mediaType": OCI_MANIFEST, "digest": str(digest), "size": 500}
    return {**named, "platform": {"os": os, "architecture": architecture}}


def _named(content: bytes, media_type: str) -> Mapping[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


@asynccontextmanager
async def catalog_house(folder: Path, own_hosts: Sequence[str] = ()) -> AsyncIterator[CatalogHouse]:
    data_dir = DataDir(folder)
    data_dir.prepare()
    storage = open_storage(data_dir)
    try:
        desk = CatalogDesk(
            storage.catalog, CatalogSearch(storage.engines), storage.blobs, frozenset(own_hosts)
        )
        yield CatalogHouse(storage, desk)
    finally:
        await storage.close()
