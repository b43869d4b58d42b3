"""Manifests and image indexes: read strictly, since two readers that differ are an attack."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.oci.decoding import Json, JsonError, Members, parse_json
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.errors import OciError
from gateway.oci.media_types import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    HELM_CHART_LAYERS,
    HELM_CONFIG,
    OCI_IMAGE_INDEX,
    OCI_MANIFEST,
)

MAX_SIZE_BYTES = 4 * 1024 * 1024
MAX_EDGES = 5_000  # each is a row of the catalog; the largest images have some hundred
_IMAGE_MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
_IMAGE_INDEXES = frozenset({OCI_IMAGE_INDEX, DOCKER_MANIFEST_LIST})
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_INT64 = 2**63 - 1
_MEMBERS = frozenset(
    {
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "manifests",
        "subject",
        "annotations",
        "digest",
        "size",
    }
)
_MEMBERS_BY_FOLDED_CASE = {name.casefold(): name for name in _MEMBERS}


class ManifestError(ValueError):
    """The bytes are no manifest that we keep; the message says why."""


class EdgeKind(StrEnum):
    """How a manifest refers to something that must be there with it."""

    CONFIG = "config"
    LAYER = "layer"
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class Edge:
    kind: EdgeKind
    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or image index as it is served: its bytes are never built again."""

    content: bytes = field(repr=False)
    media_type: str
    digest: Digest

    @classmethod
    def of(cls, content: bytes, media_type: str) -> "Manifest":
        return cls(content, media_type, Digest.of(content))


