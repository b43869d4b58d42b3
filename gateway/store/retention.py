"""What lists and bundles want kept: never evicted, like pins, until who wanted it lets go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, exists, func, select

from gateway.oci.target import Target
from gateway.store.engine import Engines
from gateway.store.tables import pins, retentions, tags
from gateway.store.upsert import Value, insert_once

IMPORT: Final = "import"  # the keeper of all that came in bundles


def keeper_of_list(name: str) -> str:
    """The keeper that a ``sync:`` list is."""
    return f"sync:{name}"


# Whether a bundle brought a row of tags, to be asked for along with it.
IS_IMPORTED: Final = (
    exists()
    .where(
        retentions.c.target == tags.c.target,
        retentions.c.reference == tags.c.tag,
        retentions.c.keeper == IMPORT,
    )
    .correlate(tags)
    .label("is_imported")
)


@dataclass(frozen=True, slots=True, order=True)
class Retention:
    """``reference`` is a tag, which is kept as whatever it names by then, or a digest.

    ``name`` is the one it was asked for by.
    """

    target: Target
    reference: str
    name: str


class RetentionBook:
    """Errors of the database are StorageFailed. Its engines are ``DataDir.open_rule_engines``'s."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def of(self, keeper: str) -> list[Retention]:
        """All that one wants kept."""
        return await self._engines.ask(_of, keeper)

    async def counts(self) -> Mapping[str, int]:
        """How much each keeper wants kept."""
        return await self._engines.ask(_counts)

    async def retain(self, keeper: str, wanted: Sequence[Retention], now: float) -> int:
        """Keep these too, all or none; return how many were not kept for it before."""
        return await self._engines.tell(retain, keeper, wanted, now)

    async def release(self, keeper: str, released: Sequence[Retention]) -> None:
        """Whoever else wants them kept, or pinned them, keeps them."""
        await self._engines.tell(_release, keeper, released)

    async def is_wanted_by_others(self, keeper: str, one: Retention) -> bool:
        """Whether somebody else wants it kept, or it is pinned."""
        return await self._engines.ask(_is_wanted_by_others, keeper, one)


def _of(connection: Connection, keeper: str) -> list[Retention]:
    rows = connection.execute(select(retentions).where(retentions.c.keeper == keeper))
    return sorted(Retention(Target.parse(row.target), row.reference, row.name) for row in rows)


def _counts(connection: Connection) -> Mapping[str, int]:
    counted = select(retentions.c.keeper, func.count()).group_by(retentions.c.keeper)
    return dict(iter(connection.execute(counted)))


def retain(connection: Connection, keeper: str, wanted: Sequence[Retention], now: float) -> int:
    """In a transaction of somebody's."""
    return sum(insert_once(connection, retentions, _values(keeper, one, now)) for one in sorted(set(wanted)))


def _values(keeper: str, one: Retention, now: float) -> dict[str, Value]:
    return {
        "target": str(one.target),
        "reference": one.reference,
        "keeper": keeper,
        "name": one.name,
        "made_at": now,
    }


def _release(connection: Connection, keeper: str, released: Sequence[Retention]) -> None:
    for one in released:
        chosen = (retentions.c.target == str(one.target)) & (retentions.c.reference == one.reference)
        connection.execute(delete(retentions).where(chosen, retentions.c.keeper == keeper))


def _is_wanted_by_others(connection: Connection, keeper: str, one: Retention) -> bool:
    retained = select(retentions.c.target).where(
        retentions.c.target == str(one.target),
        retentions.c.reference == one.reference,
        retentions.c.keeper != keeper,
    )
    pinned = select(pins.c.target).where(pins.c.target == str(one.target), pins.c.reference == one.reference)
    return any(connection.execute(query.limit(1)).first() is not None for query in (retained, pinned))
