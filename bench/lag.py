"""How late the event loop comes to its work while manifests are pulled cold through it."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import lagging
from bench.figures import AtMost, Figure
from bench.gateways import fetch, manifest_path
from bench.upstream import VERSION, make_repository, serving

_CLIENTS = 8


@dataclass(frozen=True, slots=True)
class _Scene:
    what: str
    charts: int
    archives: int


_SCENES = (
    _Scene("18 MB index, 387 charts, 60 pulled", charts=387, archives=60),
    _Scene("18 MB index, 18 charts of 1 MB each, all pulled", charts=18, archives=18),
)


def run() -> Sequence[Figure]:
    with TemporaryDirectory() as root:
        return [_figure(scene, Path(root, f"scene-{number}")) for number, scene in enumerate(_SCENES)]


def _figure(scene: _Scene, folder: Path) -> Figure:
    charts = make_repository(
        folder,
        charts=scene.charts,
        size_bytes=18_300_000,
        archive_bytes=150_000,
        archives=scene.archives,
    )
    with serving(folder) as upstream, lagging.running(folder.with_name(f"{folder.name}-data"), upstream) as app:
        with ThreadPoolExecutor(_CLIENTS) as clients:
            pulls = clients.map(partial(fetch, app.port), (manifest_path(chart, VERSION) for chart in charts))
            app.measure(lambda: list(pulls))
        lags = app.lags()
