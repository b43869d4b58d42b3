"""A mirror list of 300 charts: brought, then found up to date, and what upstream is asked for that."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

from bench.figures import AtLeast, AtMost, Figure
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

_CHARTS = 300
_ARCHIVE_BYTES = 40_000
_ROUNDS = 3
_HOST = "charts.example.test"


def run() -> Sequence[Figure]:
    return [*_list_of(30, AtLeast(10)), *_list_of(_CHARTS, None)]


def _list_of(names: int, target: AtLeast | None) -> Sequence[Figure]:
    """Of so many names: of each its list of tags is asked for, as its repository's index has it."""
    chance = Random(1)
    charts = [
        make_chart(
            f"chart-{number % names}", f"1.{number // names}.0", {"a": chance.randbytes(_ARCHIVE_BYTES)}
        )
        for number in range(_CHARTS)
    ]
    with TemporaryDirectory() as root, HelmRepo(repository_of(*charts)) as upstream:
        folder = Path(root)
        _write_rules(folder, upstream.url)
        cold = _seconds(_brought(folder), fetched=_CHARTS)
        before = len(upstream.requests)
        warm = median(_seconds(_brought(folder), fetched=0) for _ in range(_ROUNDS))
        asked = (len(upstream.requests) - before) / _ROUNDS
    what = f"a mirror list of {_CHARTS} charts, {names} names"
    how = f"{cold:.2f} s, then {warm:.2f} s, without the start of the command"
    return [
        Figure(f"{what}: brought, to found up to date", cold / warm, "times", target, how),
        Figure(f"{what}: asked of upstream where nothing is new", asked, "requests", AtMost(1)),
    ]


def _write_rules(folder: Path, url: str) -> None:
    rules = {
        "version": 1,
        "upstreams": {_HOST: {"kind": "helm", "url": url, "allow_private": True}},
        "sync": [{"name": "all", "charts": [{"repository": f"{_HOST}/*"}]}],
    }
    (folder / "rules.yaml").write_text(json.dumps(rules))


def _brought(folder: Path) -> Mapping[str, object]:
    command = [
        sys.executable,
        "-m",
        "gateway",
        "sync",
        "--json",
        "--data-dir",
        "data",
        "--rules",
        "rules.yaml",
    ]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (report,) = json.loads(done.stdout)
    return dict(report)


def _seconds(report: Mapping[str, object], *, fetched: int) -> float:
    if (report["fetched"], report["failed"]) != (fetched, 0):
        raise RuntimeError(f"{fetched} were to be fetched: {report}")
    return float(str(report["seconds"]))
