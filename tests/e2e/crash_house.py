"""A gateway that is killed, and what must hold afterwards: right bytes, nothing lost, nothing left behind."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.e2e.gateway_process import Server, Site
from tests.e2e.interception import Interception, Plan
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.registry import FakeRegistry
from tests.fakes.stock import Article, make_stock

CHARTS: Final = "charts.example.test/stable"
IMAGES: Final = "registry.example.test"
_EMPTY_AT_REST: Final = ("blobs/partial", "locks")


@dataclass(frozen=True, slots=True)
class House:
    """Two upstreams, what can be had from them, and folders for gateways before them."""

    folder: Path
    repo: HelmRepo
    registry: FakeRegistry
    articles: Sequence[Article]

    @property
    def wanted(self) -> Article:
        """All of it, one after another."""
        return {path: content for article in self.articles for path, content in article.items()}

    @property
    def upstream_requests(self) -> int:
        return len(self.repo.requests) + len(self.registry.requests)

    def site(self, name: str, template: Path | None = None) -> Site:
        """A folder for a gateway, on a copy of this data directory."""
        folder = self.folder / name
        folder.mkdir()
        if template is not None:
            shutil.copytree(template, folder / "data")
        site = Site(folder)
        site.write_rules(
            "version: 1\ndefaults: {fresh_for: 1h}\nupstreams:\n"
            f"  {CHARTS}: {{kind: helm, url: '{self.repo.url}', allow_private: true}}\n"
            f"  {IMAGES}: {{kind: registry, url: '{self.registry.origin}', allow_private: true}}\n"
        )
        return site


@dataclass(frozen=True, slots=True)
class WatchedSite(Site):
    """What runs there asks ``plan`` before each call that changes the data directory."""

    plan: Plan

    def _start(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **(environment or {})}
        return Interception(self.data_dir, self.plan.judge).start(["gateway", *arguments], self.folder, env)


@contextmanager
def crash_house(folder: Path, *names: str, layers: Sequence[int] = (2_200_000, 700_000)) -> Iterator[House]:
    """Upstreams that have a chart and an image of each name."""
    stock = make_stock(names, lambda _name: (3000, *layers))
    with HelmRepo(stock.files) as repo, FakeRegistry() as registry:
        stock.push_to(registry)
        yield House(folder, repo, registry, (*stock.charts_at(CHARTS), *stock.images_at(IMAGES)))


def pull(server: Server, wanted: Article) -> Article:
    """Ask for these until the connection breaks; return those that were answered, each of which was right."""
    answered: dict[str, bytes] = {}
    with suppress(httpx.TransportError):
        for path, content in wanted.items():
            answer = server.get(path)
            assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
            assert answer.content == content, path
            answered[path] = content
    return answered


def require_whole(house: House, site: Site, answered: Article) -> float:
    """What was answered is held, the rest can be had, nothing is left behind; return the seconds to ready."""
    with site.serve() as server:
        before = house.upstream_requests
        assert pull(server, answered) == answered
        assert house.upstream_requests == before, "what had been answered was not held"
        assert pull(server, house.wanted) == house.wanted
        assert "Traceback" not in server.log
        assert server.stop() == 0
    require_clean(site.data_dir)
    return server.seconds_to_ready


def require_clean(data_dir: Path) -> None:
    """No wrong byte, no row without its file, nothing temporary. For a directory that nobody uses now."""
    for folder in _EMPTY_AT_REST:
        assert not list((data_dir / folder).iterdir()), folder
    blobs = {path.name: path for path in (data_dir / "blobs" / "sha256").rglob("*") if path.is_file()}
    waiting = {path.name.partition("-")[2]: path for path in (data_dir / "blobs" / "dying").glob("*")}
    for name, path in (*blobs.items(), *waiting.items()):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
    with closing(sqlite3.connect(data_dir / "catalog.sqlite3")) as catalog:
        assert catalog.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        assert catalog.execute("PRAGMA foreign_key_check").fetchall() == []
        for digest, size in catalog.execute("SELECT digest, size_bytes FROM blobs"):
            assert blobs[_hex(digest)].stat().st_size == size
        for (digest,) in catalog.execute("SELECT digest FROM helm_indexes"):
            assert _hex(digest) in blobs


def _hex(digest: str) -> str:
    return digest.partition(":")[2]
