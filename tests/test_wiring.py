"""Each file for a client is read by a parser of its format, and says what the rules say."""

import json
import tomllib
from collections.abc import Mapping
from typing import TypeAlias

import pytest
import yaml

from gateway.oci.errors import OciError
from gateway.oci.repository import Repository
from gateway.oci.urls import parse_upstream_url
from gateway.rules.load import load_rules
from gateway.rules.route import Wanted, route
from gateway.wired import CA_FILE, Wired, Wishes, slugs
from gateway.wiring import CLIENTS, wire

pytestmark = pytest.mark.slow  # many documents

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

RULES = """\
version: 1
upstreams:
  charts.corp.example/stable: {kind: helm, url: "http://nexus.corp.example:8081/helm"}
  registry.corp.example: {kind: registry, token_file: token}
  old.example: {deny: "moved"}
rules:
  - {repository: "argo/*", rewrite: argoproj.github.io/argo-helm/$1}
  - {repository: "prom/*", rewrite: [ghcr.io/prom/charts/$1, prom.github.io/helm/$1]}
  - {repository: "quay.io/**", fresh_for: 1h}
  - {repository: "images/**", deny: "no"}
  - {host: chartproxy.example.com, repository: "**", rewrite: $1}
  - {repository: "off/*", rewrite: off.example/$1, enabled: false}
sync:
  - name: platform
    charts: [{repository: argo/argo-cd, versions: ">=5 <6"}, {repository: "charts.jetstack.io/*", newest: 1}]
    images: [{repository: registry.k8s.io/pause, newest: 1}, {repository: old.example/x, newest: 1}]
"""
REGISTRIES = ["docker.io", "registry.corp.example", "ghcr.io", "quay.io", "registry.k8s.io"]
PREFIXES = ["argo", "prom", "charts.jetstack.io", "charts.corp.example/stable"]
PLAIN, TLS = "http://gw.example:9000", "https://gw.example"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
CA = Wishes(ca=PEM)


def wired(client: str, url: str = PLAIN, wishes: Wishes | None = None, rules: str = RULES) -> Wired:
    return wire(client, load_rules(rules), parse_upstream_url(url), wishes or Wishes())


def files(
    client: str, url: str = PLAIN, wishes: Wishes | None = None, rules: str = RULES
) -> Mapping[str, str]:
    return {one.name: one.text for one in wired(client, url, wishes, rules).files}


def documents(text: str) -> list[dict[str, Json]]:
    return list(yaml.safe_load_all(text))


def of_kind(text: str, kind: str) -> list[dict[str, Json]]:
    return [one for one in documents(text) if one["kind"] == kind]


def members(one: Mapping[str, Json], key: str) -> dict[str, Json]:
    found = one[key]
    assert isinstance(found, dict)
    return found


def test_containerd_asks_us_first_for_each_registry_that_the_rules_let_through() -> None:
    made = files("containerd")
    assert list(made) == [f"certs.d/{host}/hosts.toml" for host in REGISTRIES]
    read = {name.split("/")[1]: tomllib.loads(text) for name, text in made.items()}
    assert read["docker.io"] == {
        "server": "https://registry-1.docker.io",
        "host": {PLAIN: {"capabilities": ["pull", "resolve"]}},
    }
    assert read["ghcr.io"]["server"] == "https://ghcr.io"


def test_containerd_asks_nobody_else_where_that_is_wanted() -> None:
    made = files("containerd", TLS, Wishes(PEM, has_default=True, is_exclusive=True))
    read = tomllib.loads(made["certs.d/_default/hosts.toml"])
    assert read == {"server": TLS, "capabilities": ["pull", "resolve"], "ca": f"../{CA_FILE}"}
    assert made[f"certs.d/{CA_FILE}"] == PEM


def test_containerd_by_default_names_no_server() -> None:
    made = files("containerd", TLS, Wishes(PEM, has_default=True))
    assert tomllib.loads(made["certs.d/_default/hosts.toml"]) == {
        "host": {TLS: {"capabilities": ["pull", "resolve"], "ca": f"../{CA_FILE}"}}
    }


@pytest.mark.parametrize("client", ["k3s", "rke2"])
def test_k3s_and_rke2_have_us_as_endpoint_of_each_registry(client: str) -> None:
    made = files(client, TLS, Wishes(PEM, has_default=True))
    (read,) = documents(made["registries.yaml"])
    assert read["mirrors"] == {host: {"endpoint": [TLS]} for host in [*REGISTRIES, "*"]}
    assert read["configs"] == {"gw.example": {"tls": {"ca_file": f"/etc/rancher/{client}/{CA_FILE}"}}}
    assert documents(files(client)["registries.yaml"])[0].keys() == {"mirrors"}


