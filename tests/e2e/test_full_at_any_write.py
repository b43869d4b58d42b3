"""A disk that is full at one write, or from it on: each pull is answered, and no trace is left of it."""

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.crash_house import House, WatchedSite, crash_house, pull, require_whole
from tests.e2e.crash_points import crash_points
from tests.e2e.interception import Plan, Refused, require_interception

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

Record = Callable[[str, object], None]

_TAKING_ROOM = frozenset(
    {
        *("create", "mkdir", "rename", "link", "write", "writev", "pwrite64", "pwritev", "pwritev2"),
        *("fsync", "fdatasync", "ftruncate", "fallocate"),
    }
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    require_interception()
    with crash_house(tmp_path, "app") as house:
        yield house


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "from then on"])
def test_a_disk_that_is_full_at_any_write_of_a_cold_pull_costs_nobody_an_answer(
    house: House, *, lasts: bool, record_property: Record
) -> None:
    template = house.site("template")
    template.run("migrate").require_ok()
    for at in crash_points():
        site = house.site(str(at), template.data_dir)
        plan = Plan(Refused(errno.ENOSPC), at, lasts, _TAKING_ROOM)
        with WatchedSite(site.folder, plan).serve() as server:
            plan.is_armed = True
            assert pull(server, house.wanted) == house.wanted, plan.struck
            plan.is_armed = False
            assert pull(server, house.wanted) == house.wanted, plan.struck
            assert "Traceback" not in server.log, plan.struck
        require_whole(house, site, {})
        if plan.struck is None:
            break
        shutil.rmtree(site.folder)
    record_property("writes", plan.count)
    assert plan.count > 50
