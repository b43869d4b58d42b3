"""How late the event loop comes to its work while manifests are pulled cold through it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import sleep

from bench.figures import AtMost, Figure
from bench.gateways import fetch, manifest_path
from bench.lagging import Watched, watched
from bench.upstream import VERSION, Upstream, make_repository, serving

_CLIENTS = 8
_ROUNDS = 3
_IDLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Scene:
    what: str
    charts: int
    archives: int


_SCENES = (
    _Scene("60 of 387 charts in an index of 18 MB", charts=387, archives=60),
    _Scene("18 charts of 1 MB each in an index of 18 MB", charts=18, archives=18),
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
    p50, p99, most = (median(_percentile(lags, share) for _, lags in rounds) for share in (0.5, 0.99, 1))
    idle = median(_percentile(lags, 0.99) for lags, _ in rounds)
    how = f"{_CLIENTS} clients; p50 {p50:.1f}, most {most:.0f}; p99 without any load {idle:.1f}"
    return Figure(f"loop lag p99, {scene.what}", p99, "ms", AtMost(5), how)


def _round(
    upstream: Upstream, data_dir: Path, charts: Sequence[str]
) -> tuple[Sequence[float], Sequence[float]]:
    """Return the lags of a gateway that has nothing to do, and those while it pulls all charts."""
    with watched(data_dir, upstream) as gateway:
        fetch(gateway.port, "/v2/")
        gateway.lags()
        sleep(_IDLE_SECONDS)
        idle = gateway.lags()
        _pull_all(gateway, charts)
        return idle, gateway.lags()


def _pull_all(gateway: Watched, charts: Sequence[str]) -> None:
    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(lambda chart: fetch(gateway.port, manifest_path(chart, VERSION)), charts))


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
