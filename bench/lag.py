"""How late the event loop comes to its work while manifests are pulled cold through it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep

from bench.figures import AtMost, Figure
from bench.gateways import fetch, manifest_path
from bench.lagging import Watched, watched
from bench.upstream import VERSION, make_repository, serving

_CLIENTS = 8
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
    with serving(folder) as upstream, watched(folder.with_name(f"{folder.name}-data"), upstream) as gateway:
        fetch(gateway.port, "/v2/")
        gateway.lags()
        sleep(_IDLE_SECONDS)
        idle = gateway.lags()
        _pull_all(gateway, charts)
        lags = gateway.lags()
    how = (
        f"{_CLIENTS} clients; p50 {_percentile(lags, 50):.1f}, most {lags[-1]:.0f}, {len(lags)} samples; "
        f"idle p99 {_percentile(idle, 99):.1f}"
    )
    return Figure(f"loop lag p99, {scene.what}", _percentile(lags, 99), "ms", AtMost(5), how)


def _pull_all(gateway: Watched, charts: Sequence[str]) -> None:
    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(lambda chart: fetch(gateway.port, manifest_path(chart, VERSION)), charts))


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[len(ordered) * percent // 100]
