"""The images that charts name, with Helm itself as the judge: what it renders by default is found."""

import csv
import re
from itertools import groupby
from pathlib import Path

import pytest

from gateway.helm.chart_tree import read_chart_tree
from gateway.helm.image_names import read_image
from gateway.helm.images import images_of
from gateway.oci.location import Location
from tests.e2e.client_commands import Client
from tests.fakes.charts import make_chart

pytestmark = pytest.mark.e2e

IMAGE = re.compile(r"^\s*(?:- )?image: *[\"']?([^\"'\s]+)", re.MULTILINE)
UNTAGGED = "lachlanevenson/k8s-kubectl"
HELPERS = b"""
{{- define "images.image" -}}
{{- $registry := .imageRoot.registry -}}
{{- $separator := ":" -}}
{{- $termination := .imageRoot.tag | toString -}}
{{- if .global }}{{ if .global.imageRegistry }}{{ $registry = .global.imageRegistry }}{{ end }}{{ end -}}
{{- if .imageRoot.digest }}{{ $separator = "@" }}{{ $termination = .imageRoot.digest | toString }}{{ end -}}
{{- if $registry }}{{ printf "%s/%s%s%s" $registry .imageRoot.repository $separator $termination }}
{{- else }}{{ printf "%s%s%s" .imageRoot.repository $separator $termination }}{{ end -}}
{{- end -}}
{{- define "app.image" -}}
{{ include "images.image" (dict "imageRoot" .Values.image "global" .Values.global) }}
{{- end -}}
"""
TEMPLATE = b"""
{{- $root := . }}
containers:
  - image: {{ include "app.image" . }}
{{- with .Values.second }}
  - image: "{{ .repository }}:{{ default (printf "v%s" $.Chart.AppVersion) .tag }}"
{{- end }}
{{- with .Values.third }}
  - image: {{ printf "%s:%v" .name (.tag | default $root.Chart.AppVersion) | quote }}
{{- end }}
{{- range $name, $one := .Values.many }}
  - name: {{ $name }}
    image: {{ tpl $one.image $ }}
{{- end }}
{{- if and .Values.fourth.enabled (not (empty .Values.fourth.image)) }}
  - image: {{ .Values.fourth.image | trimPrefix "docker://" }}
{{- else if semverCompare ">=1.20-0" .Capabilities.KubeVersion.Version }}
  - image: fifth:1
{{- end }}
"""
VALUES = b"""
global: {imageRegistry: ""}
image: {registry: docker.io, repository: bitnami/redis, tag: 7.2.4-debian-12-r9, digest: ""}
second: {repository: registry.k8s.io/external-dns/external-dns, tag: null}
third: {name: quay.io/third/third, tag: 1.10}
many: {b: {image: "b:{{ .Chart.Version }}"}, a: {image: "gcr.io/a/a:1"}}
fourth: {enabled: true, image: "docker://fourth/fourth:2"}
"""


@pytest.fixture(scope="module")
def newest(corpus: Path) -> list[Path]:
    """The newest chart of each name that the corpus has."""
    with (corpus / "digests.tsv").open(newline="") as table:
        charts = groupby(csv.DictReader(table, delimiter="\t"), key=lambda row: row["chart"])
        rows = [next(versions) for _, versions in charts]
    return [corpus / row["repository"] / f"{row['chart']}-{row['version']}.tgz" for row in rows]


def rendered(helm: Client, archive: Path) -> set[Location]:
    """What Helm renders; one image of old charts has no tag, which is told elsewhere."""
    text = helm.ok("template", "release", str(archive), "--kube-version", "1.31.0")
    return {read_image(name) for name in IMAGE.findall(text) if name != UNTAGGED}


def found(archive: Path) -> set[Location]:
    with archive.open("rb") as content:
        return {image.location for image in images_of(read_chart_tree(content)).found}


def test_all_that_helm_renders_of_real_charts_is_found(newest_helm: Client, newest: list[Path]) -> None:
    missing = {archive.name: rendered(newest_helm, archive) - found(archive) for archive in newest}
    assert {name: images for name, images in missing.items() if images} == {}
    assert len(missing) == 12


def test_all_that_helm_renders_in_the_ways_of_many_charts_is_found(helm: Client, tmp_path: Path) -> None:
    files = {"templates/_helpers.tpl": HELPERS, "templates/pods.yaml": TEMPLATE, "values.yaml": VALUES}
    archive = tmp_path / "app-1.0.0.tgz"
    archive.write_bytes(make_chart("app", "1.0.0", files, appVersion="0.14.2"))
    names = {str(location) for location in rendered(helm, archive)}
    assert names == {
        "docker.io/bitnami/redis:7.2.4-debian-12-r9",
        "registry.k8s.io/external-dns/external-dns:v0.14.2",
        "quay.io/third/third:1.1",
        "docker.io/library/b:1.0.0",
        "gcr.io/a/a:1",
        "docker.io/fourth/fourth:2",
    }
    assert {str(location) for location in found(archive)} == names
