"""The charts of an archive that are used by default, each with the values it gets then."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.helm.chart_tree import ChartTree
from gateway.helm.document import DocumentError, DocumentLimits, parse_document
from gateway.helm.go_values import Datum, datum_of, field_of, laid_over
from gateway.helm.metadata import ChartMetadata, Dependency, MetadataError, parse_metadata

_GLOBAL: Final = "global"
_LIMITS: Final = DocumentLimits(events=200_000)  # ten times what the largest charts have


@dataclass(frozen=True, slots=True)
class ChartInUse:
    """``name`` is what the chart is called here, perhaps an alias; ``values`` have those of its subcharts.

    ``own_values`` are what its own files say of itself: ``global`` counts as the outermost chart's.
    """

    tree: ChartTree
    metadata: ChartMetadata
    name: str
    values: Mapping[str, Datum]
    own_values: Mapping[str, Datum]


@dataclass(frozen=True, slots=True)
class DefaultCharts:
    """The outermost chart is the first; ``remarks`` say what was left out, and what could not be read."""

    charts: tuple[ChartInUse, ...]
    remarks: tuple[str, ...]


def charts_in_use(tree: ChartTree) -> DefaultCharts:
    """Lay values over each other as Helm does; raise MetadataError where the outermost is no chart."""
    metadata = parse_metadata(tree.files)
    walk = _Walk(tree.remarks)
    walk.enter(tree, metadata, metadata.name, {})
    return DefaultCharts(tuple(walk.charts), tuple(dict.fromkeys(walk.remarks)))


class _Walk:
    """Goes from a chart to those inside it; no chart lies inside itself."""

    def __init__(self, remarks: Iterable[str]) -> None:
        self.charts: list[ChartInUse] = []
        self.remarks = list(remarks)

    def enter(
        self, tree: ChartTree, metadata: ChartMetadata, name: str, given: Mapping[str, Datum]
    ) -> Mapping[str, Datum]:
        """Note a chart and those inside it; return its values, ``given`` being what its parent says of it."""
        values = _mapping(laid_over(self._defaults(tree), given))
        place = len(self.charts)
        inside: dict[str, Datum] = {}
        names: set[str] = {_GLOBAL} if tree.where else set()
        for subchart, its_metadata, dependency in self._subcharts(tree, metadata):
            called = dependency.alias or dependency.name
            names.add(called)
            if (switch := _switched_off(dependency, values)) is not None:
                told = f"{subchart.where}: {switch} leaves it out by default, and its images with it"
                self.remarks.append(told)
                continue
            shared = {_GLOBAL: values[_GLOBAL]} if isinstance(values.get(_GLOBAL), Mapping) else {}
            its_values = _mapping(laid_over(_mapping(values.get(called)), shared))
            inside[called] = self.enter(subchart, its_metadata, called, its_values)
        own = {key: value for key, value in values.items() if key not in names}
        self.charts.insert(place, ChartInUse(tree, metadata, name, {**values, **inside}, own))
        return {**values, **inside}

    def _subcharts(
        self, tree: ChartTree, metadata: ChartMetadata
    ) -> Iterator[tuple[ChartTree, ChartMetadata, Dependency]]:
        """Each with the dependency that it is there for; with one of its own where it just lies there."""
        for subchart in tree.subcharts:
            try:
                its = parse_metadata(subchart.files)
            except MetadataError as error:
                self.remarks.append(f"{subchart.where}: {error}")
                continue
            wanting = [one for one in metadata.dependencies if one.name == its.name]
            for dependency in wanting or [Dependency(its.name, "", "", "", (), False, (), "")]:
                yield subchart, its, dependency

    def _defaults(self, tree: ChartTree) -> Mapping[str, Datum]:
        try:
            return _mapping(datum_of(parse_document(tree.values, _LIMITS)))
        except DocumentError as error:
            self.remarks.append(f"{tree.where}values.yaml is not understood: {error}")
            return {}


def _switched_off(dependency: Dependency, values: Mapping[str, Datum]) -> str | None:
    """What switches a dependency off: a condition, whose first path that is there decides, or tags."""
    for path in filter(None, (part.strip() for part in dependency.condition.split(","))):
        found: Datum = values
        for name in path.split("."):
            found = field_of(found, name)
        if isinstance(found, bool):
            return None if found else f"the condition {path}"
    said = [field_of(values.get("tags"), tag) for tag in dependency.tags]
    if False in said and True not in said:
        return f"the tags {', '.join(dependency.tags)}"
    return None


def _mapping(datum: Datum) -> Mapping[str, Datum]:
    return datum if isinstance(datum, Mapping) else {}
