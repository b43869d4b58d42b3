"""kill -9 at random moments of a mixed load, again and again, on one data directory of 10,000 blobs and more.

``RANDOM_KILLS=200`` says how often, ``RANDOM_SEED=…`` when: the same load, though not the same race.
"""

import os
import random
import signal
import sqlite3
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import psutil
import pytest

from gateway.oci.digest import Digest
from tests.e2e.crash_house import House, crash_house, pull, require_clean
from tests.e2e.gateway_process import Server
from tests.fakes.images import content_of
from tests.fakes.stock import Article

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

Record = Callable[[str, object], None]

_KILLS: Final = int(os.environ.get("RANDOM_KILLS", "8"))
_SEED: Final = int(os.environ.get("RANDOM_SEED", random.randrange(1 << 32)))
_BLOBS: Final = 10_000
_LAYERS: Final = (40_000, 1_100_000)
_CLIENTS: Final = 4
_LONGEST_LIFE_SECONDS: Final = 0.4
_RANGE: Final = slice(1000, 3000)


@dataclass(slots=True)
class Load:
    """Clients that pull these, any of them at any time, from a server that may go away.

    ``answered`` has what came whole, ``wrong`` whatever should not have been said.
    """

    url: str
    articles: Sequence[Article]
    answered: dict[str, bytes] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self, chance: random.Random) -> Iterator[None]:
        seeds = [chance.random() for _ in range(_CLIENTS)]
        threads = [threading.Thread(target=self._pull, args=(random.Random(seed),)) for seed in seeds]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _pull(self, chance: random.Random) -> None:
        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with httpx.Client(base_url=self.url, trust_env=False, verify=no_tls, timeout=20.0) as client:
            while not self._is_over.is_set():
                with suppress(httpx.TransportError):  # who got no manifest does not ask for its blobs
                    for path, content in chance.choice(self.articles).items():
                        self._ask(client, path, content, chance)

    def _ask(self, client: httpx.Client, path: str, content: bytes, chance: random.Random) -> None:
        """Now and then for a part of it."""
        is_part = len(content) > _RANGE.stop and chance.random() < 0.2
        headers = {"Range": f"bytes={_RANGE.start}-{_RANGE.stop - 1}"} if is_part else {}
        answer = client.get(path, headers=headers)
        if answer.status_code != (206 if is_part else 200):
            self.wrong.append(f"{path}: {answer.status_code} {answer.text}")
        elif answer.content != (content[_RANGE] if is_part else content):
            self.wrong.append(f"{path}: wrong bytes")
        elif not is_part:
            self.answered[path] = content


def test_random_kills_of_a_server_under_load_lose_nothing(tmp_path: Path, record_property: Record) -> None:
    print(f"RANDOM_SEED={_SEED}")  # noqa: T201 (shown where it fails)
    chance = random.Random(_SEED)
    seconds: list[float] = []
    held: dict[str, bytes] = {}
    with crash_house(tmp_path, *(f"app-{n}" for n in range(_KILLS)), layers=_LAYERS) as house:
        site = house.site("site")
        site.run("migrate").require_ok()
        _fill(site.data_dir)
        for number in range(_KILLS):
            with site.serve(workers=2) as server:
                seconds.append(server.seconds_to_ready)
                assert not list((site.data_dir / "blobs" / "partial").iterdir())
                _require_held(house, server, held, chance)
                held |= _kill_under_load(house, server, number, chance)
        with site.serve() as server:
            assert pull(server, house.wanted) == house.wanted
            assert server.stop() == 0
        require_clean(site.data_dir)
    record_property("kills", _KILLS)
    record_property("longest_start_seconds", max(seconds))


def _fill(data_dir: Path) -> None:
    """As many blobs as a gateway of some age has, each with its row."""
    contents = [content_of(f"filler {number}", 100) for number in range(_BLOBS)]
    for content in contents:
        place = data_dir / "blobs" / "sha256" / Digest.of(content).hex[:2] / Digest.of(content).hex
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_bytes(content)
    with closing(sqlite3.connect(data_dir / "catalog.sqlite3")) as catalog, catalog:
        rows = [(str(Digest.of(content)), len(content), 0.0) for content in contents]
        catalog.executemany("INSERT INTO blobs (digest, size_bytes, kept_at) VALUES (?, ?, ?)", rows)


def _require_held(house: House, server: Server, held: Article, chance: random.Random) -> None:
    """What had been answered is there without asking anybody."""
    before = house.upstream_requests
    some = dict(chance.sample(list(held.items()), min(len(held), 10)))
    assert pull(server, some) == some
    assert house.upstream_requests == before, "what had been answered was not held"


def _kill_under_load(house: House, server: Server, number: int, chance: random.Random) -> Article:
    """Let clients pull old and new names; kill one worker, or all, at some moment; return what they got."""
    charts, images = house.articles[:_KILLS], house.articles[_KILLS:]
    newest, known = slice(number, number + 1), slice(max(number - 4, 0), number + 1)
    load = Load(server.url, [*charts[newest], *images[newest], *charts[known], *images[known]])
    with load.running(chance):
        threading.Event().wait(chance.uniform(0, _LONGEST_LIFE_SECONDS))
        if chance.random() < 0.3:
            psutil.Process(chance.choice(sorted(server.worker_pids()))).kill()
            threading.Event().wait(chance.uniform(0, _LONGEST_LIFE_SECONDS))
        os.killpg(server.process.pid, signal.SIGKILL)
    assert not load.wrong
    return load.answered
