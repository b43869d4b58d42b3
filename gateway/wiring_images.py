"""Clients of images: which files make each of them ask this gateway for other registries' names."""

import json
from typing import Final

from gateway.rules import docker_hub
from gateway.wired import CA_FILE, Ground, Wired, WiredFile

_DEFAULT: Final = "_default"
_HARBOR_PROJECT: Final = "chart-gateway"
_FALLS_BACK: Final = "where this gateway cannot answer, the registry itself is asked; --only leaves that out"


def containerd(ground: Ground) -> Wired:
    """A ``hosts.toml`` for each registry (docs/hosts.md of containerd); ``?ns=`` says here which is meant."""
    hosts = (*ground.registries, *([_DEFAULT] if ground.wishes.has_default else []))
    return Wired(
        (
            *(WiredFile(f"certs.d/{host}/hosts.toml", _hosts_toml(ground, host)) for host in hosts),
            *(WiredFile(f"certs.d/{one.name}", one.text) for one in ground.ca_files),
        ),
        (
            "certs.d goes to /etc/containerd, and config.toml names it: config_path under "
            '[plugins."io.containerd.cri.v1.images".registry], in containerd 1.x '
            '[plugins."io.containerd.grpc.v1.cri".registry]',
            *_fallback(ground, _FALLS_BACK),
        ),
    )


def k3s(ground: Ground) -> Wired:
    return _rancher(ground, "k3s")


def rke2(ground: Ground) -> Wired:
    return _rancher(ground, "rke2")


def docker(ground: Ground) -> Wired:
    """``daemon.json``, whose mirrors are Docker Hub's alone, and have no path."""
    settings: dict[str, object] = {"registry-mirrors": [ground.url.origin]}
    if ground.is_plain:
        settings["insecure-registries"] = [ground.authority]
    return Wired(
        (
            WiredFile("daemon.json", f"{json.dumps(settings, indent=2)}\n"),
            *(WiredFile(f"certs.d/{ground.authority}/ca.crt", one.text) for one in ground.ca_files),
        ),
        (
            "goes to /etc/docker: add it to what daemon.json says there, and restart dockerd",
            "Docker mirrors docker.io alone; what is elsewhere is pulled by its name here: "
            f"docker pull {ground.authority}/<registry>/<name>",
            "the older image store (usual before Docker 29) asks for library/nginx and does not say of which "
            "registry. It needs a host name of its own that leads here, given as --url, and above all "
            'other rules two: {host: <that name>, repository: "docker.io/**"} and '
            '{host: <that name>, repository: "**", rewrite: docker.io/$1}',
        ),
    )


def podman(ground: Ground) -> Wired:
    """``registries.conf`` (containers-registries.conf(5)), which Podman, Skopeo, Buildah and CRI-O read."""
    registries = "\n".join(_registry(ground, host) for host in ground.registries)
    return Wired(
        (
            WiredFile("registries.conf.d/chart-gateway.conf", registries),
            *(WiredFile(f"certs.d/{ground.authority}/ca.crt", one.text) for one in ground.ca_files),
        ),
        (
            "goes to /etc/containers; or, of Skopeo: skopeo --registries-conf FILE",
            *_fallback(ground, _FALLS_BACK),
        ),
    )


def harbor(ground: Ground) -> Wired:
    """An endpoint and a project that is a proxy cache of it, with the commands that make them."""
    endpoint = {
        "name": _HARBOR_PROJECT,
        "type": "docker-registry",
        "url": ground.url.origin,
        "insecure": False,
        "description": "charts and images by way of chart-gateway",
    }
    return Wired(
        (
            WiredFile("harbor-registry.json", f"{json.dumps(endpoint, indent=2)}\n"),
            WiredFile("harbor.sh", _HARBOR_COMMANDS),
            *ground.ca_files,
        ),
        (
            "run HARBOR=https://harbor.example.com sh harbor.sh beside harbor-registry.json; it needs curl, "
            "jq, and an administrator's login in ~/.netrc",
            "the project is private: who pulls signs in to Harbor, unless you open it",
            f"names here then stand behind the project's: <harbor>/{_HARBOR_PROJECT}/<registry>/<name>",
            *(
                [f"Harbor has to trust {CA_FILE} itself: see «trust_ca» in its chart"]
                if ground.ca_files
                else []
            ),
        ),
    )


_HARBOR_COMMANDS: Final = f"""\
#!/bin/sh
set -eu
api="$HARBOR/api/v2.0"
curl -fsS -n -H 'Content-Type: application/json' -d @harbor-registry.json "$api/registries"
id=$(curl -fsS -n "$api/registries?q=name%3D{_HARBOR_PROJECT}" | jq '.[0].id')
jq -n --argjson id "$id" \\
  '{{project_name: "{_HARBOR_PROJECT}", registry_id: $id, metadata: {{public: "false"}}}}' |
  curl -fsS -n -H 'Content-Type: application/json' -d @- "$api/projects"
"""


def _hosts_toml(ground: Ground, host: str) -> str:
    """All quoted texts are URLs and paths, which JSON and TOML write alike."""
    ca = f"ca = {json.dumps(f'../{CA_FILE}')}\n" if ground.ca_files else ""
    if ground.wishes.is_exclusive:
        return f'server = {json.dumps(ground.url.origin)}\ncapabilities = ["pull", "resolve"]\n{ca}'
    dialled = docker_hub.DIALLED if docker_hub.is_on(host) else host
    server = "" if host == _DEFAULT else f"server = {json.dumps(f'https://{dialled}')}\n\n"
    inside = "".join(f"  {line}\n" for line in ['capabilities = ["pull", "resolve"]', *ca.splitlines()])
    return f"{server}[host.{json.dumps(ground.url.origin)}]\n{inside}"


def _rancher(ground: Ground, name: str) -> Wired:
    """``registries.yaml``: k3s and RKE2 make hosts.toml of it, and the names stay as they are."""
    folder = f"/etc/rancher/{name}"
    lines = ["mirrors:"]
    for host in (*ground.registries, *(["*"] if ground.wishes.has_default else [])):
        lines += [f"  {json.dumps(host)}:", "    endpoint:", f"      - {json.dumps(ground.url.origin)}"]
    if ground.ca_files:
        lines += ["configs:", f"  {json.dumps(ground.authority)}:", "    tls:"]
        lines.append(f"      ca_file: {json.dumps(f'{folder}/{CA_FILE}')}")
    only = "disable-default-registry-endpoint: true"
    return Wired(
        (WiredFile("registries.yaml", "\n".join((*lines, ""))), *ground.ca_files),
        (
            f"goes to {folder} on each node, before {name} starts there, or starts anew",
            f"with --only, {folder}/config.yaml needs {only}"
            if ground.wishes.is_exclusive
            else "where this gateway cannot answer, the registry itself is asked, unless "
            f"{folder}/config.yaml says {only}",
        ),
    )


def _registry(ground: Ground, host: str) -> str:
    here = f"{ground.authority}/{host}"
    insecure = "insecure = true\n" if ground.is_plain else ""
    if ground.wishes.is_exclusive:
        return f"[[registry]]\nprefix = {json.dumps(host)}\nlocation = {json.dumps(here)}\n{insecure}"
    registry = f"[[registry]]\nprefix = {json.dumps(host)}\nlocation = {json.dumps(host)}\n"
    return f"{registry}[[registry.mirror]]\nlocation = {json.dumps(here)}\n{insecure}"


def _fallback(ground: Ground, note: str) -> tuple[str, ...]:
    return () if ground.wishes.is_exclusive else (note,)
