"""Blobs over the wire while they still arrive: early, once, exact, and never completed when wrong."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from gateway.oci.digest import Digest
from gateway.store.blobs import WITHHELD_BYTES
from tests.composed import upstream
from tests.fakes.gated_registry import GatedRegistry
from tests.fakes.images import OCI, Artifact
from tests.web.downloads import Download, is_complete
from tests.web.live import Live, Reply, live

pytestmark = pytest.mark.slow  # many small tests, seconds together

HOST = "registry.example.test"
SIZE = 1 << 20
PAUSE = SIZE // 2
READABLE = PAUSE - WITHHELD_BYTES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streaming")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[tuple[GatedRegistry, Live]]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with GatedRegistry() as registry:
        rules = "upstreams:\n" + upstream(registry.origin, HOST, kind="registry")
        with live(folder, rules) as gateway:
            yield registry, gateway
            registry.pauses_at = None


class Streamed:
    """An image of one test's own; its manifest is held, its layer is not."""

    def __init__(
        self, running: tuple[GatedRegistry, Live], folder: Path, name: str, size: int = SIZE
    ) -> None:
        self.registry, self.gateway = running
        self.folder, self.name = folder, name
        self.image: Artifact = OCI.image(size, seed=name)
        self.layer = self.image.blobs[1]
        self.digest = Digest.of(self.layer)
        self.image.push_to(self.registry, name, "1")
        assert self.gateway.get(f"/v2/{HOST}/{name}/manifests/1").status == 200

    @property
    def target(self) -> str:
        return f"/v2/{HOST}/{self.name}/blobs/{self.digest}"

    @property
    def is_stored(self) -> bool:
        return any(path.name.endswith(self.digest.hex) for path in self.folder.rglob("*"))

    @property
    def gets(self) -> list[str | None]:
        return self.registry.gets_of_blob(self.name, self.digest)

    def download(self, asked: str | None = None) -> Download:
        headers = [] if asked is None else [(b"range", asked.encode())]
        return Download(self.gateway.connect(), self.target, headers)

    def get(self, asked: str | None = None) -> Reply:
        with self.download(asked) as download:
            return download.finish()


@pytest.fixture
def streamed(
    running: tuple[GatedRegistry, Live], folder: Path, request: pytest.FixtureRequest
) -> Iterator[Streamed]:
    made = Streamed(running, folder, f"own/test-{abs(hash(request.node.name))}")
    yield made
    made.registry.pauses_at = None


def test_bytes_reach_a_client_while_upstream_still_sends(streamed: Streamed) -> None:
    streamed.registry.pauses_at = PAUSE
    with streamed.download() as download:
        assert download.read_up_to(READABLE) == streamed.layer[:READABLE]
        assert streamed.registry.paused_count == 1
        streamed.registry.pauses_at = None
        reply = download.finish()
    assert (reply.status, reply.body, reply.header("x-cache")) == (200, streamed.layer, "miss")
    assert reply.header("docker-content-digest") == str(streamed.digest)
    assert streamed.get().header("x-cache") == "hit"
    assert streamed.gets == [None]


def test_fifty_clients_on_one_running_transfer_are_one_get(streamed: Streamed) -> None:
    streamed.registry.pauses_at = PAUSE
    with ExitStack() as stack:
        downloads = [stack.enter_context(streamed.download()) for _ in range(50)]
        for download in downloads:
            assert download.read_up_to(READABLE) == streamed.layer[:READABLE]
        assert streamed.gets == [None]
        streamed.registry.pauses_at = None
        replies = [download.finish() for download in downloads]
    assert {reply.body for reply in replies} == {streamed.layer}
    assert sorted(str(reply.header("x-cache")) for reply in replies) == ["joined"] * 49 + ["miss"]
    assert streamed.gets == [None]


@pytest.mark.parametrize(("first", "last"), [(0, 0), (1000, 1999), (0, READABLE - 1)])
def test_a_range_of_what_has_arrived_is_sent_at_once_and_completed_when_all_is_verified(
    streamed: Streamed, first: int, last: int
) -> None:
    streamed.registry.pauses_at = PAUSE
    with streamed.download() as whole, streamed.download(f"bytes={first}-{last}") as part:
        whole.read_up_to(READABLE)
        assert part.read_up_to(last - first) == streamed.layer[first:last]
        assert streamed.registry.paused_count == 1
        streamed.registry.pauses_at = None
        reply = part.finish()
        assert whole.finish().body == streamed.layer
    assert (reply.status, reply.body) == (206, streamed.layer[first : last + 1])
    assert reply.header("content-range") == f"bytes {first}-{last}/{SIZE}"
    assert streamed.gets == [None]


