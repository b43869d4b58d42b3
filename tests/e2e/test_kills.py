"""kill -9 before each system call: of a cold pull and the end of a server, of its first start, of upkeep."""

import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from tests.e2e.crash_house import House, WatchedSite, crash_house, pull, require_whole
from tests.e2e.crash_points import crash_points
from tests.e2e.interception import Killed, Plan, require_interception

Record = Callable[[str, object], None]

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_UPKEEP = (
    ("gc", "--max-size", "1", "--grace", "0s"),  # sets all layers aside, and removes them
    ("scrub",),
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    require_interception()
    with crash_house(tmp_path, "app") as house:
        yield house


@pytest.fixture
def template(house: House) -> Path:
    """A data directory that was migrated, and holds nothing."""
    site = house.site("template")
    site.run("migrate").require_ok()
    return site.data_dir


def test_kill_9_at_any_system_call_of_a_cold_pull_loses_nothing(
    house: House, template: Path, record_property: Record
) -> None:
    seconds = []
    for at in crash_points():
        site, plan = house.site(str(at), template), Plan(Killed(), at)
        with WatchedSite(site.folder, plan).serve() as server:
            plan.is_armed = True
            answered = pull(server, house.wanted)
            server.stop()
        seconds.append(require_whole(house, site, answered))
        if plan.struck is None:
            break
        shutil.rmtree(site.folder)
    record_property("calls", plan.count)
    record_property("longest_start_seconds", max(seconds))
    assert answered == house.wanted
    assert plan.count > 100


def test_kill_9_at_any_system_call_of_the_very_first_start_leaves_a_directory_to_start_on(
    house: House, record_property: Record
) -> None:
    for at in crash_points():
        site, plan = house.site(str(at)), Plan(Killed(), at, is_armed=True)
        ran = WatchedSite(site.folder, plan).run("migrate")
        require_whole(house, site, {})
        if plan.struck is None:
            break
        assert ran.code == -signal.SIGKILL
        shutil.rmtree(site.folder)
    record_property("calls", plan.count)
    assert ran.code == 0
    assert plan.count > 100


@pytest.mark.parametrize("command", _UPKEEP, ids=[command[0] for command in _UPKEEP])
def test_kill_9_at_any_system_call_of_upkeep_loses_nothing(
    house: House, template: Path, command: Sequence[str], record_property: Record
) -> None:
    kept = _full(house, template)
    for at in crash_points():
        site, plan = house.site(str(at), kept), Plan(Killed(), at, is_armed=True)
        ran = WatchedSite(site.folder, plan).run(*command)
        require_whole(house, site, {path: house.wanted[path] for path in _never_evicted(house)})
        if plan.struck is None:
            break
        assert ran.code == -signal.SIGKILL
        shutil.rmtree(site.folder)
    record_property("calls", plan.count)
    assert plan.count > 20


def _full(house: House, template: Path) -> Path:
    """A data directory that holds all there is, and one layer of it damaged."""
    site = house.site("full", template)
    with site.serve() as server:
        assert pull(server, house.wanted) == house.wanted
        assert server.stop() == 0
    digest = Digest.of(house.articles[-1][list(house.articles[-1])[-2]])
    with (site.data_dir / "blobs" / "sha256" / digest.hex[:2] / digest.hex).open("r+b") as layer:
        layer.write(b"damaged")
    return site.data_dir


def _never_evicted(house: House) -> Iterator[str]:
    for article in house.articles:
        by_tag, config, *_, by_digest = article
        yield from (by_tag, config, by_digest)
