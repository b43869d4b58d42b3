"""The images that a chart names are found wherever they stand, and what is not understood is told."""

from collections.abc import Mapping
from io import BytesIO

import pytest

from gateway.helm import images
from gateway.helm.chart_tree import read_chart_tree
from gateway.helm.images import ChartImages, images_of
from gateway.helm.metadata import MetadataError
from tests.fakes.charts import make_chart

pytestmark = pytest.mark.slow  # many small tests

HEX = "a" * 64
APP_VERSION = b"image: {{ .Values.other }}:{{ .Chart.AppVersion }}"


def found_in(files: Mapping[str, bytes], **chart: object) -> ChartImages:
    return images_of(read_chart_tree(BytesIO(make_chart("app", "1.0.0", files, **chart))))


def names(found: ChartImages) -> list[str]:
    return [str(image.location) for image in found.found]


def of_values(values: bytes, **chart: object) -> list[str]:
    return names(found_in({"values.yaml": values}, **chart))


def of_template(template: bytes, values: bytes = b"", **chart: object) -> ChartImages:
    return found_in({"templates/a.yaml": template, "values.yaml": values}, **chart)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (b"image: quay.io/a/b:1", "quay.io/a/b:1"),
        (b"image: {repository: quay.io/a/b, tag: v1}", "quay.io/a/b:v1"),
        (b"image: {registry: quay.io, repository: a/b, tag: v1}", "quay.io/a/b:v1"),
        (b"image: {registry: quay.io, image: a/b, tag: v1, digest: ''}", "quay.io/a/b:v1"),
        (b"image: {name: a/b, tag: v1}", "docker.io/a/b:v1"),
        (b"image: {repository: a/b, name: c, image: d, tag: v1}", "docker.io/a/b:v1"),
        (b"image: {repository: redis, tag: 6}", "docker.io/library/redis:6"),
        (b"image: {repository: redis, tag: 1.10}", "docker.io/library/redis:1.1"),
        (b"image: {repository: redis, tag: '1.10'}", "docker.io/library/redis:1.10"),
        (b"image: {repository: redis, tag: 20240102}", "docker.io/library/redis:20240102"),
        (b"image: {repository: a/b, sha: %s}" % HEX.encode(), f"docker.io/a/b@sha256:{HEX}"),
        (b"image: a/b\ntag: v1", "docker.io/a/b:v1"),
        (b"image: a/b\nimageTag: v1", "docker.io/a/b:v1"),
        (b"initImage: a/b\ninitImageTag: v1\ntag: v2", "docker.io/a/b:v1"),
        (b"init_image: a/b\ninit_tag: v1", "docker.io/a/b:v1"),
        (b"repository: a/b\ntag: v1", "docker.io/a/b:v1"),
        (b"imageName: a/b:v1", "docker.io/a/b:v1"),
        (b"images: [a/b:v1]", "docker.io/a/b:v1"),
        (b"images: {one: 'a/b:v1', two: x}", "docker.io/a/b:v1"),
        (b"containers: [{name: x, image: 'a/b:v1'}]", "docker.io/a/b:v1"),
        (b"deep: {er: [{sidecarImage: {repository: a/b, version: v1}}]}", "docker.io/a/b:v1"),
        (
            b"global: {imageRegistry: r.example.test}\nimage: {registry: x.io, repository: a, tag: 1}",
            "r.example.test/a:1",
        ),
        (b"global: {image: {repository: quay.io/a/b, tag: v1}}", "quay.io/a/b:v1"),
    ],
)
def test_values_have_images_in_many_shapes(values: bytes, name: str) -> None:
    assert of_values(values) == [name]


@pytest.mark.parametrize(
    "values",
    [
        b"repository: https://example.test/charts\ntag: v1",
        b"repository: just/a/name",
        b"logoImage: https://example.test/logo.png",
        b"image: true",
        b"image: ''",
        b"name: x\ntag: v1",
        b"image: {pullPolicy: Always}",
        b"images: {pull: 5}",
        b"[]",
    ],
)
def test_what_only_looks_like_one_is_not_taken(values: bytes) -> None:
    assert found_in({"values.yaml": values}) == ChartImages((), ())


