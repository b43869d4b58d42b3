"""A blob on its way through a real gateway process: early, whole, bounded, and over when it has to be."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.oci.digest import Digest
from gateway.store.blobs import WITHHELD_BYTES
from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, Site
from tests.e2e.streams import Stream
from tests.fakes.gated_registry import GatedRegistry
from tests.fakes.images import OCI

pytestmark = pytest.mark.e2e

HOST = "registry.example.test"
NAME = "team/app"
SIZE = 8 << 20
PAUSE = SIZE // 2
IMAGE = OCI.image(SIZE)
LAYER = IMAGE.blobs[1]
DIGEST = Digest.of(LAYER)
MANIFEST = f"/v2/{HOST}/{NAME}/manifests/1"
BLOB = f"/v2/{HOST}/{NAME}/blobs/{DIGEST}"


@pytest.fixture
def registry(site: Site) -> Iterator[GatedRegistry]:
    with GatedRegistry() as registry:
        IMAGE.push_to(registry, NAME, "1")
        site.write_rules(
            "version: 1\nupstreams:\n"
            f"  {HOST}: {{url: '{registry.origin}', kind: registry, allow_private: true}}\n"
        )
        yield registry
        registry.pauses_at = None


@pytest.fixture
def server(site: Site, registry: GatedRegistry) -> Iterator[Server]:
    with site.serve() as server:
        assert server.get(MANIFEST).status_code == 200
        yield server


def test_first_bytes_come_while_upstream_still_sends_and_the_last_once_all_is_right(
    server: Server, registry: GatedRegistry
) -> None:
    registry.pauses_at = PAUSE
    readable = PAUSE - WITHHELD_BYTES
    with Stream(server, BLOB) as stream:
        assert stream.read_up_to(readable) == LAYER[:readable]
        assert registry.paused_count == 1
        registry.pauses_at = None
        assert stream.finish() == LAYER
    assert server.get(BLOB).headers["x-cache"] == "hit"
    assert registry.gets_of_blob(NAME, DIGEST) == [None]


def test_a_client_that_reads_nothing_holds_nobody_up_and_still_gets_all(
    server: Server, registry: GatedRegistry
) -> None:
    registry.pauses_at = PAUSE
    with Stream(server, BLOB) as idle, Stream(server, BLOB) as busy:
        idle.read_up_to(1)
        busy.read_up_to(PAUSE - WITHHELD_BYTES)
        registry.pauses_at = None
        assert busy.finish() == LAYER
        assert server.get(BLOB).headers["x-cache"] == "hit"
        assert idle.finish() == LAYER


def test_fifty_finish_though_the_first_has_left(server: Server, registry: GatedRegistry) -> None:
    registry.pauses_at = PAUSE
    with ExitStack() as stack:
        with Stream(server, BLOB) as leader:
            leader.read_up_to(1024)
            followers = [stack.enter_context(Stream(server, BLOB)) for _ in range(50)]
            for follower in followers:
                follower.read_up_to(1024)
        registry.pauses_at = None
        assert {Digest.of(follower.finish()) for follower in followers} == {DIGEST}
    assert registry.gets_of_blob(NAME, DIGEST) == [None]


def test_those_who_wait_for_the_first_byte_ask_upstream_nothing(
    server: Server, registry: GatedRegistry
) -> None:
    registry.faults_of_blob(NAME, DIGEST).slow_seconds = 0.5
    with ExitStack() as stack:
        streams = [stack.enter_context(Stream(server, BLOB)) for _ in range(10)]
        assert {Digest.of(stream.finish()) for stream in streams} == {DIGEST}
    assert registry.count_of_blob(NAME, DIGEST, None) == 1


def test_what_breaks_off_is_resumed(server: Server, registry: GatedRegistry) -> None:
    registry.faults_of_blob(NAME, DIGEST).breaks_at = [PAUSE, 1 << 20]
    assert server.get(BLOB).content == LAYER
    assert registry.gets_of_blob(NAME, DIGEST) == [
        None,
        f"bytes={PAUSE}-",
        f"bytes={PAUSE + (1 << 20)}-",
    ]


def test_the_largest_blob_is_a_setting(site: Site, registry: GatedRegistry) -> None:
    for limit, status in ((SIZE - 1, 502), (SIZE, 200)):
        with site.serve(environment={"GATEWAY_MAX_BLOB_SIZE": str(limit)}) as server:
            assert server.get(MANIFEST).status_code == 200
            assert server.get(BLOB).status_code == status
            assert len(registry.gets_of_blob(NAME, DIGEST)) == (status == 200)


def test_when_the_only_worker_is_killed_clients_are_cut_short_and_the_next_one_is_served(
    server: Server, registry: GatedRegistry
) -> None:
    registry.pauses_at = PAUSE
    with Stream(server, BLOB) as stream:
        stream.read_up_to(1 << 20)
        (worker,) = server.workers()
        worker.kill()
        body = stream.finish()
    assert LAYER.startswith(body)
    assert len(body) <= PAUSE - WITHHELD_BYTES
    worker.wait(PATIENCE_SECONDS)
    registry.pauses_at = None
    assert server.get(BLOB).content == LAYER
    assert server.get(BLOB).headers["x-cache"] == "hit"


def test_told_to_end_it_lets_a_running_transfer_finish(server: Server, registry: GatedRegistry) -> None:
    registry.pauses_at = PAUSE
    with Stream(server, BLOB) as stream:
        stream.read_up_to(1 << 20)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("stopping")
        registry.pauses_at = None
        assert stream.finish() == LAYER
    assert server.process.wait(PATIENCE_SECONDS) == 0
    assert "Traceback" not in server.log
