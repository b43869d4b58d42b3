"""Configuration for clients, made of the rules in force: which hosts and prefixes lead here, and how."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from gateway import wiring_charts, wiring_images
from gateway.oci.urls import HttpUrl
from gateway.rules import docker_hub
from gateway.rules.model import Access, Rule, RuleSet, UpstreamKind
from gateway.rules.rewrites import Rewrite
from gateway.rules.route import is_public_host
from gateway.wired import ChartWanted, Ground, Prefix, Wired, Wishes

CLIENTS: Final[Mapping[str, Callable[[Ground], Wired]]] = {
    "containerd": wiring_images.containerd,
    "k3s": wiring_images.k3s,
    "rke2": wiring_images.rke2,
    "docker": wiring_images.docker,
    "podman": wiring_images.podman,
    "harbor": wiring_images.harbor,
    "helm": wiring_charts.helm,
    "argocd": wiring_charts.argocd,
    "flux": wiring_charts.flux,
    "helmfile": wiring_charts.helmfile,
    "renovate": wiring_charts.renovate,
}
_FILES_ALONE: Final = "github.io"  # pages: no registry answers there


def wire(client: str, rules: RuleSet, url: HttpUrl, wishes: Wishes) -> Wired:
    """What one of CLIENTS needs; ``url`` is where it reaches us."""
    found = CLIENTS[client](_ground(rules, url, wishes))
    private = sorted(key for key, upstream in rules.upstreams.items() if upstream.access is Access.PRIVATE)
    if not private:
        return found
    told = f"{', '.join(private)}: private, and clients cannot sign in here yet: they get 401"
    return Wired(found.files, (*found.notes, told))


def _ground(rules: RuleSet, url: HttpUrl, wishes: Wishes) -> Ground:
    charts = tuple(_charts(rules))
    return Ground(url, tuple(_registries(rules)), tuple(_prefixes(rules, charts)), charts, wishes)


def _registries(rules: RuleSet) -> Iterator[str]:
    """Hosts that images have in front of their names, and that the rules let through."""
    named = [docker_hub.HOST, *_hosts_written(rules)]
    for host in dict.fromkeys(named):
        upstream = rules.upstreams.get(host)
        is_other = upstream is not None and upstream.kind in (UpstreamKind.HELM, UpstreamKind.CHARTPROXY)
        if not is_other and not f".{host}".endswith(f".{_FILES_ALONE}") and rules.denial(host) is None:
            yield host


def _hosts_written(rules: RuleSet) -> Iterator[str]:
    for upstream in rules.upstreams.values():
        if upstream.kind is UpstreamKind.REGISTRY:
            yield upstream.key.partition("/")[0]
    for rule in rules.rules.enabled:
        yield from (
            host for host in (rewrite.host for rewrite in rule.rewrites) if host and _is_host(rules, host)
        )
        first = "" if rule.look.repository is None else (rule.look.repository.segments or ("",))[0]
        if rule.deny is None and _is_host(rules, first):
            yield first
    for wanted in rules.sync:
        hosts = (entry.repository.text.partition("/")[0] for entry in wanted.images)
        yield from (host for host in hosts if _is_host(rules, host))


def _is_host(rules: RuleSet, segment: str) -> bool:
    return is_public_host(segment) or any(key.partition("/")[0] == segment for key in rules.upstreams)


def _charts(rules: RuleSet) -> Iterator[ChartWanted]:
    for wanted in rules.sync:
        for entry in wanted.charts:
            if not entry.repository.captures:
                versions = entry.visibility.versions
                yield ChartWanted(entry.repository.text, None if versions is None else versions.text)


def _prefixes(rules: RuleSet, charts: tuple[ChartWanted, ...]) -> Iterator[Prefix]:
    """What stands before charts: of rules, of lists, and places of Helm repositories; each once."""
    stands_for: dict[str, list[str]] = {}
    for rule in rules.rules.enabled:
        name = _prefix_of(rule)
        if name and not _is_host(rules, name.partition("/")[0]):
            stands_for.setdefault(name, []).extend(filter(None, map(_repository_at, rule.rewrites)))
    globs = (entry.repository for wanted in rules.sync for entry in wanted.charts)
    listed = [glob.text.partition("*")[0].rpartition("/")[0] for glob in globs]
    helm = [key for key, one in rules.upstreams.items() if one.kind is UpstreamKind.HELM and one.deny is None]
    for name in filter(None, [*listed, *(key for key in helm if ":" not in key)]):
        stands_for.setdefault(name, []).extend([f"https://{name}"] if _may_be_helm(rules, name) else [])
    for name, places in stands_for.items():
        yield Prefix(name, tuple(dict.fromkeys(places)))


def _may_be_helm(rules: RuleSet, place: str) -> bool:
    """Whether a place by its own name may be a Helm repository's."""
    upstream = rules.upstream_for(place)
    is_registry = docker_hub.is_on(place) or (upstream is not None and upstream.kind is UpstreamKind.REGISTRY)
    return not is_registry and _is_host(rules, place.partition("/")[0])


def _prefix_of(rule: Rule) -> str:
    """The whole segments that a rule's names begin with; empty where it says none, or is for one host."""
    pattern = rule.look.repository
    if pattern is None or pattern.segments is None or rule.look.host is not None or rule.deny is not None:
        return ""
    return pattern.text.partition("*")[0].rpartition("/")[0]


def _repository_at(rewrite: Rewrite) -> str | None:
    """``https://argoproj.github.io/argo-helm`` of ``argoproj.github.io/argo-helm/$1``."""
    first = rewrite.parts[0]
    if (
        rewrite.host is None
        or not isinstance(first, str)
        or len(rewrite.parts) != 2
        or not first.endswith("/")
    ):
        return None
    return f"https://{first.removesuffix('/')}"
