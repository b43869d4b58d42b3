"""Which sources are asked for a target, in what order, and why the chart proxy is not among them."""

from dataclasses import dataclass

from gateway.rules import docker_hub
from gateway.rules.model import Policy, SourceName, Upstream, UpstreamKind

_BY_KIND = {
    UpstreamKind.HELM: (SourceName.CHARTPROXY, SourceName.HELM),
    UpstreamKind.REGISTRY: (SourceName.REGISTRY,),
    UpstreamKind.CHARTPROXY: (SourceName.REGISTRY,),
    UpstreamKind.AUTO: (SourceName.REGISTRY, SourceName.CHARTPROXY, SourceName.HELM),
}


@dataclass(frozen=True, slots=True)
class Chain:
    """``sources`` in the order they are asked; empty, and then ``emptied_by`` says why.

    ``is_registry_guessed``: the registry among them only where the upstream turns out to be one.
    ``chartproxy`` is None where there is none, or where it must not learn of the target.
    """

    sources: tuple[SourceName, ...]
    is_registry_guessed: bool = False
    chartproxy: str | None = None
    emptied_by: str | None = None


def chain_of(
    policy: Policy,
    upstream: Upstream | None,
    host: str,
    *,
    has_login: bool,
    is_proxy_ruled: bool = False,
) -> Chain:
    """The chain for a target on ``host``.

    ``has_login``: a docker config.json signs in there. ``is_proxy_ruled``: the rule itself names the chart
    proxy.
    """
    kind = _kind_of(upstream, host)
    wanted = policy.chain or _BY_KIND[kind]
    is_told = is_proxy_ruled or (upstream is not None and upstream.has_own_chartproxy)
    is_public = not has_login and (upstream is None or upstream.is_public)
    refusal = _refusal(policy, is_told=is_told, is_public=is_public) or _refusal_of_own(policy, host)
    kept = tuple(source for source in wanted if source is not SourceName.CHARTPROXY or refusal is None)
    return Chain(
        sources=kept,
        is_registry_guessed=policy.chain is None and kind is UpstreamKind.AUTO,
        chartproxy=policy.chartproxy if SourceName.CHARTPROXY in kept else None,
        emptied_by=None if kept else refusal,
    )


def _refusal(policy: Policy, *, is_told: bool, is_public: bool) -> str | None:
    """Why no chart proxy is asked, as far as the rules tell; None where one may be."""
    if policy.chartproxy is None:
        return "no `chartproxy` is named"
    if policy.provenance:
        return "a chart proxy has no provenance"
    if is_told or is_public:
        return None
    return (
        "a chart proxy is not told of an upstream that is not public, unless `chartproxy` stands on that one "
        "or on the rule"
    )


def _refusal_of_own(policy: Policy, host: str) -> str | None:
    is_own = policy.chartproxy is not None and policy.chartproxy.partition("/")[0] == host
    return f"{host} is the chart proxy itself" if is_own else None


def _kind_of(upstream: Upstream | None, host: str) -> UpstreamKind:
    kind = UpstreamKind.AUTO if upstream is None else upstream.kind
    is_known_registry = kind is UpstreamKind.AUTO and host == docker_hub.HOST
    return UpstreamKind.REGISTRY if is_known_registry else kind
