"""The images that a chart names: in its annotation, in what its templates write by default, in its values.

Nothing is rendered as Helm would: templates are followed as far as that goes (``go_rendering``). So what is
found is no promise, and what looks like an image and was not understood is told.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.helm.chart_tree import ChartTree
from gateway.helm.default_values import ChartInUse, charts_in_use
from gateway.helm.document import DocumentError, parse_document
from gateway.helm.go_rendering import Follower, TooMuch, definitions_in
from gateway.helm.go_templates import Allowance, Node, TemplateError, parse_template
from gateway.helm.go_values import MARK, UNKNOWN, Datum, datum_of, field_of, printed
from gateway.helm.image_lines import images_written
from gateway.helm.image_names import ImageNameError, has_version, read_image
from gateway.helm.image_values import images_in
from gateway.oci.location import Location

ANNOTATION: Final = "artifacthub.io/images"
MOST_IMAGES: Final = 1_000
_SHOWN: Final = 200
_MARKS: Final = re.compile(f"{MARK}+")
_APP_VERSION: Final = b".Chart.AppVersion"
_PREFIXED: Final = re.compile(rb"\"v(?:%s)?\" *\(?\$?\.Chart\.AppVersion|\bv\{\{-? *\$?\.Chart\.AppVersion")
_KUBERNETES: Final[Mapping[str, Datum]] = {
    "Version": "v1.31.0",
    "GitVersion": "v1.31.0",
    "Major": "1",
    "Minor": "31",
}
_RELEASE: Final[Mapping[str, Datum]] = {
    "Name": "release",
    "Namespace": "default",
    "Service": "Helm",
    "Revision": 1,
}


@dataclass(frozen=True, slots=True)
class FoundImage:
    """``where`` it was found; ``platforms`` as far as the annotation says.

    ``is_guessed``: the values have no tag, and the chart's appVersion was taken, as most templates do.
    """

    location: Location
    where: str
    platforms: frozenset[str] = frozenset()
    is_guessed: bool = False


@dataclass(frozen=True, slots=True)
class ChartImages:
    """Each image once; ``not_understood`` in words: where, what, why."""

    found: tuple[FoundImage, ...]
    not_understood: tuple[str, ...]


def images_of(tree: ChartTree) -> ChartImages:
    """Find the images of a chart and of the charts in it that are used by default; raise MetadataError."""
    default = charts_in_use(tree)
    findings = _Findings(told=dict.fromkeys(default.remarks))
    for find in (_from_annotation, _from_templates, _from_values):
        try:
            find(default.charts, findings)
        except TooMuch as error:
            findings.told[f"not all of it was looked at: {error}"] = None
    return ChartImages(tuple(findings.sure()), tuple(findings.told))


@dataclass(slots=True)
class _Findings:
    told: dict[str, None]
    found: dict[Location, FoundImage] = field(default_factory=dict)
    _left: int = MOST_IMAGES

    def read(
        self, text: str, where: str, platforms: frozenset[str] = frozenset(), *, is_guessed: bool = False
    ) -> None:
        """Take an image, or tell why it is none; raise TooMuch."""
        try:
            location = read_image(text)
        except ImageNameError as error:
            self.tell(where, text, str(error))
            return
        self._count()
        known = self.found.get(location)
        if known is None or known.is_guessed:
            self.found[location] = FoundImage(location, where, platforms, is_guessed)

    def tell(self, where: str, text: str, why: str) -> None:
        """Raise TooMuch."""
        self._count()
        self.told[f"{where}: {_MARKS.sub('…', text[:_SHOWN])!r}: {why}"] = None

    def sure(self) -> Iterator[FoundImage]:
        """What was found, without guesses at what is known by another tag."""
        named = {image.location.name for image in self.found.values() if not image.is_guessed}
        for image in self.found.values():
            if not image.is_guessed or image.location.name not in named:
                yield image

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooMuch(f"it names more than {MOST_IMAGES} images")


def _from_annotation(charts: Sequence[ChartInUse], findings: _Findings) -> None:
    text = charts[0].metadata.annotations.get(ANNOTATION)
    if text is None:
        return
    where = f"annotation {ANNOTATION}"
    try:
        listed = datum_of(parse_document(text.encode()))
    except DocumentError as error:
        findings.tell(where, text, str(error))
        return
    for item in listed if isinstance(listed, list) else [listed]:
        image = field_of(item, "image")
        if not isinstance(image, str):
            findings.tell(where, text, "it is no list of images")
            return
        platforms = field_of(item, "platforms")
        named = map(printed, platforms) if isinstance(platforms, list) else ()
        findings.read(image, where, frozenset(named))


def _from_templates(charts: Sequence[ChartInUse], findings: _Findings) -> None:
    allowance = Allowance()
    templates = {chart.tree.where: dict(_parsed(chart.tree, allowance, findings)) for chart in charts}
    definitions: dict[str, Sequence[Node]] = {}
    for chart in reversed(charts):  # of equal names the outermost chart's counts
        for nodes in templates[chart.tree.where].values():
            definitions.update(definitions_in(nodes))
    follower = Follower(definitions)
    for chart in charts:
        if chart.metadata.type != "library":
            _follow(chart, templates[chart.tree.where], follower, findings)


def _parsed(
    tree: ChartTree, allowance: Allowance, findings: _Findings
) -> Iterator[tuple[str, Sequence[Node]]]:
    for path, content in sorted(tree.templates.items()):
        try:
            yield path, parse_template(content.decode(errors="replace").replace(MARK, ""), allowance)
        except TemplateError as error:
            findings.told[f"{tree.where}{path} is not understood: {error}"] = None


def _follow(
    chart: ChartInUse, templates: Mapping[str, Sequence[Node]], follower: Follower, findings: _Findings
) -> None:
    for path, nodes in templates.items():
        if path.rpartition("/")[2].startswith("_"):
            continue
        where = f"{chart.tree.where}{path}"
        for image in images_written(follower.written(nodes, _dot(chart, path))):
            if MARK in image.text:
                if image.is_named:
                    findings.tell(where, image.text, "it depends on what only rendering could tell")
            elif image.is_named or _is_image(image.text):
                findings.read(image.text, where)


def _dot(chart: ChartInUse, path: str) -> Mapping[str, Datum]:
    facts: dict[str, Datum] = {
        "Name": chart.name,
        "Version": chart.metadata.version,
        "AppVersion": chart.metadata.app_version,
        "Type": chart.metadata.type,
        "Annotations": chart.metadata.annotations,
    }
    return {
        "Values": chart.values,
        "Chart": facts,
        "Release": _RELEASE,
        "Template": {"Name": f"{chart.name}/{path}", "BasePath": f"{chart.name}/templates"},
        "Capabilities": {"KubeVersion": _KUBERNETES, "APIVersions": UNKNOWN},
        "Files": UNKNOWN,
        "Subcharts": UNKNOWN,
    }


def _from_values(charts: Sequence[ChartInUse], findings: _Findings) -> None:
    written = _Written(tuple(findings.found))
    for chart in charts:
        version = _version_guessed(chart)
        for image in images_in(chart.own_values):
            text = image.parts.text
            where = f"{chart.tree.where}values.yaml: {image.path}"
            if written.knows_better(text):
                continue
            if "{{" in text:
                findings.tell(where, text, "it is a template")
            elif has_version(text) or version is None:
                findings.read(text, where)
            else:
                told = f"{where} (the tag is the appVersion)"
                findings.read(f"{text}:{version}", told, is_guessed=True)


@dataclass(frozen=True, slots=True)
class _Written:
    """The images that are known already: what values have may be only a part of such a name."""

    locations: Sequence[Location]

    def knows_better(self, text: str) -> bool:
        """Whether one of these ends like ``text``, with the same tag where it has one."""
        name, _, version = text.partition("@")
        if not version and has_version(name):
            name, _, version = name.rpartition(":")
        return any(
            f"/{location.name}".endswith(f"/{name}") and version in ("", str(location.reference))
            for location in self.locations
        )


def _version_guessed(chart: ChartInUse) -> str | None:
    """The tag where values have none: appVersion, where templates use it at all, as they write it."""
    texts = chart.tree.templates.values()
    version = chart.metadata.app_version
    if not version or not any(_APP_VERSION in text for text in texts):
        return None
    is_prefixed = any(_PREFIXED.search(text) for text in texts) and not version.startswith("v")
    return f"v{version}" if is_prefixed else version


def _is_image(text: str) -> bool:
    try:
        read_image(text)
    except ImageNameError:
        return False
    return True
