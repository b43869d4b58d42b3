"""Catalogs of 1,000,000 tags, as rows only: what the admin's desk searches and turns the pages of.

``python -m bench.desk_catalogs FOLDER REPOSITORIES TAGS`` makes one on SQLite.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy import Connection, Table, insert

from gateway.store.admin_tables import recent_pulls
from gateway.store.data_dir import DataDir
from gateway.store.engine import Engines
from gateway.store.tables import manifest_edges, manifests, metadata, repositories, rights, tags

_AT_ONCE: Final = 10_000
_PULLED: Final = 100_000
_OCI: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
_LAYER: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_WORDS: Final = (
    "redis",
    "nginx",
    "postgresql",
    "grafana",
    "loki",
    "vault",
    "kafka",
    "argo-cd",
    "cilium",
    "dex",
)
_NOW: Final = 1_700_000_000.0

Row: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """How many repositories, and how many tags each of them has."""

    repositories: int
    tags_each: int

    def __str__(self) -> str:
        tags = "1 tag" if self.tags_each == 1 else f"{self.tags_each:,} tags"
        return f"{self.repositories:,} repositories of {tags}"


def name_of(number: int) -> str:
    word = _WORDS[number % len(_WORDS)]
    return f"charts{number % 499}.example.test/team-{number % 97}/{word}-{number}"


def tag_of(number: int) -> str:
    return f"{number // 10}.{number % 10}.0"


def fill(engines: Engines, shape: Shape) -> None:
    """Into a catalog that is empty."""
    with engines.writing() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA cache_size=-1000000")
        for some in _batches(_rows(shape)):
            by_table: dict[Table, list[Row]] = {}
            for table, row in some:
                by_table.setdefault(table, []).append(row)
            for table in metadata.sorted_tables:  # manifests before what names them
                if rows := by_table.get(table):
                    _insert(connection, table, rows)
    with engines.reading() as connection:
        connection.exec_driver_sql("ANALYZE")


def _rows(shape: Shape) -> Iterator[tuple[Table, Row]]:
    pulled = 0
    for number in range(shape.repositories):
        name = name_of(number)
        yield repositories, (name, name, _NOW + number)
        for one in range(shape.tags_each):
            yield from _of_tag(name, tag_of(one))
            if pulled < _PULLED and one < 5:
                pulled += 1
                yield recent_pulls, (name, tag_of(one), name, "hit", 3, _NOW + pulled)


def _of_tag(name: str, tag: str) -> Iterator[tuple[Table, Row]]:
    config, layer = _digest(b"config"), _digest(f"{name}:{tag}".encode())
    content = (
        f'{{"schemaVersion":2,"mediaType":"{_OCI}",'
        f'"config":{{"mediaType":"{_CONFIG}","digest":"{config}","size":6}},'
        f'"layers":[{{"mediaType":"{_LAYER}","digest":"{layer}","size":40000}}]}}'
    ).encode()
    digest = _digest(content)
    yield manifests, (digest, _OCI, content, _CONFIG, None, "{}", _NOW)
    yield manifest_edges, (digest, 0, "config", config, _CONFIG, 6)
    yield manifest_edges, (digest, 1, "layer", layer, _LAYER, 40_000)
    yield rights, (name, "plain", digest, "helm")
    yield rights, (name, "plain", layer, "helm")
    origin = f"https://{name}-{tag}.tgz"
    yield tags, (name, "plain", tag, "helm", digest, tag, True, None, None, origin, _NOW, _NOW)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _batches(rows: Iterable[tuple[Table, Row]]) -> Iterator[Sequence[tuple[Table, Row]]]:
    left = iter(rows)
    while some := list(islice(left, _AT_ONCE)):
        yield some


def _insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    columns = [column.name for column in table.columns]
    connection.execute(insert(table), [dict(zip(columns, row, strict=True)) for row in rows])


if __name__ == "__main__":
    _data_dir = DataDir(Path(sys.argv[1]))
    _data_dir.prepare()
    fill(_data_dir.open_engines(), Shape(int(sys.argv[2]), int(sys.argv[3])))
