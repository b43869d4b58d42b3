"""What one gateway exported another serves that never saw an upstream, also while it is running."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.crash_house import House, crash_house, pull, require_clean
from tests.e2e.gateway_process import Site, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with crash_house(tmp_path, "app") as house:
        yield house


def _isolated(house: House) -> Site:
    """Without rules, and without a way to anybody."""
    folder = house.folder / "isolated"
    folder.mkdir()
    return Site(folder)


def test_what_was_exported_is_served_to_the_byte_by_a_server_that_was_running_already(house: House) -> None:
    connected, isolated = house.site("connected"), _isolated(house)
    with connected.serve() as server:
        assert pull(server, house.wanted) == house.wanted
    bundle = str(house.folder / "bundle.tar.zst")
    connected.run("export", "-o", bundle).require_ok()
    before = house.upstream_requests
    with isolated.serve("--offline", workers=2) as server:
        missing = next(iter(house.wanted))
        assert server.get(missing).status_code == 404
        told = json.loads(isolated.run("import", "--offline", "--json", bundle).require_ok())
        assert told["counts"] == {"added": 2, "unchanged": 0, "kept": 0, "replaced": 0}
        assert told["rules"]["revision"] is None
        assert pull(server, house.wanted) == house.wanted
        assert "Traceback" not in server.log
    assert house.upstream_requests == before
    require_clean(isolated.data_dir)


def test_rules_that_came_in_a_bundle_are_followed_by_every_worker(house: House) -> None:
    connected, isolated = house.site("connected"), _isolated(house)
    with connected.serve() as server:
        assert pull(server, house.wanted) == house.wanted
    connected.write_rules(
        "version: 1\nrules: [{repository: short, rewrite: charts.example.test/stable/app}]\n"
    )
    bundle = str(house.folder / "bundle.tar")
    connected.run("export", "-o", bundle).require_ok()
    with isolated.serve("--offline") as server:
        isolated.run("import", "--offline", "--with-rules", bundle).require_ok()
        manifest = next(path for path in house.wanted if "charts.example.test" in path)
        short = manifest.replace("charts.example.test/stable/app", "short")
        eventually(lambda: server.get(short).status_code == 200, 10)
        assert server.get(short).content == house.wanted[manifest]
