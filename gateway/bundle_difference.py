"""What of a selection is new to those who have earlier bundles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.bundle import BundledContent, BundledManifest, BundledTag, BundledTarget, Contents
from gateway.bundle_selection import Selected
from gateway.oci.digest import Digest
from gateway.oci.manifest import EdgeKind


@dataclass(frozen=True, slots=True)
class Difference:
    """What is new or changed; its ``contents`` are all that this needs, also what is left out."""

    targets: list[BundledTarget]
    contents: list[BundledContent]
    references: Mapping[str, Digest]
    loose: Sequence[Digest]


@dataclass(slots=True)
class _Known:
    """What earlier bundles say; of a tag, the last one."""

    tags: dict[tuple[str, str, str, str], str] = field(default_factory=dict)
    untagged: set[tuple[str, BundledManifest]] = field(default_factory=set)
    names: set[tuple[str, str]] = field(default_factory=set)
    homes: set[tuple[str, str, str]] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    contents: set[str] = field(default_factory=set)


def difference(selected: Selected, earlier: Sequence[Contents]) -> Difference:
    """Without earlier bundles, all of it. Contents are in the order of their digests, manifests first."""
    known = _known(earlier)
    targets = [one for one in (_new(target, known) for target in selected.targets) if one is not None]
    wanted = {Digest.parse(tag.digest) for one in targets for tag in one.tags}
    wanted |= {Digest.parse(loose.digest) for one in targets for loose in one.untagged}
    blobs = {
        named.digest
        for digest in wanted
        for named in selected.manifests[digest].names
        if named.kind is not EdgeKind.MANIFEST
    }
    manifests = [
        _content(digest, selected.manifests[digest].size_bytes, known, selected.manifests[digest].media_type)
        for digest in sorted(wanted)
    ]
    contents = [_content(digest, selected.blobs[digest], known) for digest in sorted(blobs - wanted)]
    pairs = {(tag.tag, tag.digest) for one in targets for tag in one.tags}
    references = {
        name: digest
        for name, digest in selected.references.items()
        if (name.rpartition(":")[2], str(digest)) in pairs
    }
    return Difference(targets, [*manifests, *contents], references, sorted(selected.loose & wanted))


def _known(earlier: Sequence[Contents]) -> _Known:
    known = _Known()
    for contents in earlier:
        known.contents |= {one.digest for one in contents.contents}
        for one in contents.targets:
            known.tags |= {(one.target, tag.variant, tag.tag, tag.source): tag.digest for tag in one.tags}
            known.untagged |= {(one.target, manifest) for manifest in one.untagged}
            known.names |= {(one.target, name) for name in one.names}
            known.homes |= {(one.target, name, tag) for name, tags in one.homes.items() for tag in tags}
            if one.is_private:
                known.private.add(one.target)
    return known


def _new(one: BundledTarget, known: _Known) -> BundledTarget | None:
    tags = [tag for tag in one.tags if not _is_known(one.target, tag, known)]
    untagged = [manifest for manifest in one.untagged if (one.target, manifest) not in known.untagged]
    has_new_name = any((one.target, name) not in known.names for name in one.names)
    homes = {
        name: new
        for name, words in one.homes.items()
        if (new := [tag for tag in words if (one.target, name, tag) not in known.homes])
    }
    is_newly_private = one.is_private and one.target not in known.private
    if not (tags or untagged or homes or has_new_name or is_newly_private):
        return None
    return BundledTarget(one.target, one.names, one.is_private, tags, untagged, homes)


def _is_known(target: str, tag: BundledTag, known: _Known) -> bool:
    return known.tags.get((target, tag.variant, tag.tag, tag.source)) == tag.digest


def _content(digest: Digest, size_bytes: int, known: _Known, media_type: str = "") -> BundledContent:
    return BundledContent(str(digest), size_bytes, media_type, str(digest) in known.contents)
