"""The Helm charts that are held below a name or a place, read out of the catalog many at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from gateway.oci.manifest import EdgeKind
from gateway.oci.media_types import HELM_CHART_LAYERS, HELM_CONFIG
from gateway.store.engine import Engines
from gateway.store.retention import IS_IMPORTED
from gateway.store.tables import manifest_edges, manifests, repositories, tags
from gateway.store.unwritten import Unwritten

_AT_ONCE: Final = 500  # targets, or manifests, in one statement


@dataclass(frozen=True, slots=True)
class HeldChart:
    """A tag of a chart as a source gave it, all as texts: there may be very many.

    ``archive`` is the digest of its .tgz, ``made_of`` what it was made of, as ``TagRow.upstream_digest``;
    ``is_imported`` as there.
    What upstream confirms is left out: equal values are the same content.
    """

    target: str
    variant: str
    tag: str
    source: str
    version: str
    manifest: str
    config: str
    archive: str
    made_of: str | None
    is_imported: bool


class HeldCharts:
    """Errors of the database are StorageFailed."""

    def __init__(self, rows: Engines | Unwritten) -> None:
        self._rows = rows

    async def names(self, prefix: str, places: Sequence[str]) -> set[tuple[str, str]]:
        """Names clients asked for just below a prefix, with their targets, and all just below the places."""
        return await self._rows.ask(_names, prefix, tuple(places))

    async def of(self, targets: Sequence[str]) -> list[HeldChart]:
        """What is held of these targets, in whatever variant."""
        return await self._rows.ask(_of, targets)

    async def manifests(self, digests: Sequence[str]) -> dict[str, bytes]:
        """Manifests by their digest; those that are gone are left out."""
        return await self._rows.ask(_manifests, digests)


def _names(connection: Connection, prefix: str, places: Sequence[str]) -> set[tuple[str, str]]:
    columns = repositories.c
    chosen = [_just_below(connection, columns.name, prefix)]
    chosen += [_just_below(connection, columns.target, place) for place in places]
    rows = connection.execute(select(columns.name, columns.target).where(or_(*chosen)))
    return {(row.name, row.target) for row in rows}


def _just_below(connection: Connection, column: ColumnElement[str], above: str) -> ColumnElement[bool]:
    """One segment more; SQLite finds that by an index where it is asked by two ends."""
    if not above:
        return ~column.contains("/")
    text = f"{above}/"
    deeper = column.like(f"{_escaped(text)}%/%", escape="\\")
    if connection.dialect.name == "sqlite":
        return and_(column > text, column < f"{above}0", ~deeper)  # 0 comes right after /
    return and_(column.startswith(text, autoescape=True), ~deeper)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")


def _of(connection: Connection, targets: Sequence[str]) -> list[HeldChart]:
    return [one for some in _portions(targets) for one in _charts(connection, some)]


def _charts(connection: Connection, targets: Sequence[str]) -> Iterator[HeldChart]:
    layers, configs = manifest_edges.alias("layers"), manifest_edges.alias("configs")
    rows = connection.execute(
        select(tags, IS_IMPORTED, layers.c.digest.label("archive"), configs.c.digest.label("config"))
        .join(layers, and_(layers.c.manifest == tags.c.digest, layers.c.kind == EdgeKind.LAYER.value))
        .join(configs, and_(configs.c.manifest == tags.c.digest, configs.c.kind == EdgeKind.CONFIG.value))
        .where(
            tags.c.target.in_(targets),
            layers.c.media_type.in_(HELM_CHART_LAYERS),
            configs.c.media_type == HELM_CONFIG,
        )
        .order_by(layers.c.position)
    )
    first = {(row.target, row.variant, row.tag, row.source): row for row in reversed(rows.all())}
    for row in first.values():
        yield HeldChart(
            target=row.target,
            variant=row.variant,
            tag=row.tag,
            source=row.source,
            version=row.version,
            manifest=row.digest,
            config=row.config,
            archive=row.archive,
            made_of=row.upstream_digest,
            is_imported=bool(row.is_imported),
        )


def _manifests(connection: Connection, digests: Sequence[str]) -> dict[str, bytes]:
    columns = manifests.c
    found: dict[str, bytes] = {}
    for some in _portions(digests):
        chosen = select(columns.digest, columns.content).where(columns.digest.in_(some))
        found |= {row.digest: row.content for row in connection.execute(chosen)}
    return found


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE))