def test_a_missing_tag_is_the_app_version_where_templates_have_it() -> None:
    files = {"values.yaml": b"image: {repository: a/b, tag: ''}", "templates/a.yaml": APP_VERSION}
    (image,) = found_in(files, appVersion="1.5").found
    assert (str(image.location), image.is_guessed) == ("docker.io/a/b:1.5", True)
    assert image.where == "values.yaml: image.repository (the tag is the appVersion)"
    files["templates/a.yaml"] = b'{{ default (printf "v%s" .Chart.AppVersion) .Values.x }}'
    assert names(found_in(files, appVersion="1.5")) == ["docker.io/a/b:v1.5"]
    assert names(found_in(files, appVersion="v1.5")) == ["docker.io/a/b:v1.5"]
    del files["templates/a.yaml"]
    assert found_in(files, appVersion="1.5") == ChartImages(
        (), ("values.yaml: image.repository: 'a/b': it has neither tag nor digest",)
    )


def test_a_guess_gives_way_to_what_is_known() -> None:
    files = {"values.yaml": b"image: {repository: a/b}\nextraImage: a/b:2", "templates/a.yaml": APP_VERSION}
    assert names(found_in(files, appVersion="1.5")) == ["docker.io/a/b:2"]
    files["values.yaml"] = b"image: {repository: a/b}\nextraImage: a/b:1.5"
    (image,) = found_in(files, appVersion="1.5").found
    assert not image.is_guessed


def test_templates_are_followed() -> None:
    helper = (
        b'{{ define "x" }}{{ .image.registry }}/{{ .image.repo }}:{{ .image.tag | default .app }}{{ end }}'
    )
    template = (
        b'- image: {{ include "x" (dict "image" .Values.one "app" .Chart.AppVersion) | quote }} # it\n'
        b"# image: commented/out:1\n"
        b"  args: [--reload=quay.io/c/d:v3, --url=quay.io/path]\n"
        b"  sidecarImage: 'e/f:v4'\n  baseImage: some words\n"
    )
    files = {
        "templates/_h.tpl": helper,
        "templates/a.yaml": template,
        "values.yaml": b"one: {registry: quay.io, repo: a/b}",
    }
    found = found_in(files, appVersion="1.5")
    assert names(found) == ["quay.io/a/b:1.5", "quay.io/c/d:v3", "docker.io/e/f:v4"]
    assert {image.where for image in found.found} == {"templates/a.yaml"}
    assert found.not_understood == ()


def test_an_image_counts_where_it_was_found_first() -> None:
    (image,) = found_in({"templates/b.yaml": b"image: a:1", "templates/a.yaml": b"image: a:1"}).found
    assert image.where == "templates/a.yaml"


def test_what_templates_write_is_known_better_than_values() -> None:
    """The registry stands elsewhere: alone, the name would be one of Docker Hub's."""
    values = (
        b"registry: quay.io/team\none: {image: app, tag: v1}\ntwo: {image: app}\nthree: {image: app, tag: v2}"
    )
    found = of_template(
        b"image: {{ .Values.registry }}/{{ .Values.one.image }}:{{ .Values.one.tag }}", values
    )
    assert names(found) == ["quay.io/team/app:v1", "docker.io/library/app:v2"]
    assert found.not_understood == ()


def test_a_digest_in_values_is_the_one_that_templates_wrote() -> None:
    values = b"image: {repository: team/app, digest: 'sha256:%s'}" % HEX.encode()
    found = of_template(b"image: quay.io/{{ .Values.image.repository }}@{{ .Values.image.digest }}", values)
    assert names(found) == [f"quay.io/team/app@sha256:{HEX}"]


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (b"image: {{ now }}/{{ now }}:1", "'…/…:1': it depends on what only rendering could tell"),
        (b"image: a/b", "'a/b': it has neither tag nor digest"),
        (b"image: 'A:1'", "'A:1': 'docker.io/library/A' is no repository name"),
    ],
)
def test_an_image_line_that_is_not_understood_is_told(template: bytes, told: str) -> None:
    (text,) = of_template(template).not_understood
    assert text.startswith(f"templates/a.yaml: {told}")


@pytest.mark.parametrize(
    "template",
    [
        b"image:\n  x: 1",
        b"image: {a: 1}",
        b"image: # nothing",
        b"myImage: {{ now }}",
        b"myImage: a/b",
        b"x: 1",
        b"kind: CustomResourceDefinition\nimage: a/b:1",
    ],
)
def test_lines_that_are_no_image_are_left_alone(template: bytes) -> None:
    assert of_template(template) == ChartImages((), ())


def test_a_template_in_values_is_told() -> None:
    found = found_in({"values.yaml": b"image: '{{ .Values.x }}:1'"})
    assert found.not_understood == ("values.yaml: image: '{{ .Values.x }}:1': it is a template",)


def test_the_annotation_counts_with_its_platforms() -> None:
    listed = "- {name: x, image: 'a/b:1', platforms: [linux/amd64, linux/arm64]}\n- image: c:2\n"
    found = found_in({"values.yaml": b"image: a/b:1"}, annotations={images.ANNOTATION: listed})
    assert names(found) == ["docker.io/a/b:1", "docker.io/library/c:2"]
    assert found.found[0].platforms == {"linux/amd64", "linux/arm64"}
    assert found.found[0].where == "annotation artifacthub.io/images"