@dataclass(frozen=True, slots=True)
class ParsedManifest:
    """What a manifest says; ``edges`` in the order of the document, a config first.

    ``artifact_type`` is its own, else its config's media type, as the referrers API tells it. Members that
    could make us fetch or trust something else (``urls``, ``data``) are not read.
    """

    media_type: str
    edges: tuple[Edge, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Descriptor | None:
        return next((edge.descriptor for edge in self.edges if edge.kind is EdgeKind.CONFIG), None)

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        return tuple(edge.descriptor for edge in self.edges if edge.kind is EdgeKind.LAYER)

    @property
    def is_helm_chart(self) -> bool:
        """By its config, as Helm judges, whatever its artifactType says."""
        return self.config is not None and self.config.media_type == HELM_CONFIG

    @property
    def chart_layer(self) -> Descriptor | None:
        """The archive, where it is a Helm chart."""
        layers = self.layers if self.is_helm_chart else ()
        return next((layer for layer in layers if layer.media_type in HELM_CHART_LAYERS), None)


def parse_manifest(content: bytes, media_type: str | None) -> ParsedManifest:
    """Read a manifest or image index, or raise ManifestError.

    ``media_type`` is the Content-Type it came with. The document's own must be equal; where it has none
    (OCI allows that), the one it came with decides, and without either the members do.
    """
    members = _object(_read(content), "the document")
    if members.get("schemaVersion") != 2 or isinstance(members["schemaVersion"], float):
        raise ManifestError("schemaVersion is not 2")
    actual = _decide_media_type(members, media_type)
    edges = _index_edges(members) if actual in _IMAGE_INDEXES else _manifest_edges(members)
    return ParsedManifest(
        media_type=actual,
        edges=edges,
        subject=_descriptor(members["subject"], "subject") if members.get("subject") is not None else None,
        artifact_type=_media_type(members, "artifactType") or _config_media_type(edges),
        annotations=_annotations(members, "the document"),
    )


def image_index(descriptors: Iterable[Descriptor]) -> bytes:
    """An OCI image index of these, as the referrers API answers."""
    manifests = [descriptor.to_json() for descriptor in descriptors]
    return dump_compact({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": manifests})


def _read(content: bytes) -> Json:
    try:
        return parse_json(content, MAX_SIZE_BYTES)
    except JsonError as error:
        raise ManifestError(str(error)) from error


def _decide_media_type(members: Members, received: str | None) -> str:
    stated = _media_type(members, "mediaType")
    came_with = None if received is None else received.partition(";")[0].strip().lower()
    if stated and came_with and stated.lower() != came_with:
        raise ManifestError(f"it says it is {stated}, and came as {came_with}")
    guess = OCI_IMAGE_INDEX if "manifests" in members else OCI_MANIFEST
    actual = stated or came_with or guess
    if actual not in _IMAGE_MANIFESTS | _IMAGE_INDEXES:
        raise ManifestError(f"{actual[:100]!r} is no kind of manifest that is served here")
    return actual


def _manifest_edges(members: Members) -> tuple[Edge, ...]:
    if "manifests" in members:
        raise ManifestError("it has manifests, and is no image index")
    config = Edge(EdgeKind.CONFIG, _descriptor(members.get("config"), "config"))
    return (config, *_edges(members, "layers", EdgeKind.LAYER))


def _index_edges(members: Members) -> tuple[Edge, ...]:
    if "layers" in members or "config" in members:
        raise ManifestError("it is an image index, and has layers or a config")
    return _edges(members, "manifests", EdgeKind.MANIFEST)


def _edges(members: Members, name: str, kind: EdgeKind) -> tuple[Edge, ...]:
    if name not in members:
        raise ManifestError(f"{name} is missing")
    found = members[name]
    if found is None:  # how Go writes an empty list
        return ()
    if not isinstance(found, list):
        raise ManifestError(f"{name} is no list")
    if len(found) > MAX_EDGES:
        raise ManifestError(f"{name} has more than {MAX_EDGES} entries")
    return tuple(Edge(kind, _descriptor(item, f"{name}[{place}]")) for place, item in enumerate(found))


def _config_media_type(edges: tuple[Edge, ...]) -> str | None:
    return edges[0].descriptor.media_type if edges and edges[0].kind is EdgeKind.CONFIG else None


def _descriptor(value: Json, where: str) -> Descriptor:
    members = _object(value, where)
    media_type = _media_type(members, "mediaType")
    if media_type is None:
        raise ManifestError(f"{where} has no mediaType")
    return Descriptor(
        media_type=media_type,
        digest=_digest(members, where),
        size=_size(members, where),
        annotations=_annotations(members, where),
        artifact_type=_media_type(members, "artifactType"),
    )


def _object(value: Json, where: str) -> Members:
    """Members of a JSON object; Go reads ``Layers`` as ``layers``, so such a spelling is refused."""
    if not isinstance(value, dict):
        raise ManifestError(f"{where} is no object")
    for name in value:
        meant = _MEMBERS_BY_FOLDED_CASE.get(name.casefold(), name)
        if meant != name:
            raise ManifestError(f"{where} has {name!r}, which some read as {meant!r}")
    return value


def _digest(members: Members, where: str) -> Digest:
    text = members.get("digest")
    if not isinstance(text, str):
        raise ManifestError(f"{where} has no digest")
    try:
        return Digest.parse(text)
    except OciError as error:
        raise ManifestError(f"{where} has a malformed digest") from error


def _size(members: Members, where: str) -> int:
    size = members.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_INT64:
        raise ManifestError(f"{where} has no size in bytes")
    return size


def _media_type(members: Members, name: str) -> str | None:
    text = members.get(name)
    if text is None or text == "":
        return None
    if not isinstance(text, str) or not _MEDIA_TYPE.fullmatch(text):
        raise ManifestError(f"{name} is no media type")
    return text


def _annotations(members: Members, where: str) -> Mapping[str, str]:
    found = members.get("annotations")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ManifestError(f"annotations of {where} are no object")
    return {_text(key, where): _text(value, where) for key, value in found.items()}


def _text(value: Json, where: str) -> str:
    if not isinstance(value, str) or _SURROGATE.search(value):
        raise ManifestError(f"annotations of {where} are not all text")
    return value
