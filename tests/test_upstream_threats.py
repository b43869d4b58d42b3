"""threats.md 1d and 1f: every row has its test; and what only a gateway with other limits shows."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from gateway.access.readers import admit_anyone
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository
from gateway.parts import Parts
from gateway.pull import Puller
from gateway.rules.load import load_rules
from gateway.rules.route import Wanted, route
from gateway.sources.assembly import Keeping, open_sources
from gateway.sources.credentials import Secrets
from gateway.sources.http import Http, HttpLimits
from gateway.sources.transports import Transports
from gateway.sources.upstreams import Upstreams
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.data_dir import DataDir
from gateway.store.index_shelf import IndexShelf
from gateway.store.memory import Memory
from tests.composed import FakeDns
from tests.sources.raw_server import Say, raw_server
from tests.threats import NAME, TAG, registry_rules

pytestmark = pytest.mark.slow  # a whole gateway

_ROW = re.compile(r"\b[uU]([0-9]{1,2})\b|_u([0-9]{1,2})_", re.ASCII)
_CASE = re.compile(r"\bP([0-9]{1,2})\b|_p([0-9]{1,2})_", re.ASCII)
_FILES = sorted(Path(__file__).parent.glob("test_upstream_*.py"))


def _rows(pattern: re.Pattern[str]) -> set[int]:
    """The rows that ids and names of tests speak of, beside what their files say of themselves."""
    texts = [path.read_text().split("\n", 1)[1] for path in _FILES if path != Path(__file__)]
    found = [match for text in texts for match in pattern.finditer(text)]
    return {int(match[1] or match[2]) for match in found}


def test_every_row_of_the_threat_list_has_a_test() -> None:
    assert _rows(_ROW) >= {*range(1, 19)}
    assert _rows(_CASE) >= {1, 2, 3, 4, 5, 6, 11, 12, 13}


@asynccontextmanager
async def limited(folder: Path, rules: str, limits: HttpLimits) -> AsyncIterator[Puller]:
    """The parts of a gateway as they are composed, but for the limits that are no settings."""
    data_dir = DataDir(folder)
    data_dir.prepare()
    generation, engines = data_dir.open_generation(), data_dir.open_engines()
    catalog, blobs = Catalog(engines, generation), DirectoryBlobs(data_dir.blobs)
    rule_set = load_rules(f"version: 1\n{rules}")
    upstreams = Upstreams(Secrets())
    keeping = Keeping(IndexShelf(engines, blobs), blobs, catalog, data_dir.open_locks())
    http = Http(upstreams, Transports(FakeDns()), limits)
    sources = open_sources(
        http, upstreams, keeping, max_index_bytes=1 << 20, max_chart_bytes=1 << 20, now=time.time
    )
    parts = Parts(
        router=lambda: partial(route, rule_set),
        admit=admit_anyone,
        sources=sources.by_name,
        catalog=catalog,
        blobs=blobs,
        memory=Memory(1 << 20, generation),
        now=time.time,
    )
    puller = Puller(parts)
    try:
        yield puller
    finally:
        await puller.drain()
        await sources.close()
        engines.dispose()
        generation.close()
        data_dir.close()


DRIPS = [
    pytest.param(HttpLimits(grace_seconds=0.02), id="U6 slower than 10 KiB/s"),
    pytest.param(HttpLimits(total_seconds=0.02), id="U6 longer than it may take in all"),
    pytest.param(HttpLimits(idle_seconds=0.005), id="U6 idle"),
]


@pytest.mark.anyio
@pytest.mark.parametrize("limits", DRIPS)
async def test_a_drip_that_never_pauses_for_long_is_an_outage_all_the_same(
    limits: HttpLimits, tmp_path: Path
) -> None:
    """No single wait is long: it is the pace, or the sum, that ends it."""

    async def drip(_target: str, say: Say) -> None:
        await say(b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await say(b"{")
            await asyncio.sleep(0.01)

    async with raw_server(drip) as server, limited(tmp_path, registry_rules(server.origin), limits) as puller:
        with pytest.raises(OciError) as caught:
            await puller.manifest(Wanted(Repository.parse(NAME)), Tag(TAG))
        assert caught.value.code is ErrorCode.UNAVAILABLE
