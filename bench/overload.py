"""More clients than can be served: how what is held is served, who is turned away how soon, and the memory.

Of two thousand clients, nine in ten ask for what nobody asked for before, at an upstream that takes its time.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import AtMost, Figure
from bench.gateways import fetch, running_by
from bench.memory import resident_megabytes, watched
from bench.storm import Scene, Told, storm
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.messages import Faults
from tests.fakes.registry import FakeRegistry

_WARM_CLIENTS = 200
_COLD_CLIENTS = 1800
_ASKS_PER_SECOND = 1.0
_SECONDS = 20.0
_SLOW_SECONDS = 2.0
_WARM = "/v2/warm.example.test/demo/manifests/1.2.3"
_COLD = "/v2/cold.example.test/team/app-%d/manifests/1.0"


def run() -> Sequence[Figure]:
    with TemporaryDirectory() as root, FakeRegistry() as slow, HelmRepo(_charts()) as repository:
        slow.faults = Faults(slow_seconds=_SLOW_SECONDS)
        places = {
            "warm.example.test": {"kind": "helm", "url": repository.origin, "allow_private": True},
            "cold.example.test": {"kind": "registry", "url": slow.origin, "allow_private": True},
        }
        with running_by({"version": 1, "upstreams": places}, Path(root, "data")) as gateway:
            fetch(gateway.port, _WARM)
            scene = Scene(
                gateway.port, _WARM, _COLD, _WARM_CLIENTS, _COLD_CLIENTS, _ASKS_PER_SECOND, _SECONDS
            )
            with watched(gateway.worker) as peak:
                before = resident_megabytes(gateway.worker)
                alone, beside = storm(scene)
        return [*_waits(alone, beside), Figure("… memory of the worker", before + peak.megabytes, "MB")]


def _charts() -> dict[str, bytes]:
    return dict(repository_of(make_chart("demo", "1.2.3")))


def _waits(alone: Told, beside: Told) -> Sequence[Figure]:
    if set(alone.warm) | set(beside.warm) != {"200"} or alone.errors or beside.errors:
        raise RuntimeError(f"not served: {_counts(alone)} {_counts(beside)}")
    mine, others = _percentile(beside.warm["200"], 99), _percentile(alone.warm["200"], 99)
    clients = f"{_WARM_CLIENTS + _COLD_CLIENTS} clients, {_COLD_CLIENTS} of them cold"
    refused = beside.cold.get("429", [])
    return [
        Figure(
            f"{clients}: warm p99, of that without them",
            mine / others,
            "times",
            None,
            f"{mine:.1f} of {others:.1f} ms; cold: {_counts(beside)}",
        ),
        Figure("… 429, p50", _percentile(refused, 50), "ms"),
        Figure("… 429, p99", _percentile(refused, 99), "ms", AtMost(20), f"{len(refused)} answers"),
    ]


def _percentile(milliseconds: Sequence[float], percent: int) -> float:
    ordered = sorted(milliseconds)
    return ordered[len(ordered) * percent // 100]


def _counts(told: Told) -> str:
    counts = {status: len(taken) for status, taken in sorted(told.cold.items())}
    return json.dumps({**counts, **told.errors})