def test_docker_has_us_as_mirror() -> None:
    assert json.loads(files("docker")["daemon.json"]) == {
        "registry-mirrors": [PLAIN],
        "insecure-registries": ["gw.example:9000"],
    }
    secure = files("docker", TLS, CA)
    assert json.loads(secure["daemon.json"]) == {"registry-mirrors": [TLS]}
    assert secure["certs.d/gw.example/ca.crt"] == PEM


def test_the_rules_that_dockers_older_store_needs_lead_its_names_to_docker_hub() -> None:
    (note,) = (one for one in wired("docker").notes if "older" in one)
    entries = [part.split("}")[0] for part in note.split("{host: <that name>, ")[1:]]
    lines = "".join(f"- {{host: hub.example, {entry}}}\n" for entry in entries)
    rule_set = load_rules(f"version: 1\nrules:\n{lines}")
    for asked in ("library/nginx", "docker.io/library/nginx"):
        routed = route(rule_set, Wanted(Repository.parse(asked), "hub.example"))
        assert str(routed.first.target) == "docker.io/library/nginx"
    with pytest.raises(OciError):
        route(rule_set, Wanted(Repository.parse("library/nginx"), "gw.example"))


def test_podman_and_skopeo_have_us_as_mirror_of_each_registry() -> None:
    read = tomllib.loads(files("podman")["registries.conf.d/chart-gateway.conf"])
    assert [one["prefix"] for one in read["registry"]] == REGISTRIES
    assert read["registry"][0] == {
        "prefix": "docker.io",
        "location": "docker.io",
        "mirror": [{"location": "gw.example:9000/docker.io", "insecure": True}],
    }
    only = tomllib.loads(
        files("podman", TLS, Wishes(is_exclusive=True))["registries.conf.d/chart-gateway.conf"]
    )
    assert only["registry"][0] == {"prefix": "docker.io", "location": "gw.example/docker.io"}


def test_harbor_has_us_as_endpoint_of_a_project() -> None:
    made = files("harbor", TLS, CA)
    endpoint = json.loads(made["harbor-registry.json"])
    assert (endpoint["type"], endpoint["url"], endpoint["insecure"]) == ("docker-registry", TLS, False)
    assert endpoint["name"] in made["harbor.sh"]
    assert "registry_id: $id" in made["harbor.sh"]


def test_helm_has_commands_for_each_prefix_and_each_chart_of_a_list() -> None:
    lines = files("helm")["helm.txt"].splitlines()
    assert "helm pull oci://gw.example:9000/argo/<chart> --plain-http" in lines
    assert "helm pull oci://gw.example:9000/argo/argo-cd --version '>=5 <6' --plain-http" in lines
    assert "helm repo add argo http://gw.example:9000/charts/argo" in lines
    secure = files("helm", TLS, CA)["helm.txt"].splitlines()
    assert f"helm repo add argo {TLS}/charts/argo --ca-file {CA_FILE}" in secure


def test_argo_cd_has_a_repository_of_each_kind_for_each_prefix() -> None:
    secrets = of_kind(files("argocd", TLS)["argocd-repositories.yaml"], "Secret")
    about = [members(one, "stringData") for one in secrets]
    assert [one["url"] for one in about if one.get("enableOCI") == "true"] == [
        f"gw.example/{p}" for p in PREFIXES
    ]
    assert [one["url"] for one in about if "enableOCI" not in one] == [f"{TLS}/charts/{p}" for p in PREFIXES]
    assert {one["type"] for one in about} == {"helm"}
    labels = [members(members(one, "metadata"), "labels") for one in secrets]
    assert {str(one["argocd.argoproj.io/secret-type"]) for one in labels} == {"repository"}


def test_argo_cd_is_told_of_plain_http_and_of_a_certificate() -> None:
    plain = of_kind(files("argocd")["argocd-repositories.yaml"], "Secret")
    assert members(plain[0], "stringData") == {
        "type": "oci",
        "url": "oci://gw.example:9000",
        "insecureOCIForceHttp": "true",
    }
    (trusted,) = of_kind(
        files("argocd", "https://gw.example:8443", CA)["argocd-repositories.yaml"], "ConfigMap"
    )
    assert trusted["data"] == {"gw.example": PEM}


