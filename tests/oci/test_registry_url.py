"""``oci://`` URLs of an index, and Link headers of lists: read strictly, or not followed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.digest import Digest
from gateway.oci.links import MAX_LENGTH, parse_next_link
from gateway.oci.registry_url import parse_registry_url
from gateway.oci.urls import UrlError

DIGEST = Digest.of(b"x")


@pytest.mark.parametrize(
    ("text", "authority", "name", "reference"),
    [
        ("oci://ghcr.io/org/chart", "ghcr.io", "org/chart", None),
        ("oci://ghcr.io/org/chart:1.2.3", "ghcr.io", "org/chart", "1.2.3"),
        ("oci://ghcr.io/org/chart:1.2.3+build", "ghcr.io", "org/chart", "1.2.3_build"),
        (f"oci://ghcr.io/chart@{DIGEST}", "ghcr.io", "chart", DIGEST),
        (f"oci://ghcr.io/chart:1@{DIGEST}", "ghcr.io", "chart", DIGEST),
        ("oci://Reg.Example.test:5000/a/b:v1", "reg.example.test:5000", "a/b", "v1"),
        ("oci://reg.example.test:443/a", "reg.example.test", "a", None),
    ],
)
def test_a_place_in_a_registry_is_read(
    text: str, authority: str, name: str, reference: str | Digest | None
) -> None:
    url = parse_registry_url(text)
    assert (url.root.authority, url.name.name, url.reference) == (authority, name, reference)
    assert parse_registry_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oci://",
        "oci://ghcr.io",
        "oci://ghcr.io/",
        "oci:///chart",
        "OCI://ghcr.io/chart",
        "https://ghcr.io/chart",
        "oci://user:word@ghcr.io/chart",
        "oci://user@ghcr.io/chart",
        "oci://ghcr.io/Chart",
        "oci://ghcr.io/a//b",
        "oci://ghcr.io/../b",
        "oci://ghcr.io/a?x=1",
        "oci://ghcr.io/a#b",
        "oci://ghcr.io/a:",
        "oci://ghcr.io/a:b:c",
        "oci://ghcr.io/a:.b",
        "oci://ghcr.io/a@sha256:abc",
        "oci://ghcr.io/a@",
        "oci://ghcr.io:0/a",
        "oci://ghcr.io:99999/a",
        "oci://2130706433/a",
        "oci://ghcr.io\\@evil/a",
        "oci://ghcr.io/a\n",
        "oci://ghcr.io/" + "a" * 9000,
        "oci://gh%63r.io/a",
    ],
)
def test_what_is_no_place_in_a_registry_is_refused(text: str) -> None:
    with pytest.raises(UrlError):
        parse_registry_url(text)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        (None, None),
        ("", None),
        ('</v2/a/tags/list?last=b&n=1>; rel="next"', "/v2/a/tags/list?last=b&n=1"),
        ("<?last=b>;rel=next", "?last=b"),
        ('<a>; rel="prev", <b>; rel="next"', "b"),
        ('<a>; title="x, <c>; rel=next"; rel="prev", <b>; REL="NEXT"', "b"),
        ('<a>; rel="nextish"', None),
        ("<a>", None),
        ("a; rel=next", None),
        ('<a b>; rel="next"', None),
        ("<a>; rel=next" + " " * MAX_LENGTH, None),
    ],
)
def test_the_next_page_is_what_the_link_header_says(text: str | None, reference: str | None) -> None:
    assert parse_next_link(text) == reference


@given(st.text(alphabet='<>;,"= relnxt/?', max_size=300))
def test_any_header_is_read_or_passed_over(text: str) -> None:
    reference = parse_next_link(text)
    assert reference is None or f"<{reference}>" in text
