"""A bundle, which carries held content across an air-gap: an OCI image layout in a tar, and what is in it.

Its entries are ``oci-layout``, ``index.json`` and ``blobs/sha256/<hex>`` (image-layout.md of the OCI image
specification), in this order; the blobs in the order: our own manifest, its config, the contents, the rules;
manifests; all others. ``index.json`` has a descriptor for each name and tag, its annotation
``org.opencontainers.image.ref.name`` being ``name:tag``, and one of artifact type ``BUNDLE_ARTIFACT``: an OCI
artifact whose first layer is the contents (``Contents`` as JSON), its second, where there is one, rules.yaml.
"""

from typing import Final

import msgspec

BUNDLE_ARTIFACT: Final = "application/vnd.chart-gateway.bundle.v1"
CONTENTS_LAYER: Final = "application/vnd.chart-gateway.bundle.contents.v1+json"
RULES_LAYER: Final = "application/vnd.chart-gateway.bundle.rules.v1+yaml"
REF_NAME: Final = "org.opencontainers.image.ref.name"
FORMAT: Final = 1
MAX_INDEX_BYTES: Final = 16 << 20
MAX_CONTENTS_BYTES: Final = 64 << 20


class BundledTag(msgspec.Struct, frozen=True):
    """A row of the catalog's tags, but for its target; times are seconds since the epoch."""

    tag: str
    variant: str
    source: str
    digest: str
    version: str
    is_exact: bool
    upstream_digest: str | None
    origin: str
    kept_at: float
    confirmed_at: float


class BundledManifest(msgspec.Struct, frozen=True):
    """A manifest that no tag of the target names: what refers to another, or was asked for by its digest."""

    digest: str
    variant: str
    source: str


class BundledTarget(msgspec.Struct, frozen=True):
    """What is held of a target, and the names by which clients ask for it.

    The right to what its manifests name, as far as the bundle has it, follows from them. ``homes`` are, by
    name, tags that stay here though the name leads to several targets: see ``gateway.homes``.
    """

    target: str
    names: list[str]
    is_private: bool
    tags: list[BundledTag]
    untagged: list[BundledManifest]
    homes: dict[str, list[str]] = {}


class BundledContent(msgspec.Struct, frozen=True):
    """A manifest, where it has a ``media_type``, or a blob.

    ``is_left_out``: an earlier bundle, named by ``Contents.since`` or by its own, has it.
    """

    digest: str
    size_bytes: int
    media_type: str = ""
    is_left_out: bool = False


class Contents(msgspec.Struct, frozen=True):
    """All that a bundle has. ``since`` is the digest of the index.json that it is the difference to.

    What manifests name and ``contents`` has not was not held either: other platforms of an image.
    """

    format: int
    version: str
    made_at: float
    since: str | None
    targets: list[BundledTarget]
    contents: list[BundledContent]
