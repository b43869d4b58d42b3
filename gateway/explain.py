"""The decisions of a pull, told instead of done: where a name leads, who would be asked, what is held."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.helm.version import resolve
from gateway.oci.digest import Digest
from gateway.oci.location import Location
from gateway.oci.repository import Repository
from gateway.rules.model import SourceName
from gateway.rules.route import Route
from gateway.sources.base import Source
from gateway.store.catalog import Catalog
from gateway.store.rows import TagRow


@dataclass(frozen=True, slots=True)
class SourceTold:
    """A source of the chain, and the URLs it would ask, first to last."""

    name: str
    urls: Sequence[str]


@dataclass(frozen=True, slots=True)
class Explanation:
    """``held`` are the tags held that the reference means, or all of the target where it names none.

    ``is_offline``: a pull would ask nobody.
    """

    asked: Location
    rule: str | None
    route: Route
    chain: Sequence[SourceTold]
    held: Sequence[TagRow]
    now: float
    is_offline: bool


async def explain(
    location: Location,
    route_of: Callable[[Repository], Route],
    sources: Mapping[SourceName, Source],
    catalog: Catalog,
    now: float,
    *,
    is_offline: bool,
) -> Explanation:
    """Tell what a pull of ``location`` would do; nothing is dialled. Raise OciError where it would."""
    route = route_of(location.name)
    rows = await catalog.find_versions(route.target, route.variant.value)
    chain = [SourceTold(name.value, sources[name].tells(route)) for name in route.chain]
    return Explanation(location, None, route, chain, _meant(location, rows), now, is_offline)


def _meant(location: Location, rows: Sequence[TagRow]) -> list[TagRow]:
    match location.reference:
        case None:
            return list(rows)
        case Digest() as digest:
            return [row for row in rows if row.digest == digest]
        case tag:
            position = resolve(tag.name, [row.tag for row in rows])
            return [] if position is None else [rows[position]]
