"""A gateway that may be killed at any moment, with upstreams that misbehave, on a loop that a test turns."""

import asyncio
import shutil
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Self, TypeVar

from starlette.types import Message

from gateway.app import Clock as GatewayClock
from gateway.app import Gateway, compose, create_app
from gateway.oci.digest import Digest
from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from gateway.settings import Settings
from gateway.settings_values import LogLevel
from gateway.store.data_dir import DataDir
from tests.composed import FakeDns, upstream
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.messages import Faults
from tests.fakes.registry import FakeRegistry
from tests.sources.helm_parts import Clock

IMAGES: Final = "images.example.test"
CHARTS: Final = "charts.example.test"
_PATIENCE_SECONDS: Final = 60.0
_PROBE_SECONDS: Final = 0.02

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client saw: ``is_cut`` where less came than was promised."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_cut: bool

    @property
    def cache(self) -> str:
        return self.headers.get("x-cache", "")


@dataclass(slots=True)
class _Client:
    """One request over ASGI; one that ``leaves`` does so when the first bytes of a body are there."""

    leaves: bool = False
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    _has_left: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Message:
        await self._has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")
            if self.leaves:
                self._has_left.set()


class World:
    """``folder`` holds a data directory for each life of the gateway: a kill is a copy of what lay there."""

    def __init__(self, folder: Path, rules: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.stack = ExitStack()
        self.images = self.stack.enter_context(FakeRegistry())
        self.charts = self.stack.enter_context(HelmRepo())
        self._folder = folder
        self._life = 0
        self._is_disk_broken = False
        self._rules = rules
        self._open()

    @property
    def data(self) -> Path:
        return self._folder / str(self._life)

    @property
    def blobs(self) -> Path:
        return self.data / "blobs"

    def _open(self) -> None:
        self._data_dir = DataDir(self.data)
        self._data_dir.prepare()
        settings = Settings(data_dir=self.data, log_level=LogLevel.ERROR)
        self.gateway = self.run(self._composed(settings))
        self._app = create_app(self.gateway)

    async def _composed(self, settings: Settings) -> Gateway:
        clock = GatewayClock(self.clock, self.clock, _soon)
        return compose(settings, self._data_dir, self._in_force(), resolver=FakeDns(), clock=clock)

    def _in_force(self) -> InForce:
        places = upstream(self.images.origin, IMAGES, kind="registry") + upstream(
            self.charts.url, CHARTS, kind="helm"
        )
        return InForce(load_rules(f"version: 1\nupstreams:\n{places}{self._rules}"))

    def run(self, work: Awaitable[T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await work

        return self.loop.run_until_complete(bounded())

    def put_rules(self, rules: str) -> None:
        self._rules = rules
        self.gateway.switch.put(self._in_force())

    def get(self, path: str, *, leaves: str = "", **headers: str) -> Reply:
        return self.run(self.ask(path, leaves=leaves, **headers))

    async def ask(self, path: str, *, leaves: str = "", method: str = "GET", **headers: str) -> Reply:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        client = _Client(leaves=bool(leaves))
        is_cut = False
        try:
            await self._app(scope, client.receive, client.send)
        except Exception:  # the server would end the connection
            is_cut = True
        promised = int(client.headers.get("content-length", "0"))
        is_cut = is_cut or (method == "GET" and len(client.body) != promised and client.status != 304)
        return Reply(client.status, client.headers, client.body, is_cut)

    def together(self, asked: Sequence[Awaitable[Reply]]) -> Sequence[Reply]:
        async def all_of() -> list[Reply]:
            return list(await asyncio.gather(*asked))

        return self.run(all_of())

    def settle(self) -> None:
        """Let everything that runs behind come to its end, but for what waits for a disk that is broken."""

        async def settled() -> None:
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others, timeout=_PROBE_SECONDS)
                if self._is_disk_broken and others == asyncio.all_tasks() - {asyncio.current_task()}:
                    return

        self.run(settled())

    def kill(self, path: str, turns: int) -> None:
        """End the gateway while it is at a request, so many turns of the loop in, and start the next one."""

        async def begun() -> asyncio.Task[Reply]:
            asking = asyncio.create_task(self.ask(path))
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            return asking

        asking = self.run(begun())
        dead = self.data
        self._life += 1
        _copied(dead, self.data)
        self.run(asking)  # the dead one's folder is nobody's any more
        self.settle()
        self._close()
        shutil.rmtree(dead)
        self._open()

    def set_faults(self, faults: Faults) -> None:
        for server in (self.images, self.charts):
            for one in fields(Faults):
                setattr(server.faults, one.name, getattr(faults, one.name))

    def is_busy(self) -> bool:
        """Whether something runs behind, and waits for its turn of the loop."""
        return bool(asyncio.all_tasks(self.loop))

    def break_disk(self) -> None:
        """Let no blob be written any more; a test that runs as root finds no door locked."""
        self._is_disk_broken = True
        partial = self.blobs / "partial"
        partial.rename(self.blobs / "partial-away")
        partial.touch()

    def mend_disk(self) -> None:
        partial = self.blobs / "partial"
        partial.unlink()
        self._is_disk_broken = False
        (self.blobs / "partial-away").rename(partial)

    def request_count(self) -> int:
        return len(self.images.requests) + len(self.charts.requests)

    def is_intact(self, digest: Digest) -> bool:
        """Whether a blob lies where it should, as it should, or is set aside."""
        place = self.blobs / digest.algorithm / digest.hex[:2] / digest.hex
        aside = self.blobs / "dying" / f"{digest.algorithm}-{digest.hex}"
        return any(
            path.is_file() and not path.is_symlink() and Digest.of(path.read_bytes()) == digest
            for path in (place, aside)
        )

    def blob_files(self) -> Iterator[Path]:
        paths = sorted((self.blobs / "sha256").glob("??/*"))
        return (path for path in paths if path.is_file() and not path.is_symlink())

    def leftovers(self) -> Sequence[Path]:
        """Partial files."""
        return list((self.blobs / "partial").iterdir())

    def _close(self) -> None:
        self.run(self.gateway.close())
        self._data_dir.close()

    def close(self) -> None:
        self.settle()
        self._close()
        self.stack.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def __enter__(self) -> Self:
        return self


async def _soon(seconds: float) -> None:
    """Whoever waits for better times waits less here."""
    await asyncio.sleep(min(seconds, _PROBE_SECONDS))


def _copied(dead: Path, alive: Path) -> None:
    """What a kill leaves: every byte written so far, and no lock. Again where a thread wrote meanwhile."""
    while True:
        before = _stamps(dead)
        with suppress(shutil.Error, FileNotFoundError):
            shutil.copytree(dead, alive, ignore=shutil.ignore_patterns("*-shm"))
        if _stamps(dead) == before:
            return
        shutil.rmtree(alive)


def _stamps(folder: Path) -> Sequence[tuple[str, int, int]]:
    found = []
    for path in sorted(folder.rglob("*")):
        with suppress(FileNotFoundError):
            status = path.lstat()
            found.append((str(path), status.st_size, status.st_mtime_ns))
    return found
