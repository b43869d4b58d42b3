"""What pure work costs: archives read and converted, a chart found in an index. Observations, no targets."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from bench.corpus import ARGO, find_corpus
from bench.figures import Figure
from gateway.helm.archive import read_chart_archive
from gateway.helm.convert import convert
from gateway.helm.index import ChartVersion, find_versions
from gateway.helm.index_whole import normalise_index
from gateway.helm.metadata import parse_metadata
from gateway.oci.digest import Digest
from tests.fakes.index_maker import make_index

_ROUNDS = 5


def run() -> Sequence[Figure]:
    corpus = find_corpus()
    huge = _index("huge index", make_index(387, 18_300_000), "chart-193", "0.0.5")
    if corpus is None:
        return huge
    argo = _index("argo-helm's index", (corpus / ARGO / "index.yaml").read_bytes(), "argo-cd", "3.4.0")
    return [_archives(sorted(corpus.rglob("*.tgz"))), *argo, *huge]


def _archives(paths: Sequence[Path]) -> Figure:
    milliseconds = [_milliseconds(partial(_convert, path)) for path in paths]
    how = f"of {len(paths)} real archives; all {sum(milliseconds):.0f}, most {max(milliseconds):.1f}"
    return Figure("read and convert a chart, median", median(milliseconds), "ms", how=how)


def _convert(path: Path) -> None:
    content = path.read_bytes()
    with path.open("rb") as stream:
        metadata = parse_metadata(read_chart_archive(stream))
    entry = ChartVersion(metadata.name, metadata.version, urls=(path.name,))
    convert(metadata, Digest.of(content), len(content), entry)


def _index(what: str, content: bytes, chart: str, version: str) -> Sequence[Figure]:
    wanted = frozenset({version})
    quick = median(_milliseconds(lambda: find_versions(content, chart, wanted)) for _ in range(_ROUNDS))
    whole = _milliseconds(lambda: normalise_index(content))
    how = f"{quick:.1f} ms of {whole:.0f} ms; {len(content) / 1e6:.1f} MB"
    return [
        Figure(f"{what}: a version of {chart} found, of a whole parse", 100 * quick / whole, "%", how=how)
    ]


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000
