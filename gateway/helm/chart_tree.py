"""A chart and the charts inside it, read out of one archive: what says which images and charts it needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import BinaryIO, Final, TypeAlias

from gateway.helm.archive import MAX_CHART_YAML, ArchiveError, ChartFiles
from gateway.helm.gzip_stream import GzipStream
from gateway.helm.tar_members import MAX_FILE_SIZE, Kind, TarMembers

MAX_DEPTH: Final = 4  # of charts inside charts
MAX_CHARTS: Final = 100
MAX_KEPT: Final = 16 * 1024 * 1024
MAX_INFLATED: Final = 200 * 1024 * 1024  # of all archives inside each other
_CHART, _REQUIREMENTS, _VALUES = "Chart.yaml", "requirements.yaml", "values.yaml"
_LOCKS: Final = ("Chart.lock", "requirements.lock")
_OWN: Final = frozenset((_CHART, _REQUIREMENTS, _VALUES, *_LOCKS))
_TEMPLATES: Final = (".yaml", ".yml", ".tpl")

_Files: TypeAlias = "dict[tuple[str, ...], bytes]"


@dataclass(frozen=True, slots=True)
class ChartTree:
    """``where`` it lies, such as ``charts/redis/``, nothing for the outermost; texts as they stand there.

    ``remarks`` say what could not be read of it, and of what is inside it.
    """

    where: str
    files: ChartFiles
    values: bytes = b""
    lock: tuple[str, bytes] | None = None
    templates: Mapping[str, bytes] = field(default_factory=dict)
    subcharts: tuple["ChartTree", ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class _Budget:
    """What all archives together may cost."""

    kept: int = MAX_KEPT
    inflated: int = MAX_INFLATED
    charts: int = MAX_CHARTS

    def inflate(self, size: int) -> None:
        self.inflated -= size
        if self.inflated < 0:
            raise ArchiveError(f"the archives in it inflate to more than {MAX_INFLATED} bytes")

    def keep(self, size: int) -> None:
        self.kept -= size
        if self.kept < 0:
            raise ArchiveError(f"its charts and templates have more than {MAX_KEPT} bytes")

    def enter(self) -> None:
        self.charts -= 1
        if self.charts < 0:
            raise ArchiveError(f"it has more than {MAX_CHARTS} charts inside it")


class _Metered(GzipStream):
    """Counts what is inflated towards the budget of all."""

    def __init__(self, stream: BinaryIO, budget: _Budget) -> None:
        super().__init__(stream)
        self._budget = budget

    def read(self, size: int) -> bytes:
        self._budget.inflate(size)
        return super().read(size)

    def skip(self, size: int) -> None:
        self._budget.inflate(size)
        super().skip(size)


def read_chart_tree(stream: BinaryIO) -> ChartTree:
    """Read a .tgz; raise ArchiveError for what is no intact archive, no chart, or beyond the limits.

    A chart inside it that cannot be read is a remark. Names are taken as they are: nothing is put on disk.
    """
    reader = _Reader()
    tree = reader.tree(reader.collected(stream), "", 0)
    if tree is None:
        raise ArchiveError("the archive has no Chart.yaml in its folder")
    return replace(tree, remarks=tuple(reader.remarks))


class _Reader:
    """Reads archives inside each other, under one budget."""

    def __init__(self) -> None:
        self.remarks: list[str] = []
        self._budget = _Budget()

    def collected(self, stream: BinaryIO) -> _Files:
        """The files that count, by their path in the chart's folder; of equal ones the first."""
        members = TarMembers(_Metered(stream, self._budget))
        found: _Files = {}
        for member in members:
            parts = member.name.decode(errors="replace").split("/")[1:]
            path = tuple(part for part in parts if part not in ("", "."))
            if path in found or member.kind is not Kind.FILE or member.size_bytes > _most_bytes(path):
                continue
            self._budget.keep(member.size_bytes)
            found[path] = members.read()
        return found

    def tree(self, files: _Files, where: str, depth: int) -> ChartTree | None:
        """None where there is no Chart.yaml."""
        chart = files.get((_CHART,))
        if chart is None:
            return None
        locks = [(name, files[name,]) for name in _LOCKS if (name,) in files]
        return ChartTree(
            where=where,
            files=ChartFiles(chart, files.get((_REQUIREMENTS,))),
            values=files.get((_VALUES,), b""),
            lock=locks[0] if locks else None,
            templates={"/".join(path): text for path, text in files.items() if path[0] == "templates"},
            subcharts=tuple(self._subcharts(files, where, depth)),
        )

    def _subcharts(self, files: _Files, where: str, depth: int) -> Iterator[ChartTree]:
        folders: dict[str, _Files] = {}
        for path, content in files.items():
            if path[0] == "charts":
                folders.setdefault(path[1], {})[path[2:]] = content
        for name, inside in sorted(folders.items()):
            place = f"{where}charts/{name}"
            try:
                tree = self._inner(inside, place, depth + 1)
            except ArchiveError as error:
                self.remarks.append(f"{place} cannot be read: {error}")
                continue
            if tree is None:
                self.remarks.append(f"{place} has no Chart.yaml")
            else:
                yield tree

    def _inner(self, inside: _Files, place: str, depth: int) -> ChartTree | None:
        if depth > MAX_DEPTH:
            raise ArchiveError(f"charts inside charts, deeper than {MAX_DEPTH}")
        self._budget.enter()
        packed = inside.get(())
        unpacked = inside if packed is None else self.collected(BytesIO(packed))
        return self.tree(unpacked, f"{place}/", depth)


def _most_bytes(path: tuple[str, ...]) -> int:
    """How large a file may be to be kept; nothing is kept of what does not count."""
    while len(path) > 2 and path[0] == "charts" and not path[1].startswith(("_", ".")):
        path = path[2:]
    match path:
        case (name,) if name in _OWN:
            return MAX_CHART_YAML
        case ("templates", *_, name) if name.endswith(_TEMPLATES):
            return MAX_CHART_YAML
        case ("charts", name) if name.endswith(".tgz"):
            return MAX_FILE_SIZE
    return -1
