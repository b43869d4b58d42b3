"""Pulls as the catalog is given them: made-up charts, whole down to their digests."""

import json
from dataclasses import dataclass, replace

from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest, parse_manifest
from gateway.oci.media_types import HELM_CHART_LAYER, HELM_CONFIG, OCI_MANIFEST
from gateway.oci.target import Target
from gateway.store.rows import KeptManifest, TagRow

TARGET = Target.parse("charts.example.test/stable/redis")
OTHER = Target.parse("charts.example.test/other/redis")
NAME = str(TARGET)


@dataclass(frozen=True, slots=True)
class Sample:
    """A pull of one chart version, with the digests of what it holds."""

    row: TagRow
    kept: KeptManifest
    config: Digest
    layer: Digest

    @property
    def digest(self) -> Digest:
        return self.kept.manifest.digest


def sample(
    version: str = "1.2.3",
    target: Target = TARGET,
    content: bytes = b"",
    subject: Digest | None = None,
    kept_at: float = 1000.0,
) -> Sample:
    config, layer = b'{"name":"redis"}' + content, b"archive " + version.encode() + content
    members: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(HELM_CONFIG, config),
        "layers": [_descriptor(HELM_CHART_LAYER, layer)],
        "annotations": {"org.opencontainers.image.version": version},
    }
    if subject is not None:
        members["subject"] = {"mediaType": OCI_MANIFEST, "digest": str(subject), "size": 7}
    manifest = Manifest.of(json.dumps(members).encode(), OCI_MANIFEST)
    row = TagRow(
        target=target,
        variant="plain",
        tag=version.replace("+", "_"),
        source="helm",
        digest=manifest.digest,
        version=version,
        is_exact=True,
        upstream_digest=Digest.of(layer),
        seen_digest=None,
        origin=f"https://{target.place}/redis-{version}.tgz",
        kept_at=kept_at,
        confirmed_at=kept_at,
    )
    sizes = {Digest.of(config): len(config), Digest.of(layer): len(layer)}
    kept = KeptManifest(manifest, parse_manifest(manifest.content, manifest.media_type), sizes)
    return Sample(row, kept, Digest.of(config), Digest.of(layer))


def retagged(made: Sample, tag: str) -> TagRow:
    return replace(made.row, tag=tag)


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}
