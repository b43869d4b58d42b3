"""Pins: what is kept whatever the quota says, by target and reference."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, select

from gateway.oci.target import Target
from gateway.store.engine import Engines
from gateway.store.tables import manifests, pins, rights, tags
from gateway.store.upsert import Value, insert_once


@dataclass(frozen=True, slots=True)
class Pin:
    """``reference`` is a tag, which is pinned as whatever it names by then, or a digest.

    ``name`` is the one it was pinned by; ``made_at`` is in seconds since the epoch.
    """

    target: Target
    reference: str
    name: str
    made_at: float


class PinBook:
    """The pins; errors of the database are StorageFailed. Its engines are ``DataDir.open_rule_engines``'s."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def list_all(self) -> list[Pin]:
        return await self._engines.ask(_list_all)

    async def is_held(self, target: Target, reference: str) -> bool:
        """Whether there is a tag or a manifest of the target that a pin could keep."""
        return await self._engines.ask(_is_held, str(target), reference)

    async def make(self, pin: Pin) -> bool:
        """False where it was pinned already."""
        return await self._engines.tell(_make, pin)

    async def remove(self, target: Target, reference: str) -> bool:
        """False where it was not pinned."""
        return await self._engines.tell(_remove, str(target), reference)


def _list_all(connection: Connection) -> list[Pin]:
    rows = connection.execute(select(pins))
    found = (Pin(Target.parse(row.target), row.reference, row.name, row.made_at) for row in rows)
    return sorted(found, key=lambda pin: (pin.name, pin.reference, pin.target))


def _is_held(connection: Connection, target: str, reference: str) -> bool:
    by_tag = exists().where(tags.c.target == target, tags.c.tag == reference)
    by_digest = exists().where(
        rights.c.target == target, rights.c.digest == reference, manifests.c.digest == rights.c.digest
    )
    return bool(connection.execute(select(by_tag | by_digest)).scalar())


def _make(connection: Connection, pin: Pin) -> bool:
    values: dict[str, Value] = {
        "target": str(pin.target),
        "reference": pin.reference,
        "name": pin.name,
        "made_at": pin.made_at,
    }
    return insert_once(connection, pins, values)


def _remove(connection: Connection, target: str, reference: str) -> bool:
    chosen = delete(pins).where(pins.c.target == target, pins.c.reference == reference)
    return connection.execute(chosen).rowcount > 0
