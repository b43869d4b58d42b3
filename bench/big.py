"""A layer of 2 GB that nobody has asked for yet: memory, first byte, and pace of what passes through.

The data lies on a disk: a file system in memory would be quicker, and count as memory. Every round has a
gateway of its own, or a layer of its own.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from bench.draw import Client, Drawn, connected, drawn_by_httpx
from bench.figures import AtLeast, AtMost, Figure
from bench.gateways import Running, running_by
from bench.giant import CAPPED_MEGABYTES, LATE_SECONDS, Image, serving
from bench.memory import watched

_HOST = "giant.example.test"
_BYTES = 2_000_000_000
_SMALL_BYTES = 20_000_000
_FIRST_BYTES = 25
_FREE_ROUNDS = 3
_CAPPED_ROUNDS = 2
_DISK = Path.home()  # /tmp is memory on some systems


@dataclass(frozen=True, slots=True)
class _Passed:
    """The layer as it came through us, and what the worker took for it: memory over what it had, CPU."""

    drawn: Drawn
    megabytes: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class _Round:
    ours: _Passed
    direct: Drawn

    @property
    def percentage(self) -> float:
        return 100 * self.ours.drawn.megabytes_per_second / self.direct.megabytes_per_second


def run() -> Sequence[Figure]:
    with serving() as port:
        free = [_free(port, number) for number in range(_FREE_ROUNDS)]
        capped = [_capped(port, number) for number in range(_CAPPED_ROUNDS)]
        first = [_first_bytes(port, way) for way in ("free", "late")]
    return [
        _memory([*free, *capped]),
        _first_byte("first byte, of that direct", first[0]),
        _first_byte(f"… upstream needs {LATE_SECONDS * 1000:.0f} ms to its own", first[1]),
        _pace(
            f"pace of an upstream capped at {CAPPED_MEGABYTES:.0f} MB/s, of that direct", capped, AtLeast(90)
        ),
        _pace("pace uncapped, of httpx's bare aiter_raw", free, AtLeast(45)),
    ]


def _free(port: int, number: int) -> _Round:
    """The layer through us, and by httpx from upstream; in turns, one or the other first."""
    image = Image("free", _BYTES, str(number))
    if number % 2:
        direct = _by_httpx(port, image)
        return _Round(_through_us(port, image), direct)
    return _Round(_through_us(port, image), _by_httpx(port, image))


def _capped(port: int, number: int) -> _Round:
    image = Image("capped", _BYTES, str(number))
    ours = _through_us(port, image)
    with connected(port) as client:
        return _Round(ours, client.draw(_layer(client, f"/v2/{image.name}")))


def _by_httpx(port: int, image: Image) -> Drawn:
    with connected(port) as client:
        return drawn_by_httpx(port, _layer(client, f"/v2/{image.name}"))


def _through_us(port: int, image: Image) -> _Passed:
    with _gateway(port) as gateway, connected(gateway.port) as client:
        path = _layer(client, f"/v2/{_HOST}/{image.name}")
        cpu_seconds = _cpu_seconds(gateway)
        with watched(gateway.worker) as peak:
            drawn = client.draw(path)
        return _Passed(drawn, peak.megabytes, _cpu_seconds(gateway) - cpu_seconds)


def _cpu_seconds(gateway: Running) -> float:
    used = psutil.Process(gateway.worker).cpu_times()
    return float(used.user + used.system)


def _first_bytes(port: int, way: str) -> Sequence[tuple[float, float]]:
    """Milliseconds, ours and direct. Over connections that are open, as they are after the manifest."""
    images = [Image(way, _SMALL_BYTES, f"first-{number}") for number in range(_FIRST_BYTES)]
    with _gateway(port) as gateway, connected(gateway.port) as ours, connected(port) as upstream:
        return [
            (_first(ours, f"/v2/{_HOST}/{image.name}"), _first(upstream, f"/v2/{image.name}"))
            for image in images
        ]


def _first(client: Client, repository: str) -> float:
    return client.draw(_layer(client, repository)).first_byte_seconds * 1000


@contextmanager
def _gateway(port: int) -> Iterator[Running]:
    place = {"kind": "registry", "url": f"http://127.0.0.1:{port}", "allow_private": True}
    rules = {"version": 1, "upstreams": {_HOST: place}}
    with TemporaryDirectory(dir=_DISK) as root, running_by(rules, Path(root, "data")) as gateway:
        yield gateway


def _layer(client: Client, repository: str) -> str:
    """Pull the manifest; return where the layer is."""
    manifest = json.loads(client.get(f"{repository}/manifests/1.0"))
    return f"{repository}/blobs/{manifest['layers'][0]['digest']}"


def _memory(rounds: Sequence[_Round]) -> Figure:
    taken = [one.ours.megabytes for one in rounds]
    how = f"the worker's peak over what it had; median {median(taken):.0f} of {len(taken)}"
    return Figure("a cold blob of 2 GB: memory, most", max(taken), "MB", AtMost(40), how)


def _first_byte(what: str, rounds: Sequence[tuple[float, float]]) -> Figure:
    ours, direct = zip(*rounds, strict=True)
    how = f"{median(ours):.1f} of {median(direct):.1f} ms; {len(rounds)} blobs of 20 MB; most {max(ours):.0f}"
    return Figure(what, median(mine / other for mine, other in rounds), "times", AtMost(1.3), how)


def _pace(what: str, rounds: Sequence[_Round], target: AtLeast) -> Figure:
    """To the last byte at the client, which comes when the blob is verified and kept."""
    ours = median(one.ours.drawn.megabytes_per_second for one in rounds)
    direct = median(one.direct.megabytes_per_second for one in rounds)
    shares = sorted(one.percentage for one in rounds)
    cpu_seconds = median(one.ours.cpu_seconds for one in rounds)
    how = (
        f"{ours:.0f} of {direct:.0f} MB/s; {len(rounds)} rounds {shares[0]:.0f} to {shares[-1]:.0f}; "
        f"the worker's CPU {cpu_seconds:.1f} s; kept on {_file_system(_DISK)}"
    )
    return Figure(what, median(shares), "%", target, how)


def _file_system(folder: Path) -> str:
    """What kind of file system a folder lies on."""
    mounted = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    return next(mounted[str(place)] for place in (folder, *folder.parents) if str(place) in mounted)
