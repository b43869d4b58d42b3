"""Artifacts of every kind that registries hold, made in memory; the same arguments give the same bytes."""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.oci.digest import Digest
from gateway.oci.media_types import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    HELM_CHART_LAYER,
    HELM_CONFIG,
    HELM_PROVENANCE_LAYER,
    OCI_IMAGE_INDEX,
    OCI_MANIFEST,
)
from tests.fakes.charts import chart_yaml_of

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"
COSIGN_PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
COSIGN_ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
PLATFORMS = ("linux/amd64", "linux/arm64")

Members = dict[str, object]


class Pushable(Protocol):
    """A registry that takes pushes by method calls."""

    def push(self, name: str, tag: str | None, manifest: bytes, media_type: str) -> Digest: ...

    def put_blob(self, name: str, content: bytes) -> Digest: ...


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest, the blobs it names, config first, and the manifests that an image index names."""

    manifest: bytes
    media_type: str
    blobs: tuple[bytes, ...] = ()
    parts: tuple["Artifact", ...] = ()

    @property
    def digest(self) -> Digest:
        return Digest.of(self.manifest)

    @property
    def members(self) -> Members:
        """The manifest, read anew."""
        members: Members = json.loads(self.manifest)
        return members

    def descriptor(self, **more: object) -> Members:
        return _descriptor(self.media_type, self.manifest, **more)

    def push_to(self, registry: Pushable, name: str, tag: str | None = None) -> Digest:
        """Publish it, with all that it names."""
        for blob in self.blobs:
            registry.put_blob(name, blob)
        for part in self.parts:
            part.push_to(registry, name)
        return registry.push(name, tag, self.manifest, self.media_type)

    def changed(self, **members: object) -> "Artifact":
        """The same with other members in its manifest; None takes one out."""
        kept = {name: value for name, value in {**self.members, **members}.items() if value is not None}
        return Artifact(_dump(kept), self.media_type, self.blobs, self.parts)


@dataclass(frozen=True, slots=True)
class _Kinds:
    """The media types of one family of images."""

    manifest: str
    index: str
    config: str
    layer: str


_OCI = _Kinds(OCI_MANIFEST, OCI_IMAGE_INDEX, OCI_CONFIG, OCI_LAYER)
_DOCKER = _Kinds(DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, DOCKER_CONFIG, DOCKER_LAYER)


@dataclass(frozen=True, slots=True)
class Images:
    """Builds images of one family: ``OCI``, or its Docker schema 2 twin ``DOCKER``."""

    kinds: _Kinds = field(repr=False)

    def image(self, *layers: int | bytes, platform: str = "linux/amd64", seed: str = "image") -> Artifact:
        """An image with layers of these contents, or sizes in bytes; ``seed`` tells one from another."""
        contents = [
            layer if isinstance(layer, bytes) else content_of(f"{seed}/{platform}/{place}", layer)
            for place, layer in enumerate(layers)
        ]
        system, _, architecture = platform.partition("/")
        config = _dump(
            {
                "architecture": architecture,
                "os": system,
                "config": {"Labels": {"seed": seed}},
                "rootfs": {
                    "type": "layers",
                    "diff_ids": [str(Digest.of(_unpacked(content))) for content in contents],
                },
            }
        )
        described = [_descriptor(self.kinds.layer, content) for content in contents]
        return _artifact(self.kinds.manifest, (self.kinds.config, config), contents, described)

    def image_index(
        self, *layers: int | bytes, platforms: Sequence[str] = PLATFORMS, seed: str = "image"
    ) -> Artifact:
        """An image index: for each platform an image with these layers."""
        images = [self.image(*layers, platform=platform, seed=seed) for platform in platforms]
        described = [
            image.descriptor(platform=dict(zip(("os", "architecture"), platform.split("/"), strict=True)))
            for image, platform in zip(images, platforms, strict=True)
        ]
        return index_of_all(described, tuple(images), self.kinds.index)


OCI = Images(_OCI)
DOCKER = Images(_DOCKER)


def index_of_all(
    descriptors: Sequence[Members], parts: tuple[Artifact, ...] = (), media_type: str = OCI_IMAGE_INDEX
) -> Artifact:
    """An image index of what these descriptors say."""
    members = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(descriptors)}
    return Artifact(_dump(members), media_type, (), parts)


def helm_artifact(archive: bytes, provenance: bytes | None = None) -> Artifact:
    """The artifact that ``helm push`` makes of a chart archive."""
    metadata = chart_yaml_of(archive)
    layers = [(HELM_CHART_LAYER, archive)]
    if provenance is not None:
        layers.append((HELM_PROVENANCE_LAYER, provenance))
    annotations = {
        f"org.opencontainers.image.{name}": str(metadata[key])
        for name, key in (("description", "description"), ("title", "name"), ("version", "version"))
        if key in metadata
    }
    described = [_descriptor(media_type, content) for media_type, content in layers]
    contents = [content for _, content in layers]
    made = _artifact(OCI_MANIFEST, (HELM_CONFIG, _dump(metadata)), contents, described)
    return made.changed(
        annotations={**annotations, "org.opencontainers.image.created": "2024-05-06T07:08:09Z"}
    )


def signature_of(subject: Artifact, signature: str = "MEUCIQ==") -> Artifact:
    """A signature that refers to its subject, as cosign makes one for registries with the referrers API."""
    made = _signature(subject, signature)
    return made.changed(artifactType=COSIGN_ARTIFACT, subject=subject.descriptor())


def signature_by_tag(subject: Artifact, signature: str = "MEUCIQ==") -> tuple[str, Artifact]:
    """The older way: a tag made of the subject's digest, and the signature under it."""
    return f"{tag_of(subject.digest)}.sig", _signature(subject, signature)


