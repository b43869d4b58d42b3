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
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry

_CHARTS = 300
_ARCHIVE_BYTES = 40_000
_ROUNDS = 3
_HOST = "charts.example.test"
_REGISTRY = "images.example.test"


def run() -> Sequence[Figure]:
    return [*_list_of(30), *_list_of(_CHARTS), *_list_of(_CHARTS, images=10)]


def _list_of(names: int, images: int = 0) -> Sequence[Figure]:
    """Of so many names; with ``images``, so many are named by the charts, each of which needs another one."""
    charts = [_chart(number, names, images) for number in range(_CHARTS)]
    with TemporaryDirectory() as root, HelmRepo(repository_of(*charts)) as repo, FakeRegistry() as registry:
        for number in range(images):
            OCI.image(_ARCHIVE_BYTES, seed=str(number)).push_to(registry, f"team/app-{number}", "v1")
        folder = Path(root)
        _write_rules(folder, repo.url, registry.origin, are_needs_followed=images > 0)
        cold = _seconds(_brought(folder), fetched=_CHARTS + images)
        before = len(repo.requests) + len(registry.requests)
        warm = median(_seconds(_brought(folder), fetched=0) for _ in range(_ROUNDS))
        asked = (len(repo.requests) + len(registry.requests) - before) / _ROUNDS
    what = f"a mirror list of {_CHARTS} charts, {names} names"
    if images:
        what += f", dependencies and {images} images"
    how = f"{cold:.2f} s, then {warm:.2f} s, without the start of the command"
    return [
        Figure(f"{what}: brought, to found up to date", cold / warm, "times", AtLeast(10), how),
        Figure(f"{what}: asked of upstream where nothing is new", asked, "requests", AtMost(1 + images)),
    ]


def _chart(number: int, names: int, images: int) -> bytes:
    name, version = f"chart-{number % names}", f"1.{number // names}.0"
    files = {"a": Random(number).randbytes(_ARCHIVE_BYTES)}
    if not images:
        return make_chart(name, version, files)
    image = f"image: {{repository: {_REGISTRY}/team/app-{number % images}, tag: v1}}\n"
    needed = {
        "name": f"chart-{(number + 1) % names}",
        "version": "^1.0.0",
        "repository": f"https://{_HOST}",
    }
    return make_chart(name, version, {"values.yaml": image.encode(), **files}, dependencies=[needed])


def _write_rules(folder: Path, url: str, registry_url: str, *, are_needs_followed: bool) -> None:
    needs = {"dependencies": True, "images": True} if are_needs_followed else {}
    rules = {
        "version": 1,
        "upstreams": {
            _HOST: {"kind": "helm", "url": url, "allow_private": True},
            _REGISTRY: {"kind": "registry", "url": registry_url, "allow_private": True},
        },
        "sync": [{"name": "all", "charts": [{"repository": f"{_HOST}/*", **needs}]}],
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
