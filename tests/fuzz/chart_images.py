"""Fuzz target: images that a chart names, in its values, its templates and the chart inside it."""

from io import BytesIO

from gateway.helm.archive import ArchiveError
from gateway.helm.chart_tree import read_chart_tree
from gateway.helm.image_names import read_image
from gateway.helm.images import MOST_IMAGES, images_of
from gateway.helm.metadata import MetadataError
from tests.fuzz.indexes import YAML_WORDS
from tests.fuzz.target import Target, parts_of
from tests.helm.archives import CHART, member, tgz

_FILES = (
    b"demo/Chart.yaml",
    b"demo/values.yaml",
    b"demo/templates/a.yaml",
    b"demo/templates/_helpers.tpl",
    b"demo/charts/sub/values.yaml",
)


def check_images(data: bytes) -> None:
    """What is found are images' names, always the same; nothing is refused but what is no chart."""
    parts = zip(_FILES, parts_of(data, len(_FILES)), strict=True)
    members = [member(name, content) for name, content in parts if content]
    archive = tgz(*members, member(b"demo/charts/sub/Chart.yaml", CHART))
    try:
        found = images_of(read_chart_tree(BytesIO(archive)))
    except (ArchiveError, MetadataError):
        return
    assert found == images_of(read_chart_tree(BytesIO(archive)))
    assert len(found.found) <= MOST_IMAGES
    for image in found.found:
        assert read_image(str(image.location)) == image.location


_VALUES = b"""\
global: {imageRegistry: ""}
image: {registry: quay.io, repository: a/b, tag: 1.10}
sub: {image: c/d, tag: "2"}
list: [{image: "e:3"}]
t: "{{ .Chart.AppVersion }}"
"""
_TEMPLATE = b"""\
{{- with .Values.image }}
image: {{ include "demo.image" (dict "i" . "d" $.Chart.AppVersion) | quote }}
{{- end }}
{{ range $i, $x := .Values.list }}- image: {{ tpl $x.image $ }}{{ else if now }}x{{ end }}
"""
_HELPERS = b"""\
{{- define "demo.image" -}}
{{- $tag := .i.tag | default .d -}}
{{- if eq .i.registry "" }}{{ $tag = "x" }}{{ end }}{{ printf "%s/%s:%v" .i.registry .i.repository $tag }}
{{- end -}}
"""

TARGETS = (
    Target(
        "images",
        check_images,
        [
            b"\0".join((CHART, _VALUES, _TEMPLATE, _HELPERS, b"image: f/g\ntag: 1")),
            b"\0".join(
                (CHART + b"appVersion: 1\n", b"image: {repository: a}", b"{{ .Chart.AppVersion }}", b"", b"")
            ),
        ],
        (
            *YAML_WORDS,
            "{{ ",
            " }}",
            "{{- if ",
            "{{ end }}",
            "image: ",
            "tag: ",
            ".Values.",
            " | default ",
            "$x := ",
        ),
        4096,
    ),
)
