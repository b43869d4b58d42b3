"""How a bundle begins: its index.json, and where in it the list of its contents is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from gateway.bundle import (
    BUNDLE_ARTIFACT,
    CONTENTS_LAYER,
    FORMAT,
    MAX_CONTENTS_BYTES,
    RULES_LAYER,
    Contents,
)
from gateway.bundle_checks import BundleRefused
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.manifest import ManifestError, parse_manifest

_LAYOUT: Final = "1.0.0"
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _Layout(msgspec.Struct):
    version: str = msgspec.field(name="imageLayoutVersion")


class Descriptor(msgspec.Struct):
    digest: str
    artifact_type: str = msgspec.field(name="artifactType", default="")


class _Format(msgspec.Struct):
    format: int


class _Index(msgspec.Struct):
    manifests: list[Descriptor]


class Came(Protocol):
    """What came whole, with its sizes, and the content of what is small."""

    @property
    def came(self) -> Mapping[Digest, int]: ...

    def read(self, digest: Digest, most_bytes: int = ..., /) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Opening:
    """Our own artifact in the bundle: where its contents are, and its rules, if it has any."""

    artifact: Digest
    config: Digest
    contents: Digest
    rules: Digest | None

    @property
    def own(self) -> frozenset[Digest]:
        return frozenset({self.artifact, self.config, self.contents, self.rules or self.contents})


def opening_of(index: bytes, came: Came) -> Opening | None:
    """None as long as it did not come; raise BundleRefused for what is no bundle of ours."""
    found = [one.digest for one in read_index(index) if one.artifact_type == BUNDLE_ARTIFACT]
    if not found:
        raise BundleRefused(
            ["it is an OCI image layout that no gateway made: push it to a registry, or `gateway export` one"]
        )
    if len(found) > 1:
        raise BundleRefused(["its index.json names two lists of contents"])
    artifact = read_digest(found[0], "index.json")
    content = came.read(artifact)
    if content is None:
        return None
    try:
        parsed = parse_manifest(content, None)
    except ManifestError as error:
        raise BundleRefused([f"the manifest of its contents is refused: {error}"]) from error
    layers = {layer.media_type: layer.digest for layer in parsed.layers}
    if parsed.config is None or CONTENTS_LAYER not in layers:
        raise BundleRefused(["the manifest of its contents names none"])
    return Opening(artifact, parsed.config.digest, layers[CONTENTS_LAYER], layers.get(RULES_LAYER))


def contents_of(opening: Opening, came: Came) -> Contents | None:
    """None as long as they did not come; raise BundleRefused."""
    content = came.read(opening.contents, MAX_CONTENTS_BYTES)
    if content is None:
        return None
    try:
        told = msgspec.json.decode(content, type=_Format).format
        if told != FORMAT:
            raise BundleRefused([f"its format is {told}, and this gateway reads {FORMAT}: take a newer one"])
        return msgspec.json.decode(content, type=Contents)
    except _UNREADABLE as error:
        raise BundleRefused([f"its list of contents cannot be read: {error}"]) from error


def layout_faults(layout: bytes | None) -> Iterator[str]:
    if layout is None:
        yield "oci-layout is missing"
        return
    try:
        told = msgspec.json.decode(layout, type=_Layout).version
    except _UNREADABLE as error:
        yield f"oci-layout cannot be read: {error}"
    else:
        if told != _LAYOUT:
            yield f"its layout is {told[:20]!r}, and not {_LAYOUT}"


def read_index(index: bytes) -> Sequence[Descriptor]:
    try:
        return msgspec.json.decode(index, type=_Index).manifests
    except _UNREADABLE as error:
        raise BundleRefused([f"index.json cannot be read: {error}"]) from error


def read_digest(text: str, where: str) -> Digest:
    try:
        return Digest.parse(text)
    except OciError as error:
        raise BundleRefused([f"{where} has a malformed digest, {text[:100]!r}"]) from error
