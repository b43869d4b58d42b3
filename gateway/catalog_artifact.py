"""One artifact of the catalog with all that is known of it: parts, origins, what is attached to it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from anyio import to_thread

from gateway.catalog_shown import ArtifactDetail, ArtifactKind, AttachedShown, OriginShown, PartShown
from gateway.oci.digest import Digest
from gateway.oci.manifest import Edge, EdgeKind, Manifest, ManifestError, ParsedManifest, parse_manifest
from gateway.oci.media_types import DOCKER_MANIFEST_LIST, HELM_PROVENANCE_LAYER, OCI_IMAGE_INDEX
from gateway.oci.reference import Reference, Tag
from gateway.oci.target import Target
from gateway.rules.route import PLAIN
from gateway.store.blobs import BlobStore
from gateway.store.catalog import Catalog
from gateway.store.catalog_found import Beside
from gateway.store.catalog_search import CatalogSearch
from gateway.store.rows import TagRow

SHOWN_PARTS: Final = 100
_TITLE: Final = "org.opencontainers.image.title"
_IMAGE_CONFIGS: Final = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
_COSIGN_TAGS: Final = {".sig": "cosign signature", ".att": "cosign attestation", ".sbom": "SBOM"}
_ATTACHED_TYPES: Final = {  # what the artifact types of the field begin with
    "application/vnd.dev.sigstore.bundle": "sigstore signature",
    "application/vnd.dev.cosign.artifact.sig": "cosign signature",
    "application/vnd.cncf.notary.signature": "Notary signature",
    "application/vnd.in-toto": "attestation",
    "application/spdx": "SBOM",
    "application/vnd.cyclonedx": "SBOM",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest that is held, and the rows of the tag it was found by, if it was by one."""

    reference: Reference
    target: Target
    manifest: Manifest
    rows: Sequence[TagRow] = ()
    variant: str = PLAIN.value
    variants: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Read:
    """What a manifest says; ``platforms`` are of an image index."""

    parsed: ParsedManifest
    platforms: Mapping[Digest, str]


class ArtifactReader:
    """Looks in the catalog and, for what is here, in the blob store; asks nobody else."""

    def __init__(self, catalog: Catalog, search: CatalogSearch, blobs: BlobStore) -> None:
        self._catalog = catalog
        self._search = search
        self._blobs = blobs

    async def find(self, targets: Sequence[Target], reference: Reference, variant: str) -> Found | None:
        for target in targets:
            if isinstance(reference, Tag):
                found = await self._by_tag(target, reference, variant)
            else:
                manifest = await self._catalog.find_manifest(target, reference)
                found = None if manifest is None else Found(reference, target, manifest)
            if found is not None:
                return found
        return None

    async def describe(self, name: str, targets: Sequence[Target], found: Found) -> ArtifactDetail:
        manifest = found.manifest
        read = await to_thread.run_sync(_read, manifest)
        parsed = read.parsed
        encoded = f"{manifest.digest.algorithm}-{manifest.digest.hex}"
        named = [encoded + ending for ending in _COSIGN_TAGS]
        beside = await self._search.beside(found.target, manifest.digest, str(found.reference), named)
        parts = await self._parts(found.target, read)
        chart_layer = parsed.chart_layer
        return ArtifactDetail(
            name=name,
            reference=str(found.reference),
            target=found.target,
            targets=targets,
            variant=found.variant,
            variants=found.variants,
            manifest=manifest,
            kind=_kind(parsed),
            artifact_type=parsed.artifact_type or "",
            annotations=parsed.annotations,
            parts=parts,
            part_count=len(parsed.edges),
            size_bytes=beside.size_bytes,
            held_bytes=sum(part.size_bytes for part in parts if part.is_held),
            tags=beside.tags,
            origins=[_origin(row) for row in found.rows],
            attached=[*_from_layers(parsed), *_from_beside(beside, found.target)],
            pinned=beside.pinned,
            pulls=beside.pulls,
            chart_layer=None if chart_layer is None else chart_layer.digest,
        )

    async def _by_tag(self, target: Target, tag: Tag, variant: str) -> Found | None:
        rows = await self._search.rows_of(target, tag.name)
        variants = list(dict.fromkeys(row.variant for row in rows))
        if not variant:
            variant = PLAIN.value if PLAIN.value in variants else next(iter(variants), "")
        chosen = sorted(
            (row for row in rows if row.variant == variant), key=lambda row: row.confirmed_at, reverse=True
        )
        for row in chosen:
            manifest = await self._catalog.find_manifest(target, row.digest)
            if manifest is not None:
                return Found(tag, target, manifest, chosen, variant, variants)
        return None

    async def _parts(self, target: Target, read: _Read) -> list[PartShown]:
        edges = read.parsed.edges[:SHOWN_PARTS]
        below = [edge.descriptor.digest for edge in edges if edge.kind is EdgeKind.MANIFEST]
        held = await self._search.among_held(target, below) if below else frozenset()
        return [await self._part(edge, read, held) for edge in edges]

    async def _part(self, edge: Edge, read: _Read, held: frozenset[str]) -> PartShown:
        descriptor = edge.descriptor
        if edge.kind is EdgeKind.MANIFEST:
            is_held = str(descriptor.digest) in held
        else:
            is_held = await self._blobs.size(descriptor.digest) is not None
        return PartShown(
            kind=edge.kind,
            media_type=descriptor.media_type,
            digest=descriptor.digest,
            size_bytes=descriptor.size,
            title=descriptor.annotations.get(_TITLE, ""),
            platform=read.platforms.get(descriptor.digest, ""),
            is_held=is_held,
        )


