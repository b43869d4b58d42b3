"""A chart whose dependencies are fetched through this gateway: their repositories point here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from gateway.helm.archive import ChartFiles, read_chart_archive
from gateway.helm.archive_copy import copy_with, read_files
from gateway.helm.document import DocumentError, Value, parse_document
from gateway.helm.fields import printable
from gateway.helm.lock import Locking, digest_after, parse_lock
from gateway.helm.metadata import ChartMetadata, MetadataError, parse_metadata
from gateway.helm.scalar_edits import Path, with_scalars
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.errors import OciError
from gateway.oci.manifest import Manifest, ManifestError, parse_manifest
from gateway.oci.media_types import HELM_CONFIG
from gateway.oci.repository import Repository

MARK: Final = "chart-gateway.dependencies"  # the annotation of a manifest: where its dependencies point

_CHART = b"Chart.yaml"
_REQUIREMENTS = b"requirements.yaml"
_LOCKS = (b"Chart.lock", b"requirements.lock")
_FILES = frozenset((_CHART, _REQUIREMENTS, *_LOCKS))
_SCHEMES = frozenset(("https", "oci"))


@dataclass(frozen=True, slots=True)
class RewrittenChart:
    """An archive, always the same bytes for the same source and base, and what it says of itself."""

    archive: bytes
    metadata: ChartMetadata


@dataclass(frozen=True, slots=True)
class RewrittenArtifact:
    """The artifact that such a chart is, in place of the plain one."""

    manifest: Manifest
    config: bytes
    config_descriptor: Descriptor
    layer: bytes
    layer_descriptor: Descriptor


def rewrite_repository(url: str, base: str, chart: str = "") -> str:
    """Return ``oci://<base>/<host>/<path>`` for ``https://<host>/<path>`` or ``oci://<host>/<path>``.

    ``base`` is this gateway's host[:port]. A URL stays as it is where it points there already, is of another
    kind (also http, file, or an alias), or no name of a repository can be made of it and ``chart``: with a
    port, upper case, a user, a query.
    """
    scheme, _, rest = url.partition("://")
    place = rest.rstrip("/")
    if scheme not in _SCHEMES or place.partition("/")[0] == base:
        return url
    try:
        Repository.parse(f"{place}/{chart}" if chart else place)
    except OciError:
        return url
    return f"oci://{base}/{place}"


def rewrite_artifact(manifest: Manifest, archive: BinaryIO, base: str) -> RewrittenArtifact | None:
    """Return the artifact in place of ``manifest``, whose chart layer is ``archive``; always the same bytes.

    The manifest keeps its annotations and the chart layer's, gets MARK, and has no other layer: provenance
    is of the bytes that were. None, ArchiveError and MetadataError as of ``rewrite_chart``; ManifestError for
    what is no chart.
    """
    parsed = parse_manifest(manifest.content, manifest.media_type)
    plain_layer = parsed.chart_layer
    if parsed.config is None or plain_layer is None:
        raise ManifestError("it is no Helm chart")
    chart = rewrite_chart(archive, base)
    if chart is None:
        return None
    config = dump_compact(chart.metadata.to_json())
    config_descriptor = _with_content(parsed.config, config)
    layer_descriptor = _with_content(plain_layer, chart.archive)
    kind = parsed.artifact_type
    content = dump_compact(
        {
            "schemaVersion": 2,
            "mediaType": parsed.media_type,
            **({"artifactType": kind} if kind != HELM_CONFIG else {}),
            "config": config_descriptor.to_json(),
            "layers": [layer_descriptor.to_json()],
            "annotations": dict(sorted({**parsed.annotations, MARK: f"oci://{base}"}.items())),
        }
    )
    return RewrittenArtifact(
        Manifest.of(content, parsed.media_type), config, config_descriptor, chart.archive, layer_descriptor
    )


def rewrite_chart(archive: BinaryIO, base: str) -> RewrittenChart | None:
    """Return the chart with its own dependencies' repositories rewritten, and its locks in step.

    None where there is nothing to rewrite, and the chart can be served as it is. Charts inside it stay as
    they are. ``archive`` is read several times, from its start. Raise ArchiveError or MetadataError for what
    is no sound chart, or one that cannot be rewritten without changing what else it says.
    """
    archive.seek(0)
    before = parse_metadata(read_chart_archive(archive))
    if not before.dependencies:
        return None
    old = read_files(archive, _FILES)
    new = {name: _rewritten(content, name, base) for name, content in old.items() if name not in _LOCKS}
    after = parse_metadata(ChartFiles(new[_CHART], new.get(_REQUIREMENTS)))
    if after != _with_repositories(before, base):
        raise MetadataError("the chart's files say different things of its dependencies: cannot rewrite them")
    for name in _LOCKS:
        if name in old:
            new[name] = _relocked(old[name], name, base, before, after)
    changed = {name: content for name, content in new.items() if content != old[name]}
    return RewrittenChart(copy_with(archive, changed), after) if changed else None


def _with_content(descriptor: Descriptor, content: bytes) -> Descriptor:
    return replace(descriptor, digest=Digest.of(content), size=len(content))


def _with_repositories(metadata: ChartMetadata, base: str) -> ChartMetadata:
    dependencies = (
        replace(dependency, repository=rewrite_repository(dependency.repository, base, dependency.name))
        for dependency in metadata.dependencies
    )
    return replace(metadata, dependencies=tuple(dependencies))


def _rewritten(content: bytes, name: bytes, base: str) -> bytes:
    document = _parsed(content, name)
    return _edited(content, name, dict(_changes(document, base)))


def _relocked(content: bytes, name: bytes, base: str, before: ChartMetadata, after: ChartMetadata) -> bytes:
    document = _parsed(content, name)
    if document is None:  # an empty file is no lock to Helm either
        return content
    changes = dict(_changes(document, base))
    rewritten = _edited(content, name, changes)
    old, new = (parse_lock(_parsed(text, name), name.decode()) for text in (content, rewritten))
    digest = digest_after(
        old.digest,
        Locking(before.dependencies, old.dependencies),
        Locking(after.dependencies, new.dependencies),
    )
    if digest == old.digest:
        return rewritten
    return _edited(rewritten, name, {(key,): digest for key, _ in _members(document, "digest")})


def _changes(document: Value, base: str) -> Iterator[tuple[Path, str]]:
    """Give the path of each repository that is rewritten, and what it becomes."""
    for list_key, dependencies in _members(document, "dependencies"):
        for place, dependency in enumerate(dependencies if isinstance(dependencies, list) else ()):
            names = [value for _, value in _members(dependency, "name") if isinstance(value, str)]
            for key, url in _members(dependency, "repository"):
                if not isinstance(url, str):
                    continue
                rewritten = rewrite_repository(printable(url), base, printable("".join(names[-1:])))
                if rewritten != printable(url):
                    yield (list_key, place, key), rewritten


def _members(value: Value, name: str) -> Iterator[tuple[str, Value]]:
    """Give the members that Helm may take for ``name``, whatever their case."""
    if isinstance(value, dict):
        yield from ((key, member) for key, member in value.items() if key.casefold() == name)


def _edited(content: bytes, name: bytes, changes: Mapping[Path, str]) -> bytes:
    try:
        return with_scalars(content, changes)
    except DocumentError as error:
        raise MetadataError(f"{name.decode()}: {error}") from error


def _parsed(content: bytes, name: bytes) -> Value:
    try:
        return parse_document(content)
    except DocumentError as error:
        raise MetadataError(f"{name.decode()}: {error}") from error
