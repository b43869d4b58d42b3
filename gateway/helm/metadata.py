"""A chart's metadata: Chart.yaml and requirements.yaml as Helm's typed structures, and as its JSON."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.helm.archive import ChartFiles
from gateway.helm.document import DocumentError, Value, parse_document
from gateway.helm.fields import Fields, Json, MetadataError
from gateway.helm.version import parse_version

__all__ = ["ChartMetadata", "Dependency", "Maintainer", "MetadataError", "parse_metadata"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,250}", re.ASCII)
_ALIAS = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_TYPES = frozenset(("", "application", "library"))


@dataclass(frozen=True, slots=True)
class Maintainer:
    name: str
    email: str
    url: str

    def to_json(self) -> dict[str, object]:
        return _without_empty({"name": self.name, "email": self.email, "url": self.url})


@dataclass(frozen=True, slots=True)
class Dependency:
    name: str
    version: str
    repository: str
    condition: str
    tags: tuple[str, ...]
    enabled: bool
    import_values: tuple[Json, ...]
    alias: str

    def to_json(self) -> dict[str, object]:
        """Members in Helm's order; name and repository always stand."""
        return {
            "name": self.name,
            **_without_empty({"version": self.version}),
            "repository": self.repository,
            **_without_empty(
                {
                    "condition": self.condition,
                    "tags": self.tags,
                    "enabled": self.enabled,
                    "import-values": self.import_values,
                    "alias": self.alias,
                }
            ),
        }


@dataclass(frozen=True, slots=True)
class ChartMetadata:
    """Helm's ``chart.Metadata``; the empty value stands for what is not written."""

    name: str
    home: str
    sources: tuple[str, ...]
    version: str
    description: str
    keywords: tuple[str, ...]
    maintainers: tuple[Maintainer, ...]
    icon: str
    api_version: str
    condition: str
    tags: str
    app_version: str
    deprecated: bool
    annotations: Mapping[str, str]
    kube_version: str
    dependencies: tuple[Dependency, ...]
    type: str

    def to_json(self) -> dict[str, object]:
        """Members in Helm's order; empty ones left out."""
        return _without_empty(
            {
                "name": self.name,
                "home": self.home,
                "sources": self.sources,
                "version": self.version,
                "description": self.description,
                "keywords": self.keywords,
                "maintainers": [maintainer.to_json() for maintainer in self.maintainers],
                "icon": self.icon,
                "apiVersion": self.api_version,
                "condition": self.condition,
                "tags": self.tags,
                "appVersion": self.app_version,
                "deprecated": self.deprecated,
                "annotations": dict(self.annotations),
                "kubeVersion": self.kube_version,
                "dependencies": [dependency.to_json() for dependency in self.dependencies],
                "type": self.type,
            }
        )


def parse_metadata(files: ChartFiles) -> ChartMetadata:
    """Read what Helm would load from these files, or raise MetadataError where it would refuse them."""
    document = _document(files.chart, "Chart.yaml")
    metadata = _metadata(Fields.of(document, "Chart.yaml"))
    if files.requirements is not None:
        document = _overlaid(document, _document(files.requirements, "requirements.yaml"))
        metadata = _metadata(Fields.of(document, "Chart.yaml with requirements.yaml"))
    _check(metadata)
    return metadata


def _document(content: bytes, name: str) -> Value:
    try:
        return parse_document(content)
    except DocumentError as error:
        raise MetadataError(f"{name}: {error}") from error


def _overlaid(below: Value, above: Value) -> Value:
    """Return ``below`` as it is after Go decoded ``above`` into the same structure.

    So Helm adds requirements.yaml to the metadata: mappings and lists are merged, item by item.
    """
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _overlaid(below.get(key), value) for key, value in above.items()}}
    if isinstance(below, list) and isinstance(above, list):
        fill = [None] * len(above)
        return [_overlaid(*pair) for pair in zip([*below, *fill], above, strict=False)]
    if above is None and isinstance(below, str | dict):
        return below
    return above


def _metadata(fields: Fields) -> ChartMetadata:
    return ChartMetadata(
        name=fields.line("name"),
        home=fields.line("home"),
        sources=fields.lines("sources"),
        version=fields.text("version"),
        description=fields.line("description"),
        keywords=fields.lines("keywords"),
        maintainers=tuple(_maintainer(record) for record in fields.records("maintainers")),
        icon=fields.line("icon"),
        api_version=fields.text("apiVersion") or "v1",
        condition=fields.line("condition"),
        tags=fields.line("tags"),
        app_version=fields.line("appVersion"),
        deprecated=fields.flag("deprecated"),
        annotations=fields.texts_by_key("annotations"),
        kube_version=fields.line("kubeVersion"),
        dependencies=tuple(_dependency(record) for record in fields.records("dependencies")),
        type=fields.text("type"),
    )


def _maintainer(fields: Fields) -> Maintainer:
    return Maintainer(name=fields.line("name"), email=fields.line("email"), url=fields.line("url"))


def _dependency(fields: Fields) -> Dependency:
    return Dependency(
        name=fields.line("name"),
        version=fields.line("version"),
        repository=fields.line("repository"),
        condition=fields.line("condition"),
        tags=fields.lines("tags"),
        enabled=fields.flag("enabled"),
        import_values=fields.untyped("import-values"),
        alias=fields.text("alias"),
    )


def _check(metadata: ChartMetadata) -> None:
    """Refuse what Helm's own validation refuses, and names that could be a path."""
    if not _NAME.fullmatch(metadata.name) or metadata.name in (".", ".."):
        raise MetadataError(f"{metadata.name[:120]!r} cannot be a chart's name")
    if parse_version(metadata.version) is None:
        raise MetadataError(f"{metadata.version[:120]!r} is no version")
    if metadata.type not in _TYPES:
        raise MetadataError(f"the type is {metadata.type[:120]!r}, neither application nor library")
    names: set[str] = set()
    for dependency in metadata.dependencies:
        if dependency.alias and not _ALIAS.fullmatch(dependency.alias):
            raise MetadataError(f"{dependency.alias[:120]!r} cannot be a dependency's alias")
        name = dependency.alias or dependency.name
        if name in names:
            raise MetadataError(f"two dependencies are called {name[:120]!r}")
        names.add(name)


def _without_empty(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value}
