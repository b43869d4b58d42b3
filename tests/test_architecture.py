"""The house stands as docs/architecture.md draws it, and the checker would notice if it did not."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import walls
from tests.walls import Module, Wall

PROJECT = Path(__file__).resolve().parents[1]
_BESIDE_GATEWAY = frozenset({"fakes", "fuzz", "e2e"})


@pytest.fixture(scope="module")
def house() -> Sequence[Module]:
    return walls.load_modules(PROJECT, "gateway", "migrations")


def breaches(wall: Wall, modules: Sequence[Module]) -> str:
    """Return one breach a line: an empty text is a wall that holds."""
    return "\n".join(wall(modules))


def test_every_module_belongs_to_a_room(house: Sequence[Module]) -> None:
    assert breaches(walls.unknown_rooms, house) == ""


def test_imports_point_down_only_and_sources_never_see_the_store(house: Sequence[Module]) -> None:
    assert breaches(walls.imports_up_or_across, house) == ""


def test_no_modules_import_each_other_in_a_circle(house: Sequence[Module]) -> None:
    assert breaches(walls.cycles, house) == ""


def test_no_pattern_repeats_a_group_possessively() -> None:
    """Python 3.11.0 to 3.11.4 loses its place in one (gh-106052); ``(?>(?:…)*)`` means the same."""
    places = [
        f"{path.relative_to(PROJECT)}: {line.strip()}"
        for path in sorted((PROJECT / "gateway").rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"[^\\(]\)[*+?]\+", line) and "``" not in line
    ]
    assert "\n".join(places) == ""


def test_each_library_is_used_only_in_the_room_that_wraps_it(house: Sequence[Module]) -> None:
    assert breaches(walls.libraries_away_from_home, house) == ""


def test_oci_helm_and_rules_do_no_io_and_know_no_clock_or_environment(house: Sequence[Module]) -> None:
    assert breaches(walls.impurities, house) == ""


def test_no_import_hides_in_a_function(house: Sequence[Module]) -> None:
    assert breaches(walls.hidden_imports, house) == ""


def test_every_import_is_absolute(house: Sequence[Module]) -> None:
    assert breaches(walls.relative_imports, house) == ""


def test_no_module_is_called_utils_helpers_common_or_manager(house: Sequence[Module]) -> None:
    assert breaches(walls.names_that_say_nothing, house) == ""


def test_files_and_functions_are_short_enough_to_read(house: Sequence[Module]) -> None:
    assert breaches(walls.too_long, house) == ""


def test_line_1_says_which_room_a_module_is(house: Sequence[Module]) -> None:
    assert breaches(walls.rooms_unsaid, house) == ""


def test_the_tests_have_the_folders_that_gateway_has() -> None:
    assert _folders(PROJECT / "tests") - _BESIDE_GATEWAY == _folders(PROJECT / "gateway")


def _folders(parent: Path) -> set[str]:
    return {place.parent.name for place in parent.glob("*/__init__.py")}


# Each row breaks one wall: a made-up module; where it imports another one, that is there too.
_BROKEN: list[tuple[Wall, str, str]] = [
    (walls.unknown_rooms, "gateway.tools", ""),
    (walls.unknown_rooms, "gateway.backends.http", ""),
    (walls.imports_up_or_across, "gateway.oci.a", "import gateway.helm.b"),
    (walls.imports_up_or_across, "gateway.sources.a", "from gateway.store import b"),
    (walls.imports_up_or_across, "gateway.store.a", "from gateway.sources.b import C"),
    (walls.imports_up_or_across, "gateway.store.a", "from gateway import sources"),
    (walls.imports_up_or_across, "gateway.access.a", "from gateway.trust import b"),
    (walls.imports_up_or_across, "gateway.rules.a", "from gateway.sources import b"),
    (walls.imports_up_or_across, "gateway.sources.a", "from gateway.pull import Pull"),
    (walls.imports_up_or_across, "gateway.flights", "from gateway.sources import b"),
    (walls.imports_up_or_across, "gateway.pull", "from gateway.web.b import c"),
    (walls.imports_up_or_across, "gateway.pull", "from gateway.settings import Settings"),
    (walls.imports_up_or_across, "gateway.web.a", "import gateway.app"),
    (walls.imports_up_or_across, "gateway.web.a", "from gateway.settings import Settings"),
    (walls.imports_up_or_across, "gateway.app", "from gateway import serve"),
    (walls.imports_up_or_across, "gateway.serve", "import gateway.cli"),
    (walls.imports_up_or_across, "gateway.serve", "import gateway.demo"),
    (walls.imports_up_or_across, "gateway.helm.a", "if TYPE_CHECKING:\n    import gateway.store.b"),
    (walls.imports_up_or_across, "migrations.env", "import gateway.settings"),
    (walls.cycles, "gateway.oci.circle", "from gateway.oci.digest import Digest"),
    (walls.cycles, "gateway.oci.circle", "from gateway.oci import digest"),
    (walls.libraries_away_from_home, "gateway.pull", "import httpx"),
    (walls.libraries_away_from_home, "gateway.web.a", "from httpcore import Request"),
    (walls.libraries_away_from_home, "gateway.pull", "from sqlalchemy.orm import Session"),
    (walls.libraries_away_from_home, "gateway.cli.migrate", "from alembic import command"),
    (walls.libraries_away_from_home, "gateway.sources.a", "from starlette.responses import Response"),
    (walls.libraries_away_from_home, "gateway.app", "import hypercorn.asyncio"),
    (walls.libraries_away_from_home, "gateway.serve", "import click"),
    (walls.libraries_away_from_home, "gateway.sources.a", "import yaml"),
    (walls.impurities, "gateway.oci.a", "async def a(): ..."),
    (walls.impurities, "gateway.helm.a", "def a():\n    with open('b'): ..."),
    (walls.impurities, "gateway.helm.a", "import io\nio.open('b')"),
    (walls.impurities, "gateway.helm.a", "archive.extractall()"),
    (walls.impurities, "gateway.rules.a", "from os import environ"),
    (walls.impurities, "gateway.rules.a", "from pathlib import Path, PurePath"),
    (walls.impurities, "gateway.rules.a", "import time"),
    (walls.impurities, "gateway.rules.a", "import random"),
    (walls.impurities, "gateway.rules.a", "import urllib.request\nurllib.request.urlopen('b')"),
    (walls.impurities, "gateway.oci.a", "import socket"),
    (walls.impurities, "gateway.oci.a", "from datetime import datetime\ndatetime.now()"),
    (walls.impurities, "gateway.oci.a", "import structlog"),
    (walls.hidden_imports, "gateway.pull", "def a():\n    import gateway.gc"),
    (walls.hidden_imports, "gateway.pull", "class A:\n    async def a(self):\n        from b import c"),
    (walls.hidden_imports, "gateway.pull", "import importlib\nimportlib.import_module('gateway.gc')"),
    (walls.hidden_imports, "gateway.pull", "from importlib import import_module"),
    (walls.hidden_imports, "gateway.pull", "__import__('gateway.gc')"),
    (walls.relative_imports, "gateway.oci.a", "from .digest import Digest"),
    (walls.relative_imports, "gateway.oci.a", "from . import digest"),
    (walls.names_that_say_nothing, "gateway.web.utils", ""),
    (walls.names_that_say_nothing, "gateway.store.blob_manager", ""),
    (walls.names_that_say_nothing, "gateway.oci._helpers", ""),
    (walls.names_that_say_nothing, "gateway.common", ""),
    (walls.too_long, "gateway.pull", "a = 1\n" * (walls.MAX_FILE_LINES + 1)),
    (walls.too_long, "gateway.pull", "def a():\n" + "    b\n" * walls.MAX_FUNCTION_LINES),
    (walls.rooms_unsaid, "gateway.pull", "# The use case.\na = 1\n"),
]

# Modules as the drawing has them: they break nothing, and are there to be imported by those that do.
_DRAWN = [
    Module("gateway", ""),
    Module("gateway.__main__", '"""Room."""\nfrom gateway.cli import main'),
    Module("gateway.cli", '"""Room."""\nimport click\nfrom gateway import demo, serve, store'),
    Module("gateway.serve", '"""Room."""\nimport os, hypercorn\nfrom gateway.app import build'),
    Module("gateway.demo", '"""Room."""\nfrom gateway.settings import Settings'),
    Module("gateway.app", '"""Room."""\nimport starlette, gateway.settings\nimport gateway.web.b'),
    Module("gateway.settings", '"""Room."""\nfrom gateway.oci.digest import Digest'),
    Module("gateway.web.b", '"""Room."""\nfrom starlette import x\nfrom gateway.pull import Pull'),
    Module("gateway.pull", '"""Room."""\nimport gateway.flights, gateway.store.b, gateway.sources.b'),
    Module("gateway.flights", '"""Room."""\nimport asyncio'),
    Module("gateway.sources", ""),
    Module("gateway.sources.b", '"""Room."""\nimport httpx, gateway.flights, gateway.rules.b'),
    Module("gateway.store", ""),
    Module("gateway.store.b", '"""Room."""\nimport alembic, sqlalchemy\nfrom gateway.helm.b import B'),
    Module("gateway.trust", ""),
    Module("gateway.trust.b", '"""Room."""'),
    Module("gateway.rules.b", '"""Room."""\nimport re2\nfrom gateway.helm.b import B'),
    Module("gateway.helm.b", '"""Room."""\nimport io, tarfile, yaml\ntarfile.open(fileobj=io.BytesIO())'),
    Module("gateway.oci", ""),
    Module("gateway.oci.circle", '"""Room."""'),
    Module("gateway.oci.digest", '"""Room."""\nfrom gateway.oci.circle import A, B'),
    Module("migrations.env", '"""Room."""\nimport sqlalchemy, gateway.store.b\nfrom alembic import context'),
]


@pytest.mark.parametrize(("wall", "name", "source"), _BROKEN)
def test_a_broken_wall_is_noticed(wall: Wall, name: str, source: str) -> None:
    others = [module for module in _DRAWN if module.name != name]
    assert name in breaches(wall, [*others, Module(name, source)])


@pytest.mark.parametrize("wall", dict.fromkeys(wall for wall, _, _ in _BROKEN))
def test_what_the_drawing_allows_breaks_no_wall(wall: Wall) -> None:
    assert breaches(wall, _DRAWN) == ""
