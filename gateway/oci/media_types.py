"""Media types that the gateway writes or tells apart."""

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
HELM_PROVENANCE_LAYER = "application/vnd.cncf.helm.chart.provenance.v1.prov"
OCTET_STREAM = "application/octet-stream"
HELM_CHART_LAYERS = frozenset(
    {HELM_CHART_LAYER, "application/tar+gzip"}
)  # the second is from before Helm 3.7

# What a registry is asked for, always the same: what is stored is served, never a conversion to schema 1.
ACCEPTED_MANIFESTS = (OCI_MANIFEST, OCI_IMAGE_INDEX, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCTET_STREAM)
UNTELLING = frozenset(
    {"", OCTET_STREAM, "application/json"}
)  # Content-Types that do not say which manifest it is
