"""A registry of images of any size, sent from memory as fast as it is taken: ``python -m bench.giant``.

What it has stands in the name that it is asked for, ``<way>/<bytes>/<seed>``: one layer of so many bytes,
another one for each name. The way: ``free``; ``late``, whose blobs begin after a while; ``capped``.
"""

import hashlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

from bench.processes import first_line, started
from gateway.oci.media_types import OCI_MANIFEST
from tests.fakes.images import OCI_CONFIG, OCI_LAYER
from tests.fakes.messages import Answer, head_of, read_request

LATE_SECONDS = 0.02
CAPPED_MEGABYTES = 100.0
_PIECE_BYTES = 1 << 20
_CONFIG = b"{}"
_MOST_BEHIND_SECONDS = 0.05  # a link that is not used loses what it could have carried


@dataclass(frozen=True, slots=True)
class Image:
    """``size`` is that of its one layer."""

    way: str
    size: int
    seed: str

    @property
    def name(self) -> str:
        return f"{self.way}/{self.size}/{self.seed}"


@contextmanager
def serving() -> Iterator[int]:
    """Serve them on a port."""
    with started("bench.giant") as process:
        yield int(first_line(process))


def _pieces(image: Image) -> Iterator[memoryview]:
    """The same MiB again and again, which is another one for each name."""
    begin = hashlib.sha256(image.name.encode()).digest()
    piece = memoryview(begin * (_PIECE_BYTES // len(begin)))
    for start in range(0, image.size, _PIECE_BYTES):
        yield piece[: image.size - start]


@cache
def _manifest(image: Image) -> bytes:
    hasher = hashlib.sha256()
    for piece in _pieces(image):
        hasher.update(piece)
    config = {"mediaType": OCI_CONFIG, "size": len(_CONFIG)}
    config["digest"] = f"sha256:{hashlib.sha256(_CONFIG).hexdigest()}"
    layer = {"mediaType": OCI_LAYER, "size": image.size, "digest": f"sha256:{hasher.hexdigest()}"}
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}
    return json.dumps(manifest).encode()


def _serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), connection, connection.makefile("rb") as stream:  # the client may leave
        while request := read_request(stream):
            _, _, way, size, seed, kind, _ = request.path.split("/")
            image, is_head = Image(way, int(size), seed), request.method == "HEAD"
            if kind == "manifests":
                manifest = _manifest(image)
                head = head_of(Answer(200, {"Content-Type": OCI_MANIFEST}, manifest))
                connection.sendall(head if is_head else head + manifest)
            else:
                _send_layer(connection, image, is_head=is_head)


def _send_layer(connection: socket.socket, image: Image, *, is_head: bool) -> None:
    if image.way == "late":
        time.sleep(LATE_SECONDS)
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {image.size}\r\n\r\n".encode())
    if not is_head:
        for piece in _paced(_pieces(image)) if image.way == "capped" else _pieces(image):
            connection.sendall(piece)


def _paced(pieces: Iterator[memoryview]) -> Iterator[memoryview]:
    due = time.perf_counter()
    for piece in pieces:
        now = time.perf_counter()
        if now < due:
            time.sleep(due - now)
        due = max(due, now - _MOST_BEHIND_SECONDS) + len(piece) / CAPPED_MEGABYTES / 1e6
        yield piece


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        sys.stdin.read()


def _accept(listener: socket.socket) -> None:
    while True:
        threading.Thread(target=_serve, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main()