def _read(manifest: Manifest) -> _Read:
    """Nothing of what is no manifest any more, by the rules of today."""
    try:
        parsed = parse_manifest(manifest.content, manifest.media_type)
    except ManifestError:
        return _Read(ParsedManifest(manifest.media_type), {})
    return _Read(parsed, _platforms(manifest) if _is_index(parsed) else {})


def _is_index(parsed: ParsedManifest) -> bool:
    return parsed.media_type in (OCI_IMAGE_INDEX, DOCKER_MANIFEST_LIST)


def _platforms(manifest: Manifest) -> Mapping[Digest, str]:
    """``os/architecture/variant`` of each manifest that says so; the document was read strictly before."""
    platforms: dict[Digest, str] = {}
    for one in json.loads(manifest.content).get("manifests") or ():
        platform = one.get("platform")
        if isinstance(platform, dict):
            names = [platform.get(key) for key in ("os", "architecture", "variant")]
            platforms[Digest.parse(one["digest"])] = "/".join(str(part) for part in names if part)[:100]
    return platforms


def _kind(parsed: ParsedManifest) -> ArtifactKind:
    if parsed.is_helm_chart:
        return ArtifactKind.CHART
    if _is_index(parsed):
        return ArtifactKind.IMAGE_INDEX
    is_image = parsed.config is not None and parsed.config.media_type in _IMAGE_CONFIGS
    return ArtifactKind.IMAGE if is_image else ArtifactKind.OTHER


def _origin(row: TagRow) -> OriginShown:
    return OriginShown(
        source=row.source,
        origin=row.origin,
        version=row.version,
        digest=row.digest,
        upstream_digest=row.upstream_digest,
        seen_digest=row.seen_digest,
        kept_at=row.kept_at,
        confirmed_at=row.confirmed_at,
    )


def _from_layers(parsed: ParsedManifest) -> list[AttachedShown]:
    return [
        AttachedShown("Helm provenance", "a layer of this manifest", layer.digest, "", layer.size)
        for layer in parsed.layers
        if layer.media_type == HELM_PROVENANCE_LAYER
    ]


def _from_beside(beside: Beside, target: Target) -> list[AttachedShown]:
    by_tag = [
        AttachedShown(kind, "a tag beside it", digest, tag)
        for tag, digest in sorted(beside.named.items())
        for ending, kind in _COSIGN_TAGS.items()
        if tag.endswith(ending)
    ]
    referring = [
        AttachedShown(_told(one.artifact_type), "refers to it", one.digest, str(one.digest), one.size_bytes)
        for one in beside.referring
    ]
    return [*by_tag, *referring]


def _told(artifact_type: str) -> str:
    for beginning, told in _ATTACHED_TYPES.items():
        if artifact_type.startswith(beginning):
            return told
    return artifact_type or "artifact"
