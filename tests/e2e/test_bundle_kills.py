"""kill -9, and a full disk, at each system call of an import: all of it is taken, or nothing is changed."""

import errno
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.bundle_house import Bundle, chart
from tests.e2e.crash_house import WatchedSite, require_clean
from tests.e2e.crash_points import crash_points
from tests.e2e.gateway_process import Site
from tests.e2e.interception import Killed, Plan, Refused, require_interception

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

Record = Callable[[str, object], None]

_APP = "charts.example.test/app"
_TAKING_ROOM = frozenset(
    {
        *("create", "mkdir", "rename", "link", "write", "writev", "pwrite64", "pwritev", "pwritev2"),
        *("fsync", "fdatasync", "ftruncate", "fallocate"),
    }
)
_ROWS: Mapping[str, str] = {
    "tags": "target, variant, tag, source, digest",
    "manifests": "digest, content",
    "manifest_edges": "manifest, position, digest",
    "blobs": "digest, size_bytes",
    "rights": "target, variant, digest",
    "repositories": "name, target",
    "retentions": "target, reference, keeper",
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with a bundle, and ``template``, a data directory that holds something else."""
    require_interception()
    held = Bundle().add(_APP, {"0.9.0": chart("app", "0.9.0"), "1.0.0": chart("app", "other")})
    brought = Bundle().add(
        _APP, {"1.0.0": chart("app", "1.0.0", os.urandom(2_500_000)), "1.1.0": chart("app", "1.1.0")}
    )
    (tmp_path / "held.tar").write_bytes(held.tar())
    (tmp_path / "brought.tar").write_bytes(brought.tar())
    template = Site(tmp_path / "template")
    template.folder.mkdir()
    template.run("migrate").require_ok()
    template.run("import", str(tmp_path / "held.tar")).require_ok()
    return tmp_path


def _site(house: Path, name: str) -> Site:
    folder = house / name
    folder.mkdir()
    shutil.copytree(house / "template" / "data", folder / "data")
    return Site(folder)


def _held(site: Site) -> tuple[Mapping[str, Sequence[object]], Sequence[str]]:
    """All rows, but for times, and all files."""
    with closing(sqlite3.connect(site.data_dir / "catalog.sqlite3")) as catalog:
        rows = {
            table: sorted(catalog.execute(f"SELECT {columns} FROM {table}"))  # noqa: S608 (ours)
            for table, columns in _ROWS.items()
        }
    root = site.data_dir / "blobs"
    return rows, sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_kill_9_at_any_system_call_of_an_import_leaves_what_the_next_one_completes(
    house: Path, record_property: Record
) -> None:
    wanted = None
    for at in crash_points():
        site, plan = _site(house, str(at)), Plan(Killed(), at, is_armed=True)
        ran = WatchedSite(site.folder, plan).run("import", str(house / "brought.tar"))
        half = _held(site)[0]
        site.run("import", str(house / "brought.tar")).require_ok()
        whole = _held(site)
        require_clean(site.data_dir)
        wanted = wanted or whole
        assert whole == wanted, plan.struck
        assert half in (whole[0], _held(Site(house / "template"))[0]), plan.struck
        if plan.struck is None:
            break
        assert ran.code == -signal.SIGKILL
        shutil.rmtree(site.folder)
    record_property("calls", plan.count)
    assert ran.code == 0
    assert plan.count > 50


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "from then on"])
def test_a_disk_that_is_full_at_any_write_of_an_import_changes_nothing(
    house: Path, *, lasts: bool, record_property: Record
) -> None:
    before = _held(Site(house / "template"))
    for at in crash_points():
        site, plan = (
            _site(house, str(at)),
            Plan(Refused(errno.ENOSPC), at, lasts, _TAKING_ROOM, is_armed=True),
        )
        ran = WatchedSite(site.folder, plan).run("import", str(house / "brought.tar"))
        if ran.code:
            assert "Traceback" not in ran.errors, plan.struck
            assert _held(site) == before, plan.struck
        site.run("import", str(house / "brought.tar")).require_ok()
        require_clean(site.data_dir)
        if plan.struck is None:
            break
        shutil.rmtree(site.folder)
    record_property("writes", plan.count)
    assert ran.code == 0
    assert plan.count > 50
