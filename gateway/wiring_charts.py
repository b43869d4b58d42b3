"""Clients of charts: how each of them asks this gateway, as a registry and as a classic repository."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from gateway.wired import CA_FILE, Ground, Prefix, Wired, WiredFile, indented, slugs

_CA_SECRET: Final = "chart-gateway-ca"  # noqa: S105 (the name of a Kubernetes object, which holds a certificate)
_CHART_LAYER: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_ANY_VERSION: Final = "*"
_NO_PREFIX: Final = (
    "no rule has a prefix for charts: any chart is asked for by its own place, such as "
    "argoproj.github.io/argo-helm/argo-cd"
)


def helm(ground: Ground) -> Wired:
    """Commands, as a script to copy lines from."""
    plain = " --plain-http" if ground.is_plain else ""
    ca = f" --ca-file {CA_FILE}" if ground.ca_files else ""
    lines = ["# as a registry: any chart under its prefix, or by its own place"]
    lines += [f"helm pull oci://{ground.authority}/{one.name}/<chart>{plain}{ca}" for one in ground.prefixes]
    lines += [
        f"helm pull oci://{ground.authority}/{one.repository}"
        + (f" --version {_shell(one.versions)}" if one.versions else "")
        + plain
        + ca
        for one in ground.charts
    ]
    lines += ["", "# as classic repositories"]
    lines += [f"helm repo add {slug} {ground.classic_url(one)}{ca}" for slug, one in _named(ground.prefixes)]
    return Wired((WiredFile("helm.txt", "\n".join((*lines, ""))), *ground.ca_files), _notes(ground))


def argocd(ground: Ground) -> Wired:
    """Secrets of the type ``repository``: one a prefix, as a registry and as a classic repository."""
    documents = [*_argo_registry(ground), *_argo_classic(ground)]
    if ground.wishes.ca is not None:
        lines = f"  {json.dumps(_host(ground))}: |\n{indented(ground.wishes.ca, 4)}"
        documents.append(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-tls-certs-cm\n  namespace: argocd\n"
            f"data:\n{lines}"
        )
    notes = [*_notes(ground)]
    if ground.is_plain:
        notes.append(
            "plain HTTP: as a registry Argo CD takes it from 3.1 on, by `repoURL: oci://…/<chart>` and "
            "`path: .`; classic repositories it takes in every version"
        )
    if ground.ca_files:
        notes.append("argocd-tls-certs-cm may be there already: then add the key to it")
    return Wired((WiredFile("argocd-repositories.yaml", "---\n".join(documents)),), tuple(notes))


def flux(ground: Ground) -> Wired:
    """HelmRepository of both kinds for each prefix, OCIRepository for each chart that a list names."""
    documents = [*_flux_prefixes(ground), *_flux_charts(ground)]
    if ground.wishes.ca is not None:
        documents.append(
            f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {_CA_SECRET}\n  namespace: flux-system\n"
            f"type: Opaque\nstringData:\n  ca.crt: |\n{indented(ground.wishes.ca, 4)}"
        )
    return Wired((WiredFile("flux-sources.yaml", "---\n".join(documents)),), _notes(ground))


def helmfile(ground: Ground) -> Wired:
    lines = ["repositories:"] if ground.prefixes else ["repositories: []"]
    for slug, prefix in _named(ground.prefixes):
        lines += [
            f"  - name: {json.dumps(slug)}",
            f"    url: {json.dumps(f'{ground.authority}/{prefix.name}')}",
            "    oci: true",
        ]
        lines += ["    plainHttp: true"] if ground.is_plain else []
        lines += [f"    caFile: {CA_FILE}"] if ground.ca_files else []
        lines += [
            f"  - name: {json.dumps(f'{slug}-classic')}",
            f"    url: {json.dumps(ground.classic_url(prefix))}",
        ]
        lines += [f"    caFile: {CA_FILE}"] if ground.ca_files else []
    files = (WiredFile("helmfile-repositories.yaml", "\n".join((*lines, ""))), *ground.ca_files)
    return Wired(
        files,
        ("keep one of the two of each prefix, and use its name: chart: <name>/<chart>", *_notes(ground)),
    )


def renovate(ground: Ground) -> Wired:
    """Images by aliases, charts of classic repositories by rules about the URLs that files name."""
    settings: dict[str, object] = {
        "$schema": "https://docs.renovatebot.com/renovate-schema.json",
        "registryAliases": {host: f"{ground.authority}/{host}" for host in ground.registries},
        "packageRules": [
            {
                "description": f"{place} by way of the gateway",
                "matchDatasources": ["helm"],
                "matchRegistryUrls": [place, f"{place}/"],
                "registryUrls": [ground.classic_url(prefix)],
            }
            for prefix in ground.prefixes
            for place in prefix.stands_for
        ],
    }
    if ground.is_plain:
        rule = {"matchHost": ground.authority, "hostType": "docker", "insecureRegistry": True}
        settings["hostRules"] = [rule]
    notes = [f"Renovate trusts {CA_FILE} by the variable NODE_EXTRA_CA_CERTS"] if ground.ca_files else []
    return Wired(
        (WiredFile("renovate.json", f"{json.dumps(settings, indent=2)}\n"), *ground.ca_files), tuple(notes)
    )


def _argo_registry(ground: Ground) -> Iterator[str]:
    if ground.is_plain:
        about = {"type": "oci", "url": f"oci://{ground.authority}", "insecureOCIForceHttp": "true"}
        yield _secret("oci", "repo-creds", about)
        return
    for slug, prefix in _named(ground.prefixes):
        url = f"{ground.authority}/{prefix.name}"
        yield _secret(slug, "repository", {"type": "helm", "name": slug, "url": url, "enableOCI": "true"})


def _argo_classic(ground: Ground) -> Iterator[str]:
    for slug, prefix in _named(ground.prefixes):
        name = f"{slug}-classic"
        yield _secret(name, "repository", {"type": "helm", "name": name, "url": ground.classic_url(prefix)})


def _secret(name: str, kind: str, about: dict[str, str]) -> str:
    values = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in about.items())
    return (
        f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: chart-gateway-{name}\n  namespace: argocd\n"
        f"  labels:\n    argocd.argoproj.io/secret-type: {kind}\nstringData:\n{values}"
    )


def _flux_prefixes(ground: Ground) -> Iterator[str]:
    for slug, prefix in _named(ground.prefixes):
        url = f"oci://{ground.authority}/{prefix.name}"
        yield _source(
            "HelmRepository", slug, ground, ["type: oci", f"url: {json.dumps(url)}", *_insecure(ground)]
        )
        classic = [f"url: {json.dumps(ground.classic_url(prefix))}"]
        yield _source("HelmRepository", f"{slug}-classic", ground, classic)


def _flux_charts(ground: Ground) -> Iterator[str]:
    names = [one.repository for one in ground.charts]
    for slug, chart in zip(slugs(names), ground.charts, strict=True):
        lines = [f"url: {json.dumps(f'oci://{ground.authority}/{chart.repository}')}", "ref:"]
        lines.append(f"  semver: {json.dumps(chart.versions or _ANY_VERSION)}")
        lines += ["layerSelector:", f"  mediaType: {_CHART_LAYER}", "  operation: copy", *_insecure(ground)]
        yield _source("OCIRepository", slug, ground, lines)


def _source(kind: str, name: str, ground: Ground, about: Iterable[str]) -> str:
    ca = ["certSecretRef:", f"  name: {_CA_SECRET}"] if ground.ca_files else []
    spec = "".join(f"  {line}\n" for line in chain(["interval: 10m"], about, ca))
    return (
        f"apiVersion: source.toolkit.fluxcd.io/v1\nkind: {kind}\nmetadata:\n  name: {json.dumps(name)}\n"
        f"  namespace: flux-system\nspec:\n{spec}"
    )


def _insecure(ground: Ground) -> Sequence[str]:
    return ["insecure: true"] if ground.is_plain else []


def _named(prefixes: Sequence[Prefix]) -> Iterator[tuple[str, Prefix]]:
    return zip(slugs([one.name for one in prefixes]), prefixes, strict=True)


def _notes(ground: Ground) -> tuple[str, ...]:
    return () if ground.prefixes else (_NO_PREFIX,)


def _host(ground: Ground) -> str:
    """Without a port: so Argo CD looks for certificates."""
    return ground.url.host.strip("[]")


def _shell(text: str) -> str:
    return "'" + text.replace("'", "") + "'"  # a range has none
