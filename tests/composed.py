"""A whole gateway inside the test's process: composed as the server composes it, asked over ASGI."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import select

from gateway.app import Gateway, compose, create_app
from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from gateway.settings import Settings
from gateway.sources.egress import NameUnresolved
from gateway.store.data_dir import DataDir
from gateway.store.tables import blobs, helm_indexes, manifests, repositories, rights, tags

HOST = "charts.example.test"


@dataclass(slots=True)
class FakeDns:
    """Answers from ``answers``; literal addresses stand for themselves; ``asked`` is the log."""

    answers: dict[str, Sequence[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        if host in self.answers:
            return self.answers[host]
        if host.replace(".", "").isdigit() or ":" in host:
            return [host]
        raise NameUnresolved(host)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a refused pull must leave as it was; indexes have their own shelf, and may be kept."""

    rows: frozenset[tuple[object, ...]]
    files: frozenset[str]


@dataclass(frozen=True, slots=True)
class Composed:
    gateway: Gateway
    client: httpx.AsyncClient
    dns: FakeDns
    data_dir: DataDir

    async def manifest(self, name: str, reference: str) -> httpx.Response:
        return await self.client.get(f"/v2/{name}/manifests/{reference}")

    async def stored(self) -> Stored:
        """Look at catalog and blob directory, once what runs behind has ended."""
        await self.gateway.sources.helm.drain()
        indexes = {str(row[0]).partition(":")[2] for row in self._rows(helm_indexes.c.digest)}
        indexes |= {str(row[0]).partition(":")[2] for row in self._rows(helm_indexes.c.normalised_digest)}
        tables = (tags, rights, manifests, blobs, repositories)
        files = {path.name for path in self.data_dir.blobs.rglob("*") if path.is_file()}
        return Stored(
            frozenset((table.name, *row) for table in tables for row in self._rows(*table.primary_key)),
            frozenset(files - indexes),
        )

    def _rows(self, *columns: object) -> Iterable[tuple[object, ...]]:
        with self.gateway.storage.engines.reader.connect() as connection:
            return [tuple(row) for row in connection.execute(select(*columns))]  # type: ignore[call-overload]


@asynccontextmanager
async def composed(folder: Path, rules: str, dns: FakeDns | None = None) -> AsyncIterator[Composed]:
    """Open a gateway on ``folder``; ``rules`` is the text of rules.yaml without its version."""
    names = FakeDns() if dns is None else dns
    data_dir = DataDir(folder)
    data_dir.prepare()
    gateway = compose(
        Settings(data_dir=folder), data_dir, InForce(load_rules(f"version: 1\n{rules}")), resolver=names
    )
    transport = httpx.ASGITransport(app=create_app(gateway))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
            yield Composed(gateway, client, names, data_dir)
    finally:
        await gateway.close()
        data_dir.close()


def upstream(url: str, key: str = HOST, **more: str) -> str:
    """Return the line below ``upstreams:`` that makes ``key`` stand for a fake."""
    pairs = {"url": f"'{url}'", "allow_private": "true", **more}
    return f"  {key}: {{{', '.join(f'{name}: {value}' for name, value in pairs.items())}}}\n"
