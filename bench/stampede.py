"""Two hundred clients at once for something that nobody has asked for yet: how often upstream is asked.

Upstream takes its time, so that all of them come while the first is still being served; it counts.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from bench.crowd import Told, gathered
from bench.figures import AtMost, Figure
from bench.gateways import Running, running_by
from bench.processes import wait_until
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI
from tests.fakes.messages import Faults, Request
from tests.fakes.registry import FakeRegistry
from tests.fakes.server import FakeServer

CLIENTS = 200
_WORKERS = (1, 4)
_ROUNDS = 3
_SLOW_SECONDS = 0.5
_HOST = "upstream.example.test"
_CHART = make_chart("demo", "1.2.3", {"files/large": bytes(300_000)})
_IMAGE = OCI.image(300_000)


@dataclass(frozen=True, slots=True)
class _Scene:
    """``serving`` makes the upstream, ``keys`` are its rules, ``path`` is what all ask for."""

    what: str
    serving: Callable[[], FakeServer]
    kind: str
    path: str
    objects: int


@dataclass(frozen=True, slots=True)
class _Round:
    """What upstream was asked for, what the clients were told, which worker had how many of them."""

    asked: Sequence[Request]
    told: Told
    shares: Sequence[int]

    def count(self, method: str) -> Mapping[str, int]:
        """How often each path was asked for so."""
        return Counter(request.path for request in self.asked if request.method == method)


def _chart_upstream() -> FakeServer:
    return HelmRepo(repository_of(_CHART))


def _image_upstream() -> FakeServer:
    registry = FakeRegistry()
    _IMAGE.push_to(registry, "team/app", "1.0")
    return registry


_SCENES = (
    _Scene("a chart (index, archive)", _chart_upstream, "helm", f"/v2/{_HOST}/demo/manifests/1.2.3", 2),
    _Scene(
        "an image (manifest, layer)", _image_upstream, "registry", f"/v2/{_HOST}/team/app/manifests/1.0", 2
    ),
)


def run() -> Sequence[Figure]:
    figures: list[Figure] = []
    for scene in _SCENES:
        for workers in _WORKERS:
            figures += _pulled(scene, workers)
            figures.append(_failed(scene, workers))
    return figures


def _pulled(scene: _Scene, workers: int) -> Sequence[Figure]:
    rounds = [_round(scene, workers, Faults(slow_seconds=_SLOW_SECONDS)) for _ in range(_ROUNDS)]
    if any(one.told.layers != CLIENTS or len(one.count("GET")) != scene.objects for one in rounds):
        raise RuntimeError(f"{scene.what}: not what was asked for: {rounds}")
    what = f"{CLIENTS} cold pulls of {scene.what}, {_of(workers)}"
    return [
        Figure(f"{what}: GETs of one object", _most(rounds, "GET"), "times", AtMost(1), _how(rounds)),
        Figure(f"… HEADs of one object, {_of(workers)}", _most(rounds, "HEAD"), "times"),
    ]


def _failed(scene: _Scene, workers: int) -> Figure:
    rounds = [_round(scene, workers, Faults(slow_seconds=_SLOW_SECONDS, status=500)) for _ in range(_ROUNDS)]
    if any(one.told.outcomes != {"503": CLIENTS} for one in rounds):
        raise RuntimeError(f"{scene.what}: not the failure that was made: {rounds}")
    most = max(len(one.asked) for one in rounds)
    return Figure(
        f"… upstream fails, {_of(workers)}: requests in all", most, "times", AtMost(1), _how(rounds)
    )


def _round(scene: _Scene, workers: int, faults: Faults) -> _Round:
    with TemporaryDirectory() as root, scene.serving() as upstream:
        place = {"kind": scene.kind, "url": upstream.origin, "allow_private": True}
        rules = {"version": 1, "upstreams": {_HOST: place}}
        with (
            running_by(rules, Path(root, "data"), workers=workers) as gateway,
            gathered(gateway.port, scene.path, CLIENTS) as crowd,
        ):
            upstream.faults = faults
            wait_until(lambda: sum(_shares(gateway)) >= CLIENTS)
            shares = _shares(gateway)
            crowd.go()
            told = crowd.told()
        return _Round(tuple(upstream.requests), told, shares)


def _shares(gateway: Running) -> Sequence[int]:
    """How many of the connections each worker has taken."""
    found = (psutil.Process(worker).net_connections("tcp") for worker in gateway.workers)
    return [sum(one.status == psutil.CONN_ESTABLISHED for one in connections) for connections in found]


def _most(rounds: Sequence[_Round], method: str) -> int:
    return max(max(one.count(method).values(), default=0) for one in rounds)


def _of(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


def _how(rounds: Sequence[_Round]) -> str:
    """What clients were told in the last of the rounds, and how the workers shared them."""
    last = rounds[-1]
    told = ", ".join(f"{count} of {outcome}" for outcome, count in sorted(last.told.outcomes.items()))
    return f"most of {len(rounds)} rounds; clients: {told}; connections {'/'.join(map(str, last.shares))}"