def test_a_range_of_wrong_bytes_is_never_completed(streamed: Streamed) -> None:
    faults = streamed.registry.faults_of_blob(streamed.name, streamed.digest)
    faults.wrong_bytes = True
    streamed.registry.pauses_at = PAUSE
    with streamed.download() as whole, streamed.download("bytes=0-9") as part:
        whole.read_up_to(READABLE)
        part.read_up_to(9)
        streamed.registry.pauses_at = None
        assert not is_complete(part.finish())
    assert not streamed.is_stored


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        (f"bytes={READABLE - 10}-{READABLE + 9}", READABLE - 10, READABLE + 9),
        (f"bytes={PAUSE + 5}-{PAUSE + 104}", PAUSE + 5, PAUSE + 104),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        (f"bytes=100-{SIZE * 9}", 100, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        (f"bytes=-{WITHHELD_BYTES + 7}", SIZE - WITHHELD_BYTES - 7, SIZE - 1),
        (f"bytes=-{SIZE * 9}", 0, SIZE - 1),
    ],
)
def test_a_range_of_what_is_still_to_come_waits_for_it(
    streamed: Streamed, asked: str, first: int, last: int
) -> None:
    streamed.registry.pauses_at = PAUSE
    with streamed.download() as whole, streamed.download(asked) as part:
        whole.read_up_to(READABLE)
        part.read_up_to(min(max(READABLE - first, 0), last - first))
        streamed.registry.pauses_at = None
        reply = part.finish()
        assert whole.finish().body == streamed.layer
    assert (reply.status, reply.body) == (206, streamed.layer[first : last + 1])
    assert reply.header("content-range") == f"bytes {first}-{last}/{SIZE}"
    assert streamed.gets == [None]


def test_a_range_that_cannot_be_met_is_told_while_the_blob_still_arrives(streamed: Streamed) -> None:
    streamed.registry.pauses_at = PAUSE
    with streamed.download() as whole:
        whole.read_up_to(READABLE)
        for asked in (f"bytes={SIZE}-", "bytes=-0"):
            reply = streamed.get(asked)
            assert (reply.status, reply.header("content-range")) == (416, f"bytes */{SIZE}")
        streamed.registry.pauses_at = None
        assert whole.finish().body == streamed.layer


def test_a_range_that_nobody_waits_for_fetches_the_whole(streamed: Streamed) -> None:
    assert streamed.get("bytes=10-19").body == streamed.layer[10:20]
    assert streamed.get().body == streamed.layer
    assert streamed.gets == [None]


def test_wrong_bytes_are_cut_short_for_everybody_kept_nowhere_and_fetched_again(streamed: Streamed) -> None:
    streamed.registry.pauses_at = PAUSE
    faults = streamed.registry.faults_of_blob(streamed.name, streamed.digest)
    faults.wrong_bytes = True
    with ExitStack() as stack:
        downloads = [stack.enter_context(streamed.download()) for _ in range(5)]
        tail = stack.enter_context(streamed.download("bytes=-10"))
        for download in downloads:
            download.read_up_to(READABLE)
        streamed.registry.pauses_at = None
        replies = [download.finish() for download in downloads]
        assert tail.finish().body == b""
    for reply in replies:
        assert (reply.status, reply.header("content-length")) == (200, str(SIZE))
        assert READABLE <= len(reply.body) <= SIZE - WITHHELD_BYTES
        assert streamed.layer.startswith(reply.body)
    assert not streamed.is_stored
    faults.wrong_bytes = False
    assert streamed.get().body == streamed.layer
    assert streamed.gets == [None, None]


@pytest.mark.parametrize("size", [1, WITHHELD_BYTES - 1, WITHHELD_BYTES, WITHHELD_BYTES + 1])
def test_of_a_small_wrong_blob_nothing_that_matters_is_sent(
    running: tuple[GatedRegistry, Live], folder: Path, size: int
) -> None:
    small = Streamed(running, folder, f"own/small-{size}", size)
    faults = small.registry.faults_of_blob(small.name, small.digest)
    faults.wrong_bytes = True
    reply = small.get()
    if size <= WITHHELD_BYTES:
        assert (reply.status, reply.code) == (502, "UNKNOWN")
    else:
        assert (reply.status, is_complete(reply)) == (200, False)
        assert len(reply.body) <= size - WITHHELD_BYTES
    assert not small.is_stored
    faults.wrong_bytes = False
    assert small.get().body == small.layer


def test_an_empty_blob_is_a_blob(running: tuple[GatedRegistry, Live], folder: Path) -> None:
    empty = Streamed(running, folder, "own/empty", 0)
    for _ in range(2):
        reply = empty.get()
        assert (reply.status, reply.body, reply.header("content-length")) == (200, b"", "0")


