"""How late the event loop comes to its work while manifests are pulled cold through it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import sleep

from bench.figures import AtMost, Figure
from bench.gateways import HOSTS, fetch, manifest_path
from bench.lagging import Watched, watched
from bench.processes import started
from bench.upstream import VERSION, Upstream, make_repository, serving

_CLIENTS = 8
_ROUNDS = 3
_OTHERS = 2  # what else runs while we pull: the upstream, the clients
_CONTROL_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class _Scene:
    what: str
    charts: int
    archives: int


@dataclass(frozen=True, slots=True)
class _Lags:
    """Of one gateway: while it does nothing on a machine that is busy, and while it pulls."""

    beside_others: Sequence[float]
    pulling: Sequence[float]


_SCENES = (
    _Scene("387 charts in an index of 18 MB", charts=387, archives=40),
    _Scene("18 charts of 1 MB each in such an index", charts=18, archives=18),
)


def run() -> Sequence[Figure]:
    with TemporaryDirectory() as root:
        return [_figure(scene, Path(root, f"scene-{number}")) for number, scene in enumerate(_SCENES)]


def _figure(scene: _Scene, folder: Path) -> Figure:
    charts = make_repository(
        folder, charts=scene.charts, size_bytes=18_300_000, archive_bytes=150_000, archives=scene.archives
    )
    with serving(folder) as upstream:
        data_dirs = [folder.with_name(f"{folder.name}-data-{number}") for number in range(_ROUNDS)]
        rounds = [_round(upstream, data_dir, charts) for data_dir in data_dirs]
    p50, p99, most = (median(_percentile(one.pulling, share) for one in rounds) for share in (0.5, 0.99, 1))
    busy = median(_percentile(one.beside_others, 0.99) for one in rounds)
    how = (
        f"{_CLIENTS} clients, {len(HOSTS) * len(charts)} pulls; p50 {p50:.1f}, most {most:.0f}; "
        f"with no pulls, beside {_OTHERS} busy processes, p99 {busy:.1f}"
    )
    return Figure(f"loop lag p99, {scene.what}", p99, "ms", AtMost(5), how)


def _round(upstream: Upstream, data_dir: Path, charts: Sequence[str]) -> _Lags:
    with watched(data_dir, upstream) as gateway:
        fetch(gateway.port, "/v2/")
        gateway.lags()
        with ExitStack() as others:
            for _ in range(_OTHERS):
                others.enter_context(started("bench.busy"))
            sleep(_CONTROL_SECONDS)
            beside_others = gateway.lags()
        _pull_all(gateway, charts)
        return _Lags(beside_others, gateway.lags())


def _pull_all(gateway: Watched, charts: Sequence[str]) -> None:
    """Pull every chart cold from every host: index after index, chart after chart."""
    paths = [manifest_path(chart, VERSION, host) for host in HOSTS for chart in charts]
    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(partial(fetch, gateway.port), paths))


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
