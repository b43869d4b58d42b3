"""What an upstream that hangs costs those who ask for what is held from another.

In each round a hundred clients wait for a silent upstream while load is put on a warm manifest; and once more
with nobody waiting, before or after. Each round has a silent upstream of its own, of which nothing is known.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.crowd import gathered
from bench.figures import AtMost, Figure
from bench.gateways import Running, fetch, running_by
from bench.load import Load, load
from bench.processes import wait_until
from bench.silent import Silent
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

_WAITING = 100
_ROUNDS = 9
_CONNECTIONS = 16  # Hypercorn ends each after a thousand answers
_SECONDS = 1.5
_PER_UPSTREAM = 16  # requests that the gateway has at one upstream at once
_WARM = "/v2/warm.example.test/demo/manifests/1.2.3"


@dataclass(frozen=True, slots=True)
class _Round:
    alone: Load
    beside: Load

    @property
    def ratio(self) -> float:
        return self.beside.p99_milliseconds / self.alone.p99_milliseconds


def run() -> Sequence[Figure]:
    with TemporaryDirectory() as root, ExitStack() as stack:
        repository = stack.enter_context(HelmRepo(repository_of(make_chart("demo", "1.2.3"))))
        silent = [stack.enter_context(Silent()) for _ in range(_ROUNDS)]
        places = {"warm.example.test": {"kind": "helm", "url": repository.url, "allow_private": True}}
        for number, upstream in enumerate(silent):
            url = f"http://127.0.0.1:{upstream.port}"
            places[_host(number)] = {"kind": "registry", "url": url, "allow_private": True}
        rules = {"version": 1, "upstreams": places}
        gateway = stack.enter_context(running_by(rules, Path(root, "data")))
        fetch(gateway.port, _WARM)
        return [_figure([_round(gateway, number, upstream) for number, upstream in enumerate(silent)])]


def _round(gateway: Running, number: int, upstream: Silent) -> _Round:
    """Now one, now the other comes first: what else the machine does may grow or shrink meanwhile."""
    if number % 2:
        alone = _load(gateway)
        return _Round(alone, _load_beside(gateway, number, upstream))
    beside = _load_beside(gateway, number, upstream)
    return _Round(_load(gateway), beside)


def _load_beside(gateway: Running, number: int, upstream: Silent) -> Load:
    """Put load on while they wait; then let them go, so that nothing of it is left."""
    with ExitStack() as stack:
        path = f"/v2/{_host(number)}/app-%d/manifests/1.0"
        crowd = stack.enter_context(gathered(gateway.port, path, _WAITING))
        crowd.go()
        wait_until(lambda: upstream.count >= _PER_UPSTREAM)
        measured = _load(gateway)
        if crowd.has_told:
            raise RuntimeError("they did not wait as long as the load lasted")
        upstream.end()
        if (told := crowd.told()).outcomes != {"503": _WAITING}:
            raise RuntimeError(f"a silent upstream, and clients were told {told.outcomes}")
        return measured


def _load(gateway: Running) -> Load:
    return load(gateway.port, _WARM, _CONNECTIONS, _SECONDS)


def _host(number: int) -> str:
    return f"hung-{number}.example.test"


def _figure(rounds: Sequence[_Round]) -> Figure:
    alone = median(one.alone.p99_milliseconds for one in rounds)
    beside = median(one.beside.p99_milliseconds for one in rounds)
    ratios = sorted(one.ratio for one in rounds)
    how = (
        f"{beside:.1f} of {alone:.1f} ms; {len(rounds)} rounds {ratios[0]:.2f} to {ratios[-1]:.2f}; "
        f"{median(one.beside.per_second for one in rounds):.0f} of "
        f"{median(one.alone.per_second for one in rounds):.0f} a second, {_CONNECTIONS} connections"
    )
    what = f"warm p99 while {_WAITING} wait for a silent upstream, of that without"
    return Figure(what, median(ratios), "times", AtMost(1.5), how)
