"""From a chart to the OCI artifact that it is: config, layers and manifest, always the same bytes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from gateway.helm.created import created_at
from gateway.helm.index import ChartVersion
from gateway.helm.metadata import ChartMetadata, Maintainer, MetadataError
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.media_types import HELM_CHART_LAYER, HELM_CONFIG, OCI_MANIFEST

MAX_ANNOTATIONS = 64 * 1024

_OCI = "org.opencontainers.image."
_TITLE = f"{_OCI}title"
_VERSION = f"{_OCI}version"
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:", re.ASCII)
_ENCODED = re.compile(r"(?:[A-Za-z0-9_.~!$&'()*+,;=:@/\[\]-]|%[0-9A-Fa-f]{2})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Conversion:
    """A chart as an OCI artifact; the layer's bytes are the archive itself."""

    config: bytes
    config_descriptor: Descriptor
    layer_descriptor: Descriptor
    manifest: bytes
    manifest_digest: Digest


def convert(
    metadata: ChartMetadata,
    layer_digest: Digest,
    layer_size: int,
    entry: ChartVersion,
    provenance: Descriptor | None = None,
) -> Conversion:
    """Build the artifact, byte for byte as helm-charts-oci-proxy 1.0.0; raise MetadataError beyond limits.

    Of the index entry count name, version, ``created``, and the first URL, whichever the archive came from.
    The provenance layer, which that proxy does not have, comes after the chart.
    """
    config = dump_compact(metadata.to_json())
    config_descriptor = Descriptor(HELM_CONFIG, Digest.of(config), len(config))
    title = {_TITLE: layer_title(entry.urls[0])}
    layer_descriptor = Descriptor(HELM_CHART_LAYER, layer_digest, layer_size, title)
    layers = [layer_descriptor] if provenance is None else [layer_descriptor, provenance]
    manifest = dump_compact(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config_descriptor.to_json(),
            "layers": [layer.to_json() for layer in layers],
            "annotations": dict(sorted(_annotations(metadata, entry).items())),
        }
    )
    return Conversion(config, config_descriptor, layer_descriptor, manifest, Digest.of(manifest))


def layer_title(url: str) -> str:
    """Return the last path element of a chart URL as that proxy writes it, a query included.

    It prints absolute URLs anew, which encodes what stands bare in them; relative ones stay as they are.
    """
    path, mark, query = url.partition("?")
    if _ABSOLUTE.match(path) and not _ENCODED.fullmatch(path):
        path = quote(unquote_to_bytes(path), safe="/$&+,:;=@")
    return f"{path}{mark}{query}".rstrip("/").rpartition("/")[2]


def _annotations(metadata: ChartMetadata, entry: ChartVersion) -> Mapping[str, str]:
    """Join Helm's annotations with the chart's own, which replace any but title and version."""
    annotations = {f"{_OCI}created": created_at(entry.created, entry.name, entry.version)}
    if metadata.description:
        annotations[f"{_OCI}description"] = metadata.description
    if metadata.home:
        annotations[f"{_OCI}url"] = metadata.home
    if metadata.sources:
        annotations[f"{_OCI}source"] = metadata.sources[0]
    if metadata.maintainers:
        annotations[f"{_OCI}authors"] = ", ".join(map(_author, metadata.maintainers))
    annotations |= metadata.annotations
    annotations |= {_TITLE: metadata.name, _VERSION: metadata.version}
    if sum(len(text.encode()) for pair in annotations.items() for text in pair) > MAX_ANNOTATIONS:
        raise MetadataError(f"the chart's annotations have more than {MAX_ANNOTATIONS} bytes")
    return annotations


def _author(maintainer: Maintainer) -> str:
    return f"{maintainer.name} ({maintainer.email})" if maintainer.email else maintainer.name
