"""Upstreams that died with everything held and past fresh: how soon the stale answers come.

The chain has three sources, and each gave some of the tags: the registry and the Helm repository of one host,
and a chart proxy. All of them die at once, in one of three ways.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.figures import AtMost, Figure
from bench.gateways import Running, fetch, running_by
from bench.silent import BlackHole, Dripping, Silent
from gateway.helm.index import ChartVersion
from gateway.oci.media_types import OCI_MANIFEST
from tests.fakes.chart_proxy import conversion_of
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.messages import Answer, Request
from tests.fakes.registry import FakeRegistry
from tests.fakes.server import FakeServer

_PLACE = "charts.example.test"
_PROXY = "proxy.example.test"
_GIVERS = ("registry", "chartproxy", "helm")  # each gives first in a round of its own
_TAGS = 10  # of each giver
_ANSWERS = 100
_QUICK_MILLISECONDS = 50.0
_FRESH_SECONDS = 1.0
_PAUSE_SECONDS = 15.0  # after which the gateway tries an upstream again that was silent

_WAYS: Mapping[str, Callable[[int], AbstractContextManager[object]]] = {
    "black hole": BlackHole,
    "silent": Silent,
    "dripping": Dripping,
}


@dataclass(frozen=True, slots=True)
class _Round:
    """Milliseconds: the first answer, then by what was asked for."""

    first: float
    next: Mapping[str, Sequence[float]]


class _Both(FakeServer):
    """A host that is a registry and a Helm repository."""

    def __init__(self, registry: FakeRegistry, repository: HelmRepo) -> None:
        super().__init__()
        self._registry = registry
        self._repository = repository

    def answer(self, request: Request) -> Answer:
        one = self._registry if request.path.startswith("/v2/") else self._repository
        return one.answer(request)


def run() -> Sequence[Figure]:
    figures: list[Figure] = []
    for way, dying in _WAYS.items():
        rounds = [_round(dying, first) for first in _GIVERS]
        figures += _figures(way, rounds)
    return figures


def _figures(way: str, rounds: Sequence[_Round]) -> Sequence[Figure]:
    firsts = (f"{giver} {one.first / 1000:.2f}" for giver, one in zip(_GIVERS, rounds, strict=True))
    most = max(one.first for one in rounds) / 1000
    figures = [Figure(f"{way}: first stale answer, most", most, "s", AtMost(3), ", ".join(firsts))]
    for what in rounds[0].next:
        taken = [milliseconds for one in rounds for milliseconds in one.next.get(what, ())]
        slow = sum(milliseconds > _QUICK_MILLISECONDS for milliseconds in taken)
        how = f"median {median(taken):.1f}; {slow} of {len(taken)} take longer than the target"
        figures.append(Figure(f"… then {what}, most", max(taken), "ms", AtMost(_QUICK_MILLISECONDS), how))
    return figures


def _round(dying: Callable[[int], AbstractContextManager[object]], first: str) -> _Round:
    with TemporaryDirectory() as root, ExitStack() as stack:
        upstreams = stack.enter_context(_upstreams())
        gateway = stack.enter_context(running_by(_rules(upstreams), Path(root, "data")))
        held = {path: fetch(gateway.port, path).body for giver in _GIVERS for path in _paths(giver)}
        time.sleep(2 * _FRESH_SECONDS + 0.1)  # past the time in which upstream is asked behind
        for upstream in upstreams:
            upstream.go_down()
            stack.enter_context(dying(upstream.port))
        return _asked(partial(_stale, gateway, held), first)


def _asked(stale: Callable[[str], float], first: str) -> _Round:
    """Ask for one tag, for it again, for those of the host that gave it, for those that another one gave."""
    same = _paths(first)[0]
    own = [path for giver in _GIVERS if _is_of_one(giver, first) for path in _paths(giver)]
    others = [path for giver in _GIVERS if not _is_of_one(giver, first) for path in _paths(giver)]
    first_milliseconds = stale(same)
    following = {"the same tag": [same], "tags of the same upstream": own, "tags of another upstream": others}
    taken = {what: _ask_all(stale, paths) for what, paths in following.items()}
    if first == _GIVERS[0]:  # once will do: it takes its time
        time.sleep(_PAUSE_SECONDS + 1)
        taken["all tags, when upstream is tried again"] = _ask_all(stale, [*own, *others])
    return _Round(first_milliseconds, taken)


def _ask_all(stale: Callable[[str], float], paths: Sequence[str]) -> Sequence[float]:
    return [stale(path) for path in islice(cycle(paths), _ANSWERS)]


def _is_of_one(giver: str, other: str) -> bool:
    """Whether two of the sources are the same host."""
    return (giver == "chartproxy") == (other == "chartproxy")


def _stale(gateway: Running, held: Mapping[str, bytes], path: str) -> float:
    """Milliseconds to the whole answer, which has to be what was held."""
    started = time.perf_counter()
    answer = fetch(gateway.port, path)
    milliseconds = (time.perf_counter() - started) * 1000
    if (answer.header("x-cache"), answer.body) != ("stale", held[path]):
        raise RuntimeError(f"{path} is {answer.header('x-cache')} with its upstream dead: {answer.body!r}")
    return milliseconds


@contextmanager
def _upstreams() -> Iterator[Sequence[FakeServer]]:
    """The host of registry and Helm repository, and the chart proxy."""
    registry, proxy = FakeRegistry(), FakeRegistry()
    archives = {giver: [make_chart(giver, version) for version in _versions()] for giver in _GIVERS}
    repository = HelmRepo(repository_of(*archives["helm"]))
    _push(registry, "registry", archives["registry"])
    _push(proxy, f"{_PLACE}/chartproxy", archives["chartproxy"])
    with _Both(registry, repository) as both, proxy:
        yield both, proxy


def _push(registry: FakeRegistry, name: str, archives: Sequence[bytes]) -> None:
    for version, archive in zip(_versions(), archives, strict=True):
        made = conversion_of(archive, ChartVersion(name.rpartition("/")[2], version, urls=("chart.tgz",)))
        registry.put_blob(name, made.config)
        registry.put_blob(name, archive)
        registry.push(name, version, made.manifest, OCI_MANIFEST)


def _rules(upstreams: Sequence[FakeServer]) -> Mapping[str, object]:
    host, proxy = ({"url": upstream.origin, "allow_private": True} for upstream in upstreams)
    chain = {"chain": ["registry", "chartproxy", "helm"], "chartproxy": _PROXY}
    return {
        "version": 1,
        "defaults": {"fresh_for": f"{_FRESH_SECONDS}s", "recheck_for": f"{_FRESH_SECONDS}s"},
        "upstreams": {_PLACE: {**host, **chain}, _PROXY: {**proxy, "kind": "chartproxy"}},
    }


def _versions() -> Sequence[str]:
    return [f"1.0.{number}" for number in range(_TAGS)]


def _paths(giver: str) -> Sequence[str]:
    return [f"/v2/{_PLACE}/{giver}/manifests/{version}" for version in _versions()]