def test_an_upstream_that_sends_too_little_is_cut_short_and_fetched_again(streamed: Streamed) -> None:
    faults = streamed.registry.faults_of_blob(streamed.name, streamed.digest)
    faults.truncated = True
    reply = streamed.get()
    assert (reply.status, is_complete(reply)) == (200, False)
    assert streamed.layer.startswith(reply.body)
    assert not streamed.is_stored
    faults.truncated = False
    assert streamed.get().body == streamed.layer


def test_what_breaks_off_is_resumed_where_it_broke_off(streamed: Streamed) -> None:
    streamed.registry.faults_of_blob(streamed.name, streamed.digest).breaks_at = [300_000, 200_000]
    assert streamed.get().body == streamed.layer
    assert streamed.gets == [None, "bytes=300000-", "bytes=500000-"]


def test_what_breaks_off_where_there_are_no_ranges_is_begun_anew(streamed: Streamed) -> None:
    streamed.registry.faults_of_blob(streamed.name, streamed.digest).breaks_at = [300_000]
    streamed.registry.has_ranges = False
    try:
        assert streamed.get().body == streamed.layer
    finally:
        streamed.registry.has_ranges = True
    assert streamed.gets == [None, "bytes=300000-"]


def test_what_is_resumed_with_other_bytes_is_never_completed(streamed: Streamed) -> None:
    """The part before the break was right, what came after it is not."""
    streamed.registry.pauses_at = PAUSE
    faults = streamed.registry.faults_of_blob(streamed.name, streamed.digest)
    faults.breaks_at = [PAUSE + 1000]
    with streamed.download() as download:
        download.read_up_to(READABLE)
        faults.wrong_bytes = True
        streamed.registry.pauses_at = None
        reply = download.finish()
    assert not is_complete(reply)
    assert not streamed.is_stored
    faults.wrong_bytes = False
    assert streamed.get().body == streamed.layer


def test_a_client_that_leaves_at_a_kibibyte_ends_nothing(streamed: Streamed) -> None:
    streamed.registry.pauses_at = PAUSE
    with ExitStack() as stack:
        with streamed.download() as leader:
            leader.read_up_to(1024)
            followers = [stack.enter_context(streamed.download()) for _ in range(50)]
            for follower in followers:
                follower.read_up_to(1024)
        streamed.registry.pauses_at = None
        replies = [follower.finish() for follower in followers]
    assert {reply.body for reply in replies} == {streamed.layer}
    assert streamed.get().header("x-cache") == "hit"
    assert streamed.gets == [None]


def test_head_of_a_blob_dials_nobody(streamed: Streamed) -> None:
    asked = len(streamed.registry.requests)
    headed = streamed.gateway.raw("HEAD", streamed.target.encode())
    assert (headed.status, headed.header("content-length"), headed.body) == (200, str(SIZE), b"")
    assert len(streamed.registry.requests) == asked
    assert streamed.get().body == streamed.layer


def test_a_blob_that_another_repository_has_delivered_is_confirmed_by_head(streamed: Streamed) -> None:
    assert streamed.get().body == streamed.layer
    other = f"{streamed.name}-other"
    streamed.image.push_to(streamed.registry, other, "1")
    target = streamed.target.replace(streamed.name, other)
    assert streamed.gateway.get(target).code == "BLOB_UNKNOWN"  # nothing names it there yet
    assert streamed.gateway.get(f"/v2/{HOST}/{other}/manifests/1").status == 200
    for _ in range(2):
        assert streamed.gateway.get(target).body == streamed.layer
    assert streamed.registry.count_of_blob(other, streamed.digest, "HEAD") == 1
    assert streamed.registry.gets_of_blob(other, streamed.digest) == []


def test_a_manifest_that_names_what_its_own_registry_has_not_gives_no_right(streamed: Streamed) -> None:
    assert streamed.get().body == streamed.layer
    hostile = f"{streamed.name}-hostile"
    streamed.registry.push(hostile, "1", streamed.image.manifest, streamed.image.media_type)
    assert streamed.gateway.get(f"/v2/{HOST}/{hostile}/manifests/1").status == 200
    for _ in range(2):
        reply = streamed.gateway.get(streamed.target.replace(streamed.name, hostile))
        assert (reply.status, reply.code) == (404, "BLOB_UNKNOWN")


def test_a_blob_that_is_gone_upstream_has_its_manifest_fetched_again_once(streamed: Streamed) -> None:
    streamed.registry.delete_blob(streamed.name, streamed.digest)
    asked = len(streamed.registry.requests)
    reply = streamed.get()
    assert (reply.status, reply.code) == (404, "BLOB_UNKNOWN")
    since = [(one.method, one.path.split("/")[-2]) for one in streamed.registry.requests[asked:]]
    assert since[0] == ("GET", "blobs")
    assert since.count(("GET", "manifests")) <= 1
    assert {what for _, what in since[1:]} == {"manifests"}
