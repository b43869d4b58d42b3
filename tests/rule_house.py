"""Rules that change: a rules file, the book of its revisions, and the desk that one gateway has for both."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.oci.postgres_url import PostgresUrl
from gateway.oci.repository import Repository
from gateway.rule_following import Follower, Switch, Watcher
from gateway.rule_revisions import InForce, RuleDesk, RuleReader, RulesFile
from gateway.rules.route import Wanted, route
from gateway.settings_values import RulesEditedIn
from gateway.sources.credentials import Secrets
from gateway.store import rule_book_queries as queries
from gateway.store.engine import Engines
from gateway.store.postgres import open_postgres
from gateway.store.revisions import Draft, Revision, RevisionOrigin
from tests.sources.helm_parts import open_catalog

INSTANCE = "0123456789abcdef"
ASKED = Wanted(Repository.parse("argo/argo-cd"))
_PATIENCE_SECONDS = 20.0
_WITHIN_SECONDS = 2.0
_FROM_FILES = frozenset({RevisionOrigin.FILE, RevisionOrigin.ROLLBACK})


def rules_to(host: str) -> str:
    """Rules by which what is ASKED leads to a host."""
    return f'version: 1\nrules: [{{repository: "argo/*", rewrite: "{host}/$1"}}]\n'


def host_of(in_force: InForce) -> str:
    """Where what is ASKED leads; empty where nobody knows."""
    if not in_force.rule_set.rules:
        return ""
    return route(in_force.rule_set, ASKED).first.target.host


@dataclass(frozen=True, slots=True)
class Book:
    """The revisions, as all gateways on one catalog share them."""

    engines: Engines

    def add(self, origin: RevisionOrigin, text: str) -> Revision:
        return self.engines.write(queries.add, Draft(origin, "ada", text.encode()), time.time())

    def texts(self) -> list[str]:
        """Of all revisions, first to last."""
        heads = self.engines.read(queries.history, None, 10_000)
        found = [self.engines.read(queries.find, head.number) for head in reversed(heads)]
        return [one.content.decode(errors="replace") for one in found if one is not None]

    def origins(self) -> list[str]:
        return [head.origin.value for head in reversed(self.engines.read(queries.history, None, 10_000))]

    def trouble(self, instance: str = INSTANCE) -> str | None:
        noted = self.engines.read(queries.trouble, instance)
        return None if noted is None else noted.message


@dataclass(slots=True)
class Place:
    """Where a gateway stands: its rules file, and what it finds in its environment."""

    path: Path
    engines: Engines
    is_named: bool = True
    edited_in: RulesEditedIn = RulesEditedIn.BOTH
    environment: dict[str, str] = field(default_factory=dict)
    own_host: str | None = None

    def desk(self) -> RuleDesk:
        """As a process opens it: nothing is remembered of the one before."""
        return RuleDesk(
            RulesFile(self.path, self.is_named),
            RuleReader(Secrets(self.environment), self.own_host),
            self.engines,
            origins=_FROM_FILES if self.edited_in is RulesEditedIn.FILE else None,
            is_seeded_by_file=self.edited_in is RulesEditedIn.ADMIN,
        )

    def start(self) -> InForce:
        return self.desk().start()

    @property
    def book(self) -> Book:
        return Book(self.engines)


def open_place(folder: Path, database: PostgresUrl | None) -> Place:
    """A gateway whose rules lead to a.example.com, on a catalog of its own; close its engines."""
    path = folder / "etc" / "rules.yaml"
    path.parent.mkdir()
    path.write_text(rules_to("a.example.com"))
    return Place(path, open_catalog(folder / "data") if database is None else open_postgres(database))


@asynccontextmanager
async def running(place: Place, instance: str = INSTANCE) -> AsyncIterator[Switch]:
    """What a server does while it runs: one worker that watches the file, and follows."""
    desk = place.desk()
    in_force = desk.start()
    switch = Switch(in_force)
    tasks = [
        asyncio.create_task(Follower(desk, switch, instance).run()),
        asyncio.create_task(Watcher(desk, instance, in_force.file).run()),
    ]
    try:
        yield switch
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def becomes(check: Callable[[], bool], within_seconds: float = _PATIENCE_SECONDS) -> float:
    """Wait until it is so; return the seconds that took."""
    started = time.monotonic()
    while not check():
        assert time.monotonic() - started < within_seconds, f"not so within {within_seconds} s"
        await asyncio.sleep(0.01)
    return time.monotonic() - started


async def leads_to(switch: Switch, name: str, within_seconds: float = _WITHIN_SECONDS) -> None:
    """Wait until what is asked leads to that host."""
    await becomes(lambda: host_of(switch.in_force) == f"{name}.example.com", within_seconds)


async def is_told(switch: Switch, told: str) -> None:
    await becomes(lambda: told in (switch.in_force.trouble or ""))


async def is_well(switch: Switch) -> None:
    await becomes(lambda: switch.in_force.trouble is None)


def renamed(path: Path, text: str) -> None:
    beside = path.with_name(".rules.yaml.new")
    beside.write_text(text)
    beside.rename(path)


def forbid_reading(path: Path) -> None:
    """Take away the right to read a file; skip where that means nothing, as to root."""
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads what nobody may read")
