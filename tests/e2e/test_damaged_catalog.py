"""The catalog comes to harm under a running server: clients may try again, and get nothing wrong."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from gateway.oci.digest import Digest
from gateway.store.backups import CatalogCopies
from gateway.store.damage import CatalogWatch
from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.store.damaging import (
    cut_in_half,
    cut_to,
    delete,
    make_it_text,
    overwrite_first_page,
    replace_it_by_text,
)

pytestmark = pytest.mark.e2e

Record = Callable[[str, object], None]

UPSTREAM = "charts.example.test/stable"
CHARTS = {f"1.0.{number}": make_chart("small", f"1.0.{number}") for number in range(3)}
UNPULLED = "2.0.0"
_TRY_AGAIN = {429, 503}


def write_garbage_ahead(catalog: Path) -> None:
    log = Path(f"{catalog}-wal")
    log.write_bytes(os.urandom(log.stat().st_size))


def forget_what_was_written_ahead(catalog: Path) -> None:
    os.truncate(f"{catalog}-wal", 0)


def cut_the_shared_memory(catalog: Path) -> None:
    os.truncate(f"{catalog}-shm", 0)


@pytest.fixture
def repo(site: Site) -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(*CHARTS.values(), make_chart("small", UNPULLED))) as repo:
        site.point_at({UPSTREAM: repo})
        yield repo


def manifest(version: str) -> str:
    return f"/v2/{UPSTREAM}/small/manifests/{version}"


@dataclass(slots=True)
class Answers:
    """What clients were told, each with what was right."""

    statuses: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def right_at_last(self, count: int) -> bool:
        return len(self.statuses) >= count and set(self.statuses[-count:]) == {200}


@contextmanager
def asking(server: Server) -> Iterator[Answers]:
    """Clients that pull again and again meanwhile."""
    answers = Answers()
    right = {version: server.get(manifest(version)).headers["docker-content-digest"] for version in CHARTS}
    is_over = threading.Event()

    def ask(version: str) -> None:
        while not is_over.is_set():
            try:
                response = server.get(manifest(version))
            except httpx.TransportError as error:
                answers.broken.append(repr(error))
                continue
            answers.statuses.append(response.status_code)
            if response.status_code == 200 and str(Digest.of(response.content)) != right[version]:
                answers.wrong.append(version)

    threads = [threading.Thread(target=ask, args=(version,)) for version in CHARTS]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    "harm",
    [
        overwrite_first_page,
        make_it_text,
        delete,
        cut_to(0),
        cut_in_half,
        replace_it_by_text,
        forget_what_was_written_ahead,
        cut_the_shared_memory,
    ],
    ids=lambda harm: harm.__name__,
)
def test_the_service_goes_on_within_seconds(
    site: Site, repo: HelmRepo, harm: Callable[[Path], None], record_property: Record
) -> None:
    catalog = site.data_dir / "catalog.sqlite3"
    with site.serve(workers=2) as server:
        assert server.get(manifest("1.0.0")).status_code == 200
        assert asyncio.run(CatalogCopies(catalog, CatalogWatch(None)).make())
        before = server.worker_pids()
        with asking(server) as answers:
            harm(catalog)
            seconds = eventually(
                lambda: len(server.worker_pids() - before) == 2 and answers.right_at_last(30),
                PATIENCE_SECONDS,
            )
        record_property("seconds_to_serving_again", seconds)
        assert not answers.wrong
        assert set(answers.statuses) <= {200, *_TRY_AGAIN}
        assert server.get(manifest("1.0.0")).headers["x-cache"] == "hit"
        for version in CHARTS:
            assert server.get(manifest(version)).status_code == 200
        restored = server.events("catalog_restored")
        shown = server.get("/readyz").json()["storage"]
        assert ("catalog_restored" in shown) == bool(restored)
        assert all(event["copy"] == "catalog-1.sqlite3" for event in restored)
        assert "Traceback" not in server.log
        assert server.stop() == 0


def test_garbage_where_sqlite_writes_ahead_is_never_served(site: Site, repo: HelmRepo) -> None:
    """It may go unnoticed: what was written there is in the catalog by now, and will be written over."""
    with site.serve(workers=2) as server, asking(server) as answers:
        write_garbage_ahead(site.data_dir / "catalog.sqlite3")
        eventually(lambda: is_pulled(server, UNPULLED) and answers.right_at_last(30), PATIENCE_SECONDS)
    assert not answers.wrong
    assert set(answers.statuses) <= {200, *_TRY_AGAIN}


def is_pulled(server: Server, version: str) -> bool:
    try:
        return server.get(manifest(version)).status_code == 200
    except httpx.TransportError:
        return False


def test_rules_that_no_copy_has_are_taken_from_their_file_again(site: Site, repo: HelmRepo) -> None:
    with site.serve() as server:
        assert server.get(manifest("1.0.0")).status_code == 200
        delete(site.data_dir / "catalog.sqlite3")
        assert server.wait_for("catalog_restored")["copy"] is None
        eventually(lambda: server.get("/readyz").status_code == 200, PATIENCE_SECONDS)
        assert server.get(manifest("1.0.0")).status_code == 200
        assert server.get("/readyz").json()["rules"] == {"revision": 1, "trouble": None}


def test_a_file_of_rules_that_is_broken_just_then_leaves_those_that_were_in_force(
    site: Site, repo: HelmRepo
) -> None:
    with site.serve() as server:
        site.write_rules("version: 2\n")
        server.wait_for("rules_refused")
        delete(site.data_dir / "catalog.sqlite3")
        server.wait_for("catalog_restored")
        eventually(lambda: server.get("/readyz").status_code == 200, PATIENCE_SECONDS)
        assert server.get(manifest("1.0.0")).status_code == 200
        assert server.get("/readyz").json()["rules"]["trouble"]


def test_a_command_alone_with_a_damaged_catalog_works_with_its_copy(site: Site, repo: HelmRepo) -> None:
    catalog = site.data_dir / "catalog.sqlite3"
    with site.serve() as server:
        assert server.get(manifest("1.0.0")).status_code == 200
        assert asyncio.run(CatalogCopies(catalog, CatalogWatch(None)).make())
        server.stop()
    make_it_text(catalog)
    ran = site.run("list")
    assert "small:1.0.0" in ran.require_ok()
    assert "Traceback" not in ran.errors
