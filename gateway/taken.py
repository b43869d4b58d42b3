"""What a source found, taken in: the manifest read, and the rows that are kept of it."""

from anyio import to_thread

from gateway.helm.version import is_complete
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest, ManifestError, ParsedManifest, parse_manifest
from gateway.oci.outcomes import Corrupt
from gateway.rules.route import Route
from gateway.sources.base import Comparable, Fetched, Found, Source
from gateway.store.rows import KeptManifest, TagRow

_READ_ON_THE_LOOP_BYTES = 32 * 1024  # what is longer would keep the event loop for milliseconds


async def take(
    route: Route, tag: str, source: Source, found: Found, now: float
) -> tuple[TagRow, KeptManifest]:
    """Fetch what was found, and return what is to be kept of it under ``tag``; raise outcomes."""
    fetched = await found.fetch()
    kept = await _read(route, fetched)
    version = found.version or tag
    row = TagRow(
        target=route.target,
        variant=route.variant.value,
        tag=tag,
        source=source.name.value,
        digest=fetched.manifest.digest,
        version=version,
        is_exact=_is_exact(found, kept.parsed, version),
        upstream_digest=_upstream_digest(found, kept),
        seen_digest=None,
        origin=fetched.origin,
        kept_at=now,
        confirmed_at=now,
    )
    return row, kept


def _is_exact(found: Found, parsed: ParsedManifest, version: str) -> bool:
    """An entry of a Helm index is one version for good; of tags, a Helm chart's complete version is."""
    if found.compares is Comparable.ARCHIVE:
        return True
    return parsed.is_helm_chart and is_complete(version)


def _upstream_digest(found: Found, kept: KeptManifest) -> Digest | None:
    """What a change is told by: as the source says it, else as it was received."""
    if found.compares is Comparable.MANIFEST:
        return kept.manifest.digest
    return found.upstream_digest or _layer(kept.parsed)


async def _read(route: Route, fetched: Fetched) -> KeptManifest:
    manifest = fetched.manifest
    try:
        if len(manifest.content) <= _READ_ON_THE_LOOP_BYTES:
            parsed = parse_manifest(manifest.content, manifest.media_type)
        else:
            parsed = await to_thread.run_sync(parse_manifest, manifest.content, manifest.media_type)
    except ManifestError as error:
        raise Corrupt(f"a manifest of {route.target} is refused: {error}", "manifest_invalid") from error
    return KeptManifest(manifest, parsed, fetched.sizes)


def chart_layer(manifest: Manifest) -> Digest | None:
    """The digest of the archive, where the manifest is a Helm chart's. It was read when it was kept."""
    return _layer(parse_manifest(manifest.content, manifest.media_type))


def is_same_chart(held: Manifest, kept: KeptManifest) -> bool:
    """Whether two manifests are the same Helm chart, however each describes it."""
    layer = _layer(kept.parsed)
    return layer is not None and layer == chart_layer(held)


def drifted(row: TagRow, found: Found) -> Digest | None:
    """The digest seen upstream, where it is another than the one that was kept."""
    seen = found.upstream_digest
    return None if seen is None or seen == row.upstream_digest else seen


def _layer(parsed: ParsedManifest) -> Digest | None:
    return None if parsed.chart_layer is None else parsed.chart_layer.digest