def attestation_of(subject: Artifact, predicate: Mapping[str, object] | None = None) -> Artifact:
    """An in-toto statement about its subject, which it refers to."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "it", "digest": {"sha256": subject.digest.hex}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": dict(predicate or {}),
    }
    return attached(subject, IN_TOTO, _dump(statement))


def attached(subject: Artifact, artifact_type: str, content: bytes, **annotations: str) -> Artifact:
    """What ``oras attach`` makes: any content that refers to a subject."""
    described = _descriptor(artifact_type, content)
    made = _artifact(OCI_MANIFEST, (EMPTY_CONFIG, b"{}"), [content], [described])
    return made.changed(
        artifactType=artifact_type, subject=subject.descriptor(), annotations=annotations or None
    )


def referrers_index(*referrers: Artifact) -> Artifact:
    """What a client keeps under ``tag_of(subject)`` in a registry without the referrers API."""
    described = []
    for referrer in referrers:
        members = referrer.members
        optional = {name: members[name] for name in ("artifactType", "annotations") if name in members}
        described.append(referrer.descriptor(**optional))
    return index_of_all(described)


def tag_of(digest: Digest) -> str:
    """The tag schema of the distribution specification."""
    return f"{digest.algorithm}-{digest.hex}"


def content_of(seed: str, size: int) -> bytes:
    """So many bytes that do not compress, always the same for a seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


def _unpacked(layer: bytes) -> bytes:
    """The tar inside, where there is one; made-up content is nothing more than it is."""
    return gzip.decompress(layer) if layer.startswith(b"\x1f\x8b") else layer


def _signature(subject: Artifact, signature: str) -> Artifact:
    payload = _dump(
        {
            "critical": {
                "identity": {"docker-reference": ""},
                "image": {"docker-manifest-digest": str(subject.digest)},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    )
    layer = _descriptor(
        COSIGN_PAYLOAD, payload, annotations={"dev.cosignproject.cosign/signature": signature}
    )
    return _artifact(OCI_MANIFEST, (OCI_CONFIG, b"{}"), [payload], [layer])


def _artifact(
    media_type: str, config: tuple[str, bytes], contents: Sequence[bytes], layers: Sequence[Members]
) -> Artifact:
    members = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _descriptor(*config),
        "layers": list(layers),
    }
    return Artifact(_dump(members), media_type, (config[1], *contents))


def _descriptor(media_type: str, content: bytes, **more: object) -> Members:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


def _dump(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()
