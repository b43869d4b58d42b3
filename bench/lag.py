"""How late the event loop comes to its work while manifests are pulled cold through it.

Where clients, upstream and gateway want more CPUs than there are, most of the lag is time that the loop's
thread waits for one. No code would be on time there, so that part is told apart.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.figures import AtMost, Figure
from bench.gateways import HOSTS, fetch, manifest_path
from bench.lagging import Lag, Watched, watched
from bench.upstream import VERSION, Upstream, make_repository, serving

_CLIENTS = 8
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class _Scene:
    what: str
    charts: int
    archives: int


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
    p50, p99, most = (
        median(_percentile([lag.own_milliseconds for lag in lags], share) for lags in rounds)
        for share in (0.5, 0.99, 1)
    )
    raw = median(_percentile([lag.milliseconds for lag in lags], 0.99) for lags in rounds)
    how = (
        f"{len(HOSTS) * len(charts)} pulls by {_CLIENTS} clients; p50 {p50:.1f}, most {most:.0f}; "
        f"waiting for a CPU not counted, else p99 {raw:.1f}"
    )
    return Figure(f"loop lag p99, {scene.what}", p99, "ms", AtMost(5), how)


def _round(upstream: Upstream, data_dir: Path, charts: Sequence[str]) -> Sequence[Lag]:
    with watched(data_dir, upstream) as gateway:
        fetch(gateway.port, "/v2/")
        gateway.lags()
        _pull_all(gateway, charts)
        return gateway.lags()


def _pull_all(gateway: Watched, charts: Sequence[str]) -> None:
    """Pull every chart cold from every host: index after index, chart after chart."""
    paths = [manifest_path(chart, VERSION, host) for host in HOSTS for chart in charts]
    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(partial(fetch, gateway.port), paths))


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
