"""Paths become values: at the last keyword, with what stands before /v2/ in front."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository
from gateway.web.paths import (
    Asked,
    Base,
    BlobAsked,
    CatalogAsked,
    ManifestAsked,
    ReferrersAsked,
    TagsAsked,
    parse_namespace,
    parse_path,
)

DIGEST = Digest.of(b"")

components = st.from_regex(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+){0,2}", fullmatch=True) | st.sampled_from(
    ["manifests", "blobs", "tags", "referrers", "v2", "list", "charts.example.test"]
)
names = (
    st.lists(components, min_size=1, max_size=5)
    .map("/".join)
    .filter(lambda name: len(name) <= 255)
    .map(Repository)
)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True) | st.sampled_from(
    ["v2", "manifests", "list", "_catalog"]
)
digests = st.binary(max_size=4).map(Digest.of) | st.just(Digest("sha512", "a" * 128))
asked_for = st.one_of(
    st.just(Base()),
    st.just(CatalogAsked()),
    st.builds(TagsAsked, names),
    st.builds(ManifestAsked, names, tags.map(Tag) | digests),
    st.builds(BlobAsked, names, digests),
    st.builds(ReferrersAsked, names, digests),
)


def render(asked: Asked) -> str:
    match asked:
        case Base():
            return "/v2/"
        case CatalogAsked():
            return "/v2/_catalog"
        case TagsAsked(name):
            return f"/v2/{name}/tags/list"
        case ManifestAsked(name, reference):
            return f"/v2/{name}/manifests/{reference}"
        case BlobAsked(name, digest):
            return f"/v2/{name}/blobs/{digest}"
        case ReferrersAsked(name, digest):
            return f"/v2/{name}/referrers/{digest}"


@given(asked_for)
def test_what_is_rendered_is_parsed_again(asked: Asked) -> None:
    assert parse_path(render(asked)) == asked


@given(st.text(max_size=40).map("/v2/".__add__))
def test_any_text_is_a_value_or_a_refusal(path: str) -> None:
    try:
        asked = parse_path(path)
    except OciError:
        return
    assert asked is not None
    assert parse_path(render(asked)) == asked


@pytest.mark.parametrize("tag", ["v2", "v2.0.0", "latest"])
def test_a_tag_may_be_called_like_the_api(tag: str) -> None:
    assert parse_path(f"/v2/a/b/manifests/{tag}") == ManifestAsked(Repository("a/b"), Tag(tag))


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/a/b/v2", "/a/b/v2/"])
def test_the_base_may_lack_its_slash_and_have_a_prefix(path: str) -> None:
    assert parse_path(path) == Base()


@pytest.mark.parametrize("path", ["/", "/healthz", "/v2x", "/v", "/v1/_ping", "", "/xv2"])
def test_what_is_none_of_the_api_is_none(path: str) -> None:
    assert parse_path(path) is None


def test_a_name_is_split_at_the_last_keyword() -> None:
    assert parse_path("/v2/a/manifests/b/manifests/c") == ManifestAsked(Repository("a/manifests/b"), Tag("c"))
    assert parse_path("/v2/a/blobs/b/tags/list") == TagsAsked(Repository("a/blobs/b"))


def test_what_stands_before_the_first_v2_is_put_in_front() -> None:
    asked = ManifestAsked(Repository("charts.example.test/redis"), Tag("1"))
    assert parse_path("/charts.example.test/v2/redis/manifests/1") == asked
    deep = ManifestAsked(Repository("a/b/v2/c"), Tag("1"))
    assert parse_path("/a/b/v2/v2/c/manifests/1") == deep


def test_a_namespace_is_put_in_front_unless_it_leads_already_or_a_prefix_does() -> None:
    namespace = Repository("charts.example.test")
    asked = TagsAsked(Repository("charts.example.test/redis"))
    assert parse_path("/v2/redis/tags/list", namespace) == asked
    assert parse_path("/v2/charts.example.test/redis/tags/list", namespace) == asked
    assert parse_path("/prefix/v2/redis/tags/list", namespace) == TagsAsked(Repository("prefix/redis"))
    longer = TagsAsked(Repository("charts.example.test/charts.example.test.evil/redis"))
    assert parse_path("/v2/charts.example.test.evil/redis/tags/list", namespace) == longer


def test_a_prefix_and_a_name_are_one_name_and_as_long_as_one() -> None:
    with pytest.raises(OciError) as caught:
        parse_path(f"/{'a' * 200}/v2/{'b' * 60}/tags/list")
    assert caught.value.code is ErrorCode.NAME_INVALID


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a:b", ErrorCode.NAME_UNKNOWN),
        ("A:1", ErrorCode.NAME_INVALID),
        ("A", ErrorCode.NAME_INVALID),
        ("", ErrorCode.NAME_INVALID),
        ("a/..", ErrorCode.NAME_INVALID),
        ("a\r\nb", ErrorCode.NAME_INVALID),
    ],
)
def test_a_namespace_is_held_to_the_grammar_of_names(text: str, code: ErrorCode) -> None:
    with pytest.raises(OciError) as caught:
        parse_namespace(text)
    assert caught.value.code is code