def test_flux_has_sources_of_each_kind() -> None:
    read = files("flux")["flux-sources.yaml"]
    repositories = [members(one, "spec") for one in of_kind(read, "HelmRepository")]
    assert [one["url"] for one in repositories if one.get("type") == "oci"] == [
        f"oci://gw.example:9000/{prefix}" for prefix in PREFIXES
    ]
    assert [one["url"] for one in repositories if "type" not in one] == [
        f"{PLAIN}/charts/{p}" for p in PREFIXES
    ]
    assert {one.get("insecure") for one in repositories if one.get("type") == "oci"} == {True}
    assert {"insecure" in one for one in repositories if "type" not in one} == {False}
    (chart,) = of_kind(read, "OCIRepository")
    assert members(chart, "spec")["url"] == "oci://gw.example:9000/argo/argo-cd"
    assert members(chart, "spec")["ref"] == {"semver": ">=5 <6"}


def test_flux_trusts_a_certificate_by_a_secret() -> None:
    read = files("flux", TLS, CA)["flux-sources.yaml"]
    (secret,) = of_kind(read, "Secret")
    assert secret["stringData"] == {"ca.crt": PEM}
    name = members(secret, "metadata")["name"]
    sources = [one for one in documents(read) if one["kind"] != "Secret"]
    assert [members(one, "spec")["certSecretRef"] for one in sources] == [{"name": name}] * len(sources)


def test_helmfile_has_repositories_of_each_kind() -> None:
    (read,) = documents(files("helmfile")["helmfile-repositories.yaml"])
    assert isinstance(read["repositories"], list)
    assert read["repositories"][:2] == [
        {"name": "argo", "url": "gw.example:9000/argo", "oci": True, "plainHttp": True},
        {"name": "argo-classic", "url": f"{PLAIN}/charts/argo"},
    ]
    assert len(read["repositories"]) == 2 * len(PREFIXES)


@pytest.mark.parametrize("word", ["on", "null", "1e3", "0x1f", "12", "y"])
def test_a_prefix_that_yaml_would_take_for_no_text_stays_a_name(word: str) -> None:
    rules = f"version: 1\nrules:\n  - {{repository: '{word}/*', rewrite: charts.jetstack.io/$1}}\n"
    (helmfile,) = documents(files("helmfile", rules=rules)["helmfile-repositories.yaml"])
    assert isinstance(helmfile["repositories"], list)
    named = [one["name"] for one in helmfile["repositories"] if isinstance(one, dict)]
    assert named[:2] == [word, f"{word}-classic"]
    sources = documents(files("flux", rules=rules)["flux-sources.yaml"])
    assert [members(one, "metadata")["name"] for one in sources][:2] == [word, f"{word}-classic"]


def test_renovate_asks_us_for_images_and_for_the_repositories_behind_prefixes() -> None:
    read = json.loads(files("renovate")["renovate.json"])
    assert read["registryAliases"] == {host: f"gw.example:9000/{host}" for host in REGISTRIES}
    ours = {rule["matchRegistryUrls"][0]: rule["registryUrls"] for rule in read["packageRules"]}
    assert ours["https://argoproj.github.io/argo-helm"] == [f"{PLAIN}/charts/argo"]
    assert ours["https://charts.jetstack.io"] == [f"{PLAIN}/charts/charts.jetstack.io"]
    assert read["hostRules"] == [
        {"matchHost": "gw.example:9000", "hostType": "docker", "insecureRegistry": True}
    ]
    assert "hostRules" not in json.loads(files("renovate", TLS)["renovate.json"])


@pytest.mark.parametrize("client", CLIENTS)
def test_who_cannot_sign_in_is_told_what_is_private(client: str) -> None:
    assert any("registry.corp.example" in note and "401" in note for note in wired(client).notes)
    assert not any("401" in note for note in wired(client, rules="version: 1").notes)


@pytest.mark.parametrize("client", CLIENTS)
def test_without_any_rules_each_client_gets_what_it_can_read(client: str) -> None:
    made = files(client, rules="version: 1")
    for name, text in made.items():
        if name.endswith(".yaml"):
            documents(text)
        if name.endswith(".json"):
            json.loads(text)


def test_what_the_rules_deny_is_no_registry_of_ours() -> None:
    denied = "version: 1\nupstreams: {docker.io: {deny: no}}"
    assert files("containerd", rules=denied) == {}
    outside = "version: 1\negress: {mode: allowlist, hosts: [quay.io]}"
    assert files("containerd", rules=outside) == {}


def test_names_for_kubernetes_are_never_alike() -> None:
    assert slugs(["a/b", "a.b", "a-b", "charts.corp.example/stable"]) == [
        *("a-b", "a-b-2", "a-b-3"),
        "charts-corp-example-stable",
    ]
