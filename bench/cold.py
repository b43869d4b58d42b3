"""A manifest that nobody has asked for yet: index and archive fetched, converted, kept, then answered."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.corpus import ARGO, find_corpus
from bench.figures import AtMost, Figure
from bench.gateways import fetch, manifest_path, running
from bench.memory import watched
from bench.processes import output_of
from bench.upstream import VERSION, Upstream, make_repository, serving

ROUNDS = 7
_ARGO_CD = ("argo-cd", "3.4.0")


@dataclass(frozen=True, slots=True)
class _Round:
    """Seconds of one pull through a fresh gateway, and of httpx: over fresh connections, over open ones."""

    gateway: float
    fresh: float
    reused: float
    megabytes: float


def run() -> Sequence[Figure]:
    with TemporaryDirectory() as root:
        huge = Path(root, "huge")
        (chart,) = make_repository(huge, charts=387, size_bytes=18_300_000, archive_bytes=150_000, archives=1)
        rounds = _pull(huge, chart, VERSION)
        megabytes = (huge / "index.yaml").stat().st_size / 1e6
    figures = [
        _ratio(f"cold manifest, index of {megabytes:.1f} MB and 387 charts", rounds, AtMost(3)),
        Figure(
            "memory that this takes",
            median(one.megabytes for one in rounds),
            "MB",
            AtMost(80),
            f"peak of worker and children over idle; most {max(one.megabytes for one in rounds):.0f}",
        ),
    ]
    corpus = find_corpus()
    if corpus is not None:
        rounds = _pull(corpus / ARGO, *_ARGO_CD)
        figures.append(_ratio("cold manifest, argo-helm's index of 1.58 MB", rounds, AtMost(4)))
    return figures


def _pull(folder: Path, chart: str, version: str) -> list[_Round]:
    with TemporaryDirectory() as root:
        copy = Path(root, "upstream")
        copy.symlink_to(folder)
        with serving(copy) as upstream:
            return [
                _round(Path(root, f"data-{number}"), upstream, chart, version) for number in range(ROUNDS)
            ]


def _round(data_dir: Path, upstream: Upstream, chart: str, version: str) -> _Round:
    urls = [f"{upstream.url}/index.yaml", f"{upstream.url}/{chart}-{version}.tgz"]
    fresh, reused = json.loads(output_of("bench.fetcher", upstream.trusted, *urls))
    with running(data_dir, upstream) as gateway, watched(gateway.worker) as peak:
        started = time.perf_counter()
        fetch(gateway.port, manifest_path(chart, version))
        seconds = time.perf_counter() - started
    return _Round(seconds, fresh, reused, peak.megabytes)


def _ratio(what: str, rounds: Sequence[_Round], target: AtMost) -> Figure:
    """The median of the rounds' ratios, against httpx as it is in its first fetch, like the gateway."""
    gateway, fresh, reused = (
        median(seconds) * 1000
        for seconds in zip(*((one.gateway, one.fresh, one.reused) for one in rounds), strict=True)
    )
    how = (
        f"{gateway:.0f} ms; httpx {fresh:.0f} ms, over open connections {reused:.0f} ms "
        f"({median(one.gateway / one.reused for one in rounds):.2f})"
    )
    return Figure(what, median(one.gateway / one.fresh for one in rounds), "times", target, how)
