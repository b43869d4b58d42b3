"""Chart archives from a Helm repository: is each the chart that the index names, and what it becomes."""

from dataclasses import dataclass
from typing import BinaryIO, Final
from urllib.parse import urljoin

import structlog

from gateway.helm.archive import ArchiveError, read_chart_archive
from gateway.helm.convert import Conversion, convert
from gateway.helm.index import ChartVersion
from gateway.helm.metadata import ChartMetadata, MetadataError, parse_metadata
from gateway.helm.version import parse_version
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.outcomes import Corrupt
from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.rules.model import DigestMismatch
from gateway.rules.route import Route

log = structlog.get_logger(__name__)

MISMATCH: Final = "digest_mismatch"


@dataclass(frozen=True, slots=True)
class Archive:
    """A chart archive that is kept, and what was read of it."""

    digest: Digest
    size: int
    metadata: ChartMetadata


def read_metadata(stream: BinaryIO) -> ChartMetadata:
    try:
        return parse_metadata(read_chart_archive(stream))
    except (ArchiveError, MetadataError) as error:
        raise Corrupt(f"the archive is no chart: {error}", "archive_invalid") from error


def build(archive: Archive, entry: ChartVersion, provenance: Descriptor | None = None) -> Conversion:
    try:
        return convert(archive.metadata, archive.digest, archive.size, entry, provenance)
    except MetadataError as error:
        raise Corrupt(f"the chart cannot be an artifact: {error}", "archive_invalid") from error


def require_digest(route: Route, entry: ChartVersion, actual: Digest) -> None:
    if entry.digest is None or entry.digest == actual.hex:
        return
    message = (
        f"the archive of {entry.name} {entry.version} has the digest {actual.hex}, "
        f"the index says {entry.digest[:80]}"
    )
    if route.policy.digest_mismatch is DigestMismatch.REFUSE:
        raise Corrupt(message, MISMATCH)
    log.warning("digest_mismatch_accepted", target=str(route.target), reason=message)


def require_same_chart(metadata: ChartMetadata, entry: ChartVersion) -> None:
    is_same = metadata.name == entry.name and parse_version(metadata.version) == parse_version(entry.version)
    if not is_same:
        raise Corrupt(
            f"the archive holds {metadata.name} {metadata.version}, "
            f"the index says {entry.name} {entry.version}",
            "chart_mismatch",
        )


def sizes(conversion: Conversion, provenance: Descriptor | None) -> dict[Digest, int]:
    parts = (conversion.config_descriptor, conversion.layer_descriptor, provenance)
    return {part.digest: part.size for part in parts if part is not None}


def chart_url(home: HttpUrl, text: str) -> HttpUrl:
    """Resolve an entry's URL as Helm does: RFC 3986 against the repository's, whose query stays."""
    try:
        return parse_upstream_url(urljoin(str(home), text))
    except (UrlError, ValueError) as error:
        raise Corrupt(
            f"the index gives the chart a URL that is not followed: {error}", "bad_chart_url"
        ) from error
