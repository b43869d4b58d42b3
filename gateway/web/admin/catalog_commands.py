"""How to have an artifact from here: commands and manifests to copy, quoted as they have to be."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.catalog_shown import ArtifactDetail, ArtifactKind
from gateway.helm.version import is_complete
from gateway.oci.digest import Digest
from gateway.oci.location import Location

_LABEL = re.compile(r"[^a-z0-9]+")
_LONGEST_RELEASE = 53  # Helm's own limit
_CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class Front:
    """Where clients reach the registry: host and port, and whether without TLS."""

    authority: str
    is_plain: bool


@dataclass(frozen=True, slots=True)
class Snippet:
    """Something to copy. ``key`` is its id on the page, ``note`` what has to be known before it is used."""

    key: str
    title: str
    text: str
    note: str = ""

    @property
    def is_document(self) -> bool:
        """Whether it is more than some commands: long, and seldom wanted."""
        return "apiVersion:" in self.text


def snippets(artifact: ArtifactDetail, front: Front) -> Sequence[Snippet]:
    if artifact.kind is ArtifactKind.CHART:
        argo = [_argo(artifact, front)] if is_complete(artifact.reference) else []  # it takes versions alone
        return [_helm(artifact, front), *argo, _flux(artifact, front)]
    if artifact.kind is ArtifactKind.OTHER:
        return [_oras(artifact, front)]
    return [_skopeo(artifact, front), _oras(artifact, front)]


def helm_show(what: str, artifact: ArtifactDetail, front: Front) -> str:
    """The command that prints the whole of a file; ``what`` is ``values`` or ``readme``."""
    return _line("helm", "show", what, *_chart(artifact, front))


def helm_pull(asked: Location, front: Front) -> str | None:
    """The command that pulls a chart by its reference, or the newest of it; None for what is no version."""
    plain = ("--plain-http",) if front.is_plain else ()
    address = f"oci://{front.authority}/{asked.name}"
    match asked.reference:
        case None:
            return _line("helm", "pull", address, *plain)
        case Digest():
            return _line("helm", "pull", f"{address}@{asked.reference}", *plain)
        case tag:
            version = ("--version", _version(str(tag)))
            return _line("helm", "pull", address, *version, *plain) if is_complete(str(tag)) else None


def _helm(artifact: ArtifactDetail, front: Front) -> Snippet:
    chart = _chart(artifact, front)
    text = "\n".join(
        (_line("helm", "pull", *chart), _line("helm", "install", _release(artifact.name), *chart))
    )
    return Snippet("helm", "Helm", text)


def _chart(artifact: ArtifactDetail, front: Front) -> Sequence[str]:
    """What is no version to Helm is asked for by its digest."""
    plain = ("--plain-http",) if front.is_plain else ()
    address = f"oci://{front.authority}/{artifact.name}"
    if is_complete(artifact.reference):
        return (address, "--version", _version(artifact.reference), *plain)
    return (f"{address}@{artifact.manifest.digest}", *plain)


def _argo(artifact: ArtifactDetail, front: Front) -> Snippet:
    place, _, chart = artifact.name.rpartition("/")
    repository = f"{front.authority}/{place}".rstrip("/")
    release = _release(artifact.name)
    lines = [
        "apiVersion: argoproj.io/v1alpha1",
        "kind: Application",
        "metadata:",
        f"  name: {_scalar(release)}",
        "  namespace: argocd",
        "spec:",
        "  project: default",
        "  source:",
        f"    repoURL: {_scalar(repository)}",
        f"    chart: {_scalar(chart)}",
        f"    targetRevision: {_scalar(_version(artifact.reference))}",
        "  destination:",
        "    server: https://kubernetes.default.svc",
        f"    namespace: {_scalar(release)}",
        "  syncPolicy:",
        "    syncOptions: [CreateNamespace=true]",
    ]
    secret = [
        "---",
        "apiVersion: v1",
        "kind: Secret",
        "metadata:",
        f"  name: {_scalar(f'{release}-repository')}",
        "  namespace: argocd",
        "  labels:",
        "    argocd.argoproj.io/secret-type: repository",
        "stringData:",
        "  type: helm",
        f"  name: {_scalar(f'{release}-repository')}",
        f"  url: {_scalar(repository)}",
        '  enableOCI: "true"',
        '  insecureOCIForceHttp: "true"',
    ]
    note = "The Secret tells Argo CD that this registry speaks no TLS." if front.is_plain else ""
    return Snippet("argo", "Argo CD", "\n".join([*lines, *(secret if front.is_plain else ())]), note)


def _flux(artifact: ArtifactDetail, front: Front) -> Snippet:
    release = _release(artifact.name)
    is_tag = ":" not in artifact.reference
    lines = [
        "apiVersion: source.toolkit.fluxcd.io/v1",
        "kind: OCIRepository",
        "metadata:",
        f"  name: {_scalar(release)}",
        "  namespace: flux-system",
        "spec:",
        "  interval: 10m",
        f"  url: {_scalar(f'oci://{front.authority}/{artifact.name}')}",
        *(("  insecure: true",) if front.is_plain else ()),
        "  ref:",
        f"    {'tag' if is_tag else 'digest'}: {_scalar(artifact.reference)}",
        "  layerSelector:",
        f"    mediaType: {_CHART_LAYER}",
        "    operation: copy",
        "---",
        "apiVersion: helm.toolkit.fluxcd.io/v2",
        "kind: HelmRelease",
        "metadata:",
        f"  name: {_scalar(release)}",
        "  namespace: flux-system",
        "spec:",
        "  interval: 10m",
        f"  targetNamespace: {_scalar(release)}",
        "  install:",
        "    createNamespace: true",
        "  chartRef:",
        "    kind: OCIRepository",
        f"    name: {_scalar(release)}",
    ]
    return Snippet("flux", "Flux", "\n".join(lines), "OCIRepository is v1 from Flux 2.6 on.")


def _skopeo(artifact: ArtifactDetail, front: Front) -> Snippet:
    plain = ("--src-tls-verify=false",) if front.is_plain else ()
    every = ("--all",) if artifact.kind is ArtifactKind.IMAGE_INDEX else ()
    reference = artifact.reference if ":" not in artifact.reference else "pulled"
    place = f"oci:{_release(artifact.name)}:{reference}"
    return Snippet(
        "skopeo",
        "skopeo",
        _line("skopeo", "copy", *every, *plain, f"docker://{_address(artifact, front)}", place),
    )


def _oras(artifact: ArtifactDetail, front: Front) -> Snippet:
    plain = ("--plain-http",) if front.is_plain else ()
    verb = ("pull",) if artifact.kind is ArtifactKind.OTHER else ("manifest", "fetch")
    return Snippet("oras", "oras", _line("oras", *verb, *plain, _address(artifact, front)))


def _address(artifact: ArtifactDetail, front: Front) -> str:
    mark = "@" if ":" in artifact.reference else ":"
    return f"{front.authority}/{artifact.name}{mark}{artifact.reference}"


def _version(tag: str) -> str:
    """Helm writes _ in tags for the + of versions."""
    return tag.replace("_", "+")


def _release(name: str) -> str:
    """What Kubernetes takes as a name."""
    return (
        _LABEL.sub("-", name.rpartition("/")[2].lower()).strip("-")[:_LONGEST_RELEASE].rstrip("-") or "chart"
    )


def _line(*words: str) -> str:
    return shlex.join(words)


def _scalar(text: str) -> str:
    """As YAML: JSON's quotes, so that 1.10 stays text."""
    return json.dumps(text)
