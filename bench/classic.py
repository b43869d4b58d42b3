"""Classic clients: an index written with our URLs, and served, beside what a fetch of it costs anyhow."""

import gzip
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread
from urllib.parse import urlsplit

from bench.corpus import ARGO, find_corpus
from bench.figures import AtLeast, Figure
from bench.gateways import HOSTS, fetch, running
from bench.load import Load, load
from bench.processes import wait_until
from bench.upstream import Upstream, make_repository, serving
from gateway.helm.classic_index import Kept, archive_name, write_index
from gateway.helm.index_outline import outline
from gateway.oci.digest import Digest
from tests.fakes.index_maker import make_index

_ROUNDS = 9
_CONNECTIONS = 32  # Hypercorn ends one after 1,000 answers
_SECONDS = 3.0


def run() -> Sequence[Figure]:
    made = make_index(charts=40, size_bytes=4_000_000)
    corpus = find_corpus()
    figures = [*_index("made index", made), *_served()]
    if corpus is None:
        return figures
    return [*_index("argo-helm's index", (corpus / ARGO / "index.yaml").read_bytes()), *figures]


def _served() -> Sequence[Figure]:
    """By one worker, an index of 4 MB; each of HOSTS is another repository to it."""
    with TemporaryDirectory() as root:
        folder = Path(root, "charts")
        make_repository(folder, charts=40, size_bytes=4_000_000, archive_bytes=1_000, archives=1)
        with serving(folder) as upstream, running(Path(root, "data"), upstream) as gateway:
            fetched = [_seconds(partial(_fetch, upstream)) for _ in HOSTS]
            cold = [_seconds(partial(fetch, gateway.port, _path(host))) for host in HOSTS]
            wait_until(lambda: _is_packed(gateway.port))
            warm = {
                encoding: load(gateway.port, _path(HOSTS[0]), _CONNECTIONS, _SECONDS, encoding)
                for encoding in ("gzip", "identity")
            }
    more = (median(cold) - median(fetched)) * 1000
    told = f"{median(cold) * 1000:.0f} ms, {median(fetched) * 1000:.0f} ms from upstream on this machine"
    packed, plain = warm["gzip"], warm["identity"]
    return [
        Figure("cold index, longer than its fetch", more, "ms", how=told),
        Figure("warm index, packed", packed.per_second, "a second", AtLeast(1000), _how(packed)),
        Figure("warm index, plain", plain.per_second, "a second", how=_how(plain)),
    ]


def _path(host: str) -> str:
    return f"/charts/{host}/index.yaml"


def _how(done: Load) -> str:
    return f"{done.megabytes_per_second:.0f} MB/s, {_CONNECTIONS} connections, one worker"


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _fetch(upstream: Upstream) -> bytes:
    """As a client does that knows nobody yet."""
    place = urlsplit(upstream.url)
    trust = ssl.create_default_context(cafile=upstream.trusted)
    connection = HTTPSConnection(str(place.hostname), place.port, context=trust)
    connection.request("GET", f"{place.path}/index.yaml")
    return connection.getresponse().read()


def _is_packed(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("HEAD", _path(HOSTS[0]), headers={"Accept-Encoding": "gzip"})
    return connection.getresponse().getheader("content-encoding") == "gzip"


def _index(what: str, content: bytes) -> list[Figure]:
    packed = gzip.compress(content, 6)
    rewritten, fetched = _milliseconds(partial(_rewrite, content)), _milliseconds(partial(_unpack, packed))
    outlined = _milliseconds(partial(outline, content))
    size = f"{what}, {len(content) / 1e6:.1f} MB"
    return [
        Figure(
            f"{size}: rewritten, beside gunzip and SHA-256 of it",
            median(rewritten) / median(fetched),
            "times",
            how=f"{median(rewritten):.0f} ms, outline {median(outlined):.0f}; these {median(fetched):.0f} ms",
        ),
        Figure(f"{size}: another thread waits meanwhile, longest", _longest_wait(content), "ms"),
    ]


def _rewrite(content: bytes) -> None:
    found = outline(content)
    charts = {
        chart: [Kept(content, item, archive_name(chart, item.version), item.digest) for item in items]
        for chart, items in found.charts.items()
    }
    write_index(charts, found.generated)


def _unpack(packed: bytes) -> None:
    Digest.of(gzip.decompress(packed))


def _milliseconds(work: Callable[[], object]) -> Sequence[float]:
    def timed() -> float:
        started = time.thread_time()
        work()
        return (time.thread_time() - started) * 1000

    return [timed() for _ in range(_ROUNDS)]


def _longest_wait(content: bytes) -> float:
    """The milliseconds in which this thread, ready to run all the time, did not."""
    worker = Thread(target=_rewrite, args=(content,))
    longest, before = 0.0, time.perf_counter()
    worker.start()
    while worker.is_alive():
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    return longest * 1000
