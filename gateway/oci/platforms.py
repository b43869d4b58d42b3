"""The platforms of an image index: which of its manifests are those of some."""

from collections.abc import Mapping, Sequence

from gateway.oci.decoding import Json, parse_json
from gateway.oci.digest import Digest
from gateway.oci.manifest import MAX_SIZE_BYTES, EdgeKind, Manifest, ParsedManifest


def chosen_manifests(
    manifest: Manifest, parsed: ParsedManifest, platforms: frozenset[str]
) -> Sequence[Digest]:
    """Those that an image index has for these platforms, or all where there are none.

    One that says no platform is everybody's.
    """
    below = [edge.descriptor.digest for edge in parsed.edges if edge.kind is EdgeKind.MANIFEST]
    told = platforms_of(manifest) if platforms and below else {}
    return [digest for digest in below if not told or is_among(told.get(digest), platforms)]


def is_among(platform: str | None, platforms: frozenset[str]) -> bool:
    """Whether one was chosen; with a variant, also by what stands before it."""
    return platform is None or platform in platforms or platform.rpartition("/")[0] in platforms


def platforms_of(manifest: Manifest) -> Mapping[Digest, str]:
    """The platform of each manifest that an image index names, where it says one."""
    document = parse_json(manifest.content, MAX_SIZE_BYTES)
    named = document.get("manifests") if isinstance(document, dict) else None
    told: dict[Digest, str] = {}
    for one in named if isinstance(named, list) else ():
        if isinstance(one, dict) and isinstance(one.get("platform"), dict):
            told[Digest.parse(str(one["digest"]))] = _written(one["platform"])
    return told


def _written(platform: Json) -> str:
    parts = platform if isinstance(platform, dict) else {}
    words = (parts.get(name) for name in ("os", "architecture", "variant"))
    return "/".join(word for word in words if isinstance(word, str) and word)
