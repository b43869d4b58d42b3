"""What the admin API tells of the catalog, as types of its own; times are ISO 8601 in UTC."""

import msgspec

from gateway.catalog_shown import (
    ArtifactDetail,
    AttachedShown,
    OriginShown,
    PartShown,
    RepositoryDetail,
    TagShown,
)
from gateway.chart_contents import ChartContents, TextShown
from gateway.helm.metadata import ChartMetadata
from gateway.oci.digest import Digest
from gateway.store.catalog_found import RepositoryFound
from gateway.web.admin.pages import iso_time


class RepositoryFacts(msgspec.Struct, frozen=True):
    """``tags`` ends at 1001: more than 1,000. ``match`` is the tag or digest that was looked for."""

    name: str
    target: str
    tags: int
    last_pull_at: str | None
    match: str | None


class RepositoryPage(msgspec.Struct, frozen=True):
    repositories: list[RepositoryFacts]
    next: str | None


class TagFacts(msgspec.Struct, frozen=True):
    tag: str
    target: str
    variant: str
    digest: str
    seen_digest: str | None
    source: str
    version: str
    kept_at: str
    confirmed_at: str
    size_bytes: int
    is_pinned: bool
    last_pull_at: str | None


class TagPage(msgspec.Struct, frozen=True):
    name: str
    targets: list[str]
    tags: list[TagFacts]
    is_newest_first: bool
    next: str | None


class PartFacts(msgspec.Struct, frozen=True):
    kind: str
    media_type: str
    digest: str
    size_bytes: int
    title: str | None
    platform: str | None
    is_held: bool


class OriginFacts(msgspec.Struct, frozen=True):
    source: str
    origin: str
    version: str
    digest: str
    upstream_digest: str | None
    seen_digest: str | None
    kept_at: str
    confirmed_at: str


class AttachedFacts(msgspec.Struct, frozen=True):
    """What says something about the artifact; none of it is verified by the gateway."""

    kind: str
    how: str
    digest: str
    reference: str | None


class ArtifactFacts(msgspec.Struct, frozen=True):
    """``manifest`` is the document as it is served, byte for byte, if it is UTF-8."""

    name: str
    reference: str
    target: str
    targets: list[str]
    variant: str
    variants: list[str]
    digest: str
    media_type: str
    artifact_type: str | None
    kind: str
    manifest: str
    annotations: dict[str, str]
    parts: list[PartFacts]
    part_count: int
    size_bytes: int
    held_bytes: int
    tags: list[str]
    origins: list[OriginFacts]
    attached: list[AttachedFacts]
    pinned: list[str]
    pulls: int
    last_pull_at: str | None


class ChartText(msgspec.Struct, frozen=True):
    """At most the first 256 KiB; ``size_bytes`` is of the whole."""

    text: str
    size_bytes: int
    is_cut: bool


class MaintainerFacts(msgspec.Struct, frozen=True):
    name: str
    email: str
    url: str


class DependencyFacts(msgspec.Struct, frozen=True):
    name: str
    version: str
    repository: str
    condition: str
    alias: str


class MetadataFacts(msgspec.Struct, frozen=True):
    """Chart.yaml, as Helm reads it: what does not stand there is empty."""

    name: str
    version: str
    app_version: str
    description: str
    type: str
    kube_version: str
    home: str
    icon: str
    is_deprecated: bool
    sources: list[str]
    keywords: list[str]
    maintainers: list[MaintainerFacts]
    dependencies: list[DependencyFacts]
    annotations: dict[str, str]


class ChartFacts(msgspec.Struct, frozen=True):
    """Where the archive is not held, ``metadata`` is from the config, and all there is."""

    metadata: MetadataFacts | None
    values: ChartText | None
    readme: ChartText | None
    is_held: bool
    trouble: str | None


def repository_facts(found: RepositoryFound) -> RepositoryFacts:
    last_pull_at = _time(found.last_pull_at)
    return RepositoryFacts(found.name, str(found.target), found.tags, last_pull_at, found.match or None)


