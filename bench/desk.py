"""The admin's desk on catalogs of 1,000,000 tags: how long a search and each page of the catalog take.

Rows only, on SQLite and on PostgreSQL; the longest of its kind counts. Filling takes some minutes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from bench.desk_catalogs import Shape, fill, name_of, tag_of
from bench.figures import AtMost, Figure
from gateway.catalog_desk import CatalogDesk
from gateway.store.blobs import MemoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.catalog_search import CatalogSearch
from gateway.store.data_dir import DataDir
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.postgres import open_postgres
from tests.postgres import running_cluster

SHAPES: Final = (Shape(20_000, 50), Shape(200, 5_000), Shape(1_000_000, 1))
_ROUNDS: Final = 7
_TARGET: Final = AtMost(150)

Asked = Mapping[str, Callable[[], Awaitable[object]]]


def run() -> Sequence[Figure]:
    figures: list[Figure] = []
    for shape in SHAPES:
        for database, opened in (("SQLite", _sqlite(shape)), ("PostgreSQL", _postgres(shape))):
            with opened as engines:
                figures += asyncio.run(measured(engines, shape, database))
    return figures


@contextmanager
def _sqlite(shape: Shape) -> Iterator[Engines]:
    with TemporaryDirectory(dir=Path.home()) as folder:
        data_dir = DataDir(Path(folder))
        data_dir.prepare()
        engines = data_dir.open_engines()
        fill(engines, shape)
        yield engines
        engines.dispose()


@contextmanager
def _postgres(shape: Shape) -> Iterator[Engines]:
    with running_cluster() as cluster:
        engines = open_postgres(cluster.create())
        fill(engines, shape)
        yield engines
        engines.dispose()


async def measured(engines: Engines, shape: Shape, database: str) -> Sequence[Figure]:
    catalog = Catalog(engines, LocalGeneration())
    desk = CatalogDesk(catalog, CatalogSearch(engines), MemoryBlobs(), ())
    times = {what: await _milliseconds(ask) for what, ask in (await _asked(desk, shape)).items()}
    return [
        Figure(f"{database}, {shape}: {what}", median(each), "ms", _TARGET, f"at least {min(each):.1f}")
        for what, each in times.items()
    ]


async def _asked(desk: CatalogDesk, shape: Shape) -> Asked:
    name, tag = name_of(shape.repositories // 2), tag_of(shape.tags_each // 2)
    middle = (await desk.search(name.rpartition("/")[0])).next or ""
    digest = str((await desk.tag(name, tag)).manifest.digest)
    return {
        "the catalog's first page": lambda: desk.search(""),
        "a page in the middle": lambda: desk.search("", middle),
        "a search for a word that many have": lambda: desk.search("redis"),
        "… for a part that one has": lambda: desk.search(name[-9:]),
        "… for what none has": lambda: desk.search("zzzz"),
        "… for a name and a tag": lambda: desk.search(f"redis:{tag}"),
        "… for a name and a tag that none has": lambda: desk.search("redis:99.9.9"),
        "… for how a digest begins": lambda: desk.search(digest[:20]),
        "a repository": lambda: desk.repository(name),
        "a tag": lambda: desk.tag(name, tag),
    }


async def _milliseconds(ask: Callable[[], Awaitable[object]]) -> Sequence[float]:
    times: list[float] = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        await ask()
        times.append(1000 * (time.perf_counter() - started))
    return times
