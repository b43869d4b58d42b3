"""Two hundred layers of 50 MB that nobody has asked for yet, all at once: the memory of the worker.

They are as many clients'. Of one upstream sixteen come at once; of many, all of them.
"""

import json
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.draw import Client
from bench.figures import AtMost, Figure
from bench.gateways import Rules, running_by
from bench.giant import Image, serving
from bench.memory import resident_megabytes, watched

_PULLS = 200
_BYTES = 50_000_000
_AT_ONCE = 16  # requests that the gateway has at one upstream
_DISK = Path.home()  # /tmp is memory on some systems
_PATIENCE_SECONDS = 300.0
_PATIENCE_TIMES = 50
_RETRY_SECONDS = 1.0


def run() -> Sequence[Figure]:
    return [
        _most("of one upstream", _PULLS, AtMost(300)),
        _most(f"of {-(-_PULLS // _AT_ONCE)} upstreams", _AT_ONCE, None),
    ]


def _most(whose: str, per_upstream: int, target: AtMost | None) -> Figure:
    paths = [
        f"/v2/u{number // per_upstream}.example.test/{Image('free', _BYTES, str(number)).name}"
        for number in range(_PULLS)
    ]
    with TemporaryDirectory(dir=_DISK) as root, ExitStack() as stack:
        ports = [stack.enter_context(serving()) for _ in range(0, _PULLS, per_upstream)]
        gateway = stack.enter_context(running_by(_rules(ports), Path(root, "data")))
        layers = [_layer(gateway.port, number, path) for number, path in enumerate(paths)]
        pool = stack.enter_context(ThreadPoolExecutor(_PULLS))
        before, started = resident_megabytes(gateway.worker), time.perf_counter()
        with watched(gateway.worker) as peak:
            asked = sum(pool.map(lambda number: _draw(gateway.port, number, layers[number]), range(_PULLS)))
        seconds = time.perf_counter() - started
    how = f"{before:.0f} MB before; {seconds:.0f} s; {asked - _PULLS} answers were 503, and came again"
    what = f"{_PULLS} cold layers of {_BYTES / 1e6:.0f} MB {whose}: memory of the worker, most"
    return Figure(what, before + peak.megabytes, "MB", target, how)


def _rules(ports: Sequence[int]) -> Rules:
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    places = {
        f"u{number}.example.test": {"kind": "registry", "url": url, "allow_private": True}
        for number, url in enumerate(urls)
    }
    return {"version": 1, "upstreams": places}


def _connected(port: int, number: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), _PATIENCE_SECONDS, (f"127.0.1.{1 + number}", 0))


def _layer(port: int, number: int, repository: str) -> str:
    """Pull a manifest; return where its layer is."""
    with _connected(port, number) as connection:
        manifest = json.loads(Client(connection).get(f"{repository}/manifests/1.0"))
    return f"{repository}/blobs/{manifest['layers'][0]['digest']}"


def _draw(port: int, number: int, path: str) -> int:
    """Return how often it was asked for until it came whole."""
    for asked in range(1, _PATIENCE_TIMES):
        with _connected(port, number) as connection:
            try:
                Client(connection).draw(path)
            except RuntimeError as error:
                if " 503" not in str(error):
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return asked
    raise RuntimeError(f"{path} never came")
