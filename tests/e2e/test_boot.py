"""After kill -9, with whatever that left lying about, the gateway is there again, and waits for nothing."""

import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from gateway.oci.digest import Digest
from tests.e2e.gateway_process import Server, Site
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.store.damaging import WRITTEN_AHEAD, write_much_and_die

pytestmark = pytest.mark.e2e

Record = Callable[[str, object], None]

GOOD, SLOW = "good.example.test", "slow.example.test"
CHART = make_chart("small", "1.0.0")


def manifest(host: str) -> str:
    return f"/v2/{host}/small/manifests/1.0.0"


def test_with_10_000_blobs_and_a_large_log_after_a_kill_it_starts_with_what_it_had(
    site: Site, record_property: Record
) -> None:
    blobs = site.data_dir / "blobs" / "sha256"
    with site.serve() as server:
        server.stop()
    for number in range(10_000):
        content = b"%d" % number
        digest = Digest.of(content)
        (blobs / digest.hex[:2]).mkdir(parents=True, exist_ok=True)
        (blobs / digest.hex[:2] / digest.hex).write_bytes(content)
    catalog = site.data_dir / "catalog.sqlite3"
    write_much_and_die(catalog)
    log_bytes = Path(f"{catalog}-wal").stat().st_size
    assert log_bytes > 50_000_000
    with site.serve(workers=2) as again:
        record_property("seconds_to_ready", again.seconds_to_ready)
        record_property("log_bytes", log_bytes)
        assert not again.events("catalog_restored")
        with closing(sqlite3.connect(catalog)) as connection:
            assert connection.execute("SELECT count(*) FROM private_targets").fetchone() == (WRITTEN_AHEAD,)


def test_what_was_being_fetched_when_it_was_killed_holds_nobody_up_after_the_restart(site: Site) -> None:
    files = repository_of(CHART)
    with HelmRepo(files) as good, HelmRepo(files) as slow:
        site.point_at({GOOD: good, SLOW: slow})
        archive = next(path for path in files if path.endswith(".tgz"))
        slow.faults_of(archive).silent = True
        with site.serve(workers=2) as server:
            asking = threading.Thread(target=_ask, args=(server, manifest(SLOW)))
            asking.start()
            slow.wait_for_requests(2)
            assert server.stop(signal.SIGKILL) == -signal.SIGKILL
            server.end()
            asking.join()
        with site.serve(workers=2) as again:
            first = threading.Thread(target=_ask, args=(again, manifest(SLOW)))
            first.start()
            slow.wait_for_requests(3)
            assert again.get(manifest(GOOD)).status_code == 200  # while the other one's upstream says nothing
            slow.faults_of(archive).silent = False
            slow.release()
            first.join()
            assert again.get(manifest(SLOW)).status_code == 200


def _ask(server: Server, path: str) -> None:
    with suppress(httpx.TransportError):
        server.get(path)