def tag_page(detail: RepositoryDetail) -> TagPage:
    targets = [str(target) for target in detail.targets]
    tags = [_tag_facts(tag) for tag in detail.tags]
    return TagPage(detail.name, targets, tags, detail.is_newest_first, detail.next)


def _tag_facts(tag: TagShown) -> TagFacts:
    return TagFacts(
        tag=tag.tag,
        target=str(tag.target),
        variant=tag.variant,
        digest=str(tag.digest),
        seen_digest=_digest(tag.seen_digest),
        source=tag.source,
        version=tag.version,
        kept_at=iso_time(tag.kept_at),
        confirmed_at=iso_time(tag.confirmed_at),
        size_bytes=tag.size_bytes,
        is_pinned=tag.is_pinned,
        last_pull_at=_time(tag.last_pull_at),
    )


def artifact_facts(artifact: ArtifactDetail) -> ArtifactFacts:
    return ArtifactFacts(
        name=artifact.name,
        reference=artifact.reference,
        target=str(artifact.target),
        targets=[str(target) for target in artifact.targets],
        variant=artifact.variant,
        variants=list(artifact.variants),
        digest=str(artifact.manifest.digest),
        media_type=artifact.manifest.media_type,
        artifact_type=artifact.artifact_type or None,
        kind=artifact.kind.value,
        manifest=artifact.manifest.content.decode(errors="replace"),
        annotations=dict(artifact.annotations),
        parts=[_part_facts(part) for part in artifact.parts],
        part_count=artifact.part_count,
        size_bytes=artifact.size_bytes,
        held_bytes=artifact.held_bytes,
        tags=list(artifact.tags),
        origins=[_origin_facts(origin) for origin in artifact.origins],
        attached=[_attached_facts(one) for one in artifact.attached],
        pinned=sorted(artifact.pinned),
        pulls=0 if artifact.pulls is None else artifact.pulls.pulls,
        last_pull_at=None if artifact.pulls is None else iso_time(artifact.pulls.last_at),
    )


def _part_facts(part: PartShown) -> PartFacts:
    return PartFacts(
        kind=part.kind.value,
        media_type=part.media_type,
        digest=str(part.digest),
        size_bytes=part.size_bytes,
        title=part.title or None,
        platform=part.platform or None,
        is_held=part.is_held,
    )


def _origin_facts(origin: OriginShown) -> OriginFacts:
    return OriginFacts(
        source=origin.source,
        origin=origin.origin,
        version=origin.version,
        digest=str(origin.digest),
        upstream_digest=_digest(origin.upstream_digest),
        seen_digest=_digest(origin.seen_digest),
        kept_at=iso_time(origin.kept_at),
        confirmed_at=iso_time(origin.confirmed_at),
    )


def _attached_facts(one: AttachedShown) -> AttachedFacts:
    return AttachedFacts(one.kind, one.how, str(one.digest), one.reference or None)


def chart_facts(contents: ChartContents) -> ChartFacts:
    return ChartFacts(
        metadata=None if contents.metadata is None else _metadata_facts(contents.metadata),
        values=_chart_text(contents.values),
        readme=_chart_text(contents.readme),
        is_held=contents.is_held,
        trouble=contents.trouble or None,
    )


def _metadata_facts(metadata: ChartMetadata) -> MetadataFacts:
    return MetadataFacts(
        name=metadata.name,
        version=metadata.version,
        app_version=metadata.app_version,
        description=metadata.description,
        type=metadata.type,
        kube_version=metadata.kube_version,
        home=metadata.home,
        icon=metadata.icon,
        is_deprecated=metadata.deprecated,
        sources=list(metadata.sources),
        keywords=list(metadata.keywords),
        maintainers=[MaintainerFacts(one.name, one.email, one.url) for one in metadata.maintainers],
        dependencies=[
            DependencyFacts(one.name, one.version, one.repository, one.condition, one.alias)
            for one in metadata.dependencies
        ],
        annotations=dict(metadata.annotations),
    )


def _chart_text(text: TextShown | None) -> ChartText | None:
    return None if text is None else ChartText(text.text, text.size_bytes, text.is_cut)


def _digest(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else iso_time(seconds)