@pytest.mark.parametrize("listed", ["- x: 1", "just words", "a: [", "- image: none"])
def test_an_annotation_that_is_none_is_told(listed: str) -> None:
    (told,) = found_in({}, annotations={images.ANNOTATION: listed}).not_understood
    assert told.startswith("annotation artifacthub.io/images: ")


CONDITIONED = {
    "charts/redis/Chart.yaml": b"apiVersion: v2\nname: redis\nversion: 1.0.0\nappVersion: '7'\n",
    "charts/redis/values.yaml": b"image: {repository: redis, tag: '6'}\nglobal: {x: 1}",
    "charts/redis/templates/a.yaml": b"image: {{ .Values.image.repository }}:"
    b"{{ .Values.image.tag }}{{ .Values.global.y }}",
}


def with_redis(values: bytes, **dependency: object) -> ChartImages:
    wanted = {"name": "redis", "version": "1.x", "repository": "https://example.test", **dependency}
    return found_in({**CONDITIONED, "values.yaml": values}, dependencies=[wanted])


def test_a_chart_inside_gets_its_parents_values() -> None:
    found = with_redis(b"redis: {image: {tag: '5'}}\nglobal: {y: -alpine}")
    assert names(found) == ["docker.io/library/redis:5-alpine", "docker.io/library/redis:5"]
    assert [image.where for image in found.found] == [
        "charts/redis/templates/a.yaml",
        "charts/redis/values.yaml: image.repository",
    ]
    assert names(with_redis(b"cache: {image: {tag: '5'}}", alias="cache")) == ["docker.io/library/redis:5"]


@pytest.mark.parametrize(
    ("values", "dependency", "reason"),
    [
        (b"redis: {enabled: false}", {"condition": "redis.enabled"}, "the condition redis.enabled"),
        (b"redis: {enabled: false}", {"condition": "cache.on, redis.enabled"}, "the condition redis.enabled"),
        (b"tags: {db: false}", {"tags": ["db", "cache"]}, "the tags db, cache"),
    ],
)
def test_a_chart_inside_that_is_off_by_default_is_left_out_and_told(
    values: bytes, dependency: dict[str, object], reason: str
) -> None:
    assert with_redis(values, **dependency) == ChartImages(
        (), (f"charts/redis/: {reason} leaves it out by default, and its images with it",)
    )


@pytest.mark.parametrize(
    ("values", "dependency"),
    [
        (b"redis: {enabled: true}\ntags: {db: false}", {"condition": "redis.enabled", "tags": ["db"]}),
        (b"redis: {enabled: maybe}", {"condition": "redis.enabled"}),
        (b"tags: {db: false, cache: true}", {"tags": ["db", "cache"]}),
        (b"", {"condition": "redis.enabled", "tags": ["db"]}),
    ],
)
def test_a_chart_inside_that_is_on_counts(values: bytes, dependency: dict[str, object]) -> None:
    assert names(with_redis(values, **dependency)) == ["docker.io/library/redis:6"]


def test_parts_that_cannot_be_read_are_told_and_the_rest_counts() -> None:
    found = found_in(
        {
            "values.yaml": b"a: [",
            "charts/x/Chart.yaml": b"name: nothing",
            "charts/lib/Chart.yaml": b"apiVersion: v2\nname: lib\nversion: 1.0.0\ntype: library\n",
            "charts/lib/templates/a.yaml": b"image: from/library:1",
            "templates/broken.yaml": b"{{ .a | .b }}",
            "templates/a.yaml": b"image: a/b:1",
        }
    )
    assert names(found) == ["docker.io/a/b:1"]
    values, chart, template = sorted(found.not_understood, key=lambda told: "vcstemplates".find(told[0]))
    assert values.startswith("values.yaml is not understood: ")
    assert chart == "charts/x/: '' is no version"
    assert template == "templates/broken.yaml is not understood: what follows | is no function"


def test_only_so_many_images_are_looked_at() -> None:
    listed = b"images: [" + b",".join(b"a/b:%d" % number for number in range(images.MOST_IMAGES + 5)) + b"]"
    found = found_in({"values.yaml": listed})
    assert len(found.found) == images.MOST_IMAGES
    assert found.not_understood == ("not all of it was looked at: it names more than 1000 images",)


def test_what_is_no_chart_is_refused() -> None:
    with pytest.raises(MetadataError):
        found_in({}, type="none")
