"""Lists in pages: nothing is lost, nothing comes twice, and no number of a client's is believed."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.errors import ErrorCode, OciError, Situation
from gateway.oci.paging import MAX_ASKED, MAX_UNASKED, Cut, Page, cut, parse_page

PATH = "/v2/charts.jetstack.io/cert-manager/tags/list"
TAGS = ["1.0.0", "1.1.0", "1.2.0_build.5", "v2"]


@pytest.mark.parametrize(
    "n", ["-1", "9999999999999", "\uff11\uff10", "1_0", "", " 1", "1\n", "0x10", "1.0", "²"]
)
def test_a_count_that_is_no_plain_number_is_refused(n: str) -> None:
    with pytest.raises(OciError) as caught:
        parse_page(n, None)
    assert caught.value.situation is Situation.PAGING_MALFORMED
    assert (caught.value.code, caught.value.status) == (ErrorCode.UNSUPPORTED, 400)


@pytest.mark.parametrize("last", ["\x00", "a" * 10_000, "a" * 301, "é", "a\nb", "\x7f"])
def test_a_last_that_no_list_can_hold_is_refused(last: str) -> None:
    with pytest.raises(OciError) as caught:
        parse_page(None, last)
    assert caught.value.situation is Situation.PAGING_MALFORMED


def test_what_is_asked_is_kept_and_the_count_clamped() -> None:
    assert parse_page(None, None) == Page()
    assert parse_page("0", "") == Page(count=0)
    assert parse_page("7", "a" * 300) == Page(7, "a" * 300)
    assert parse_page("1000", None) == parse_page("1001", None) == parse_page("999999999", None)
    assert parse_page("1001", None).count == MAX_ASKED


def test_a_page_links_to_the_next_one_by_a_relative_url() -> None:
    page = cut(TAGS, Page(2), PATH)
    assert page.names == ["1.0.0", "1.1.0"]
    assert page.next_link == f'<{PATH}?n=2&last=1.1.0>; rel="next"'


def test_the_last_page_has_no_link() -> None:
    assert cut(TAGS, Page(2, "1.1.0"), PATH) == Cut(TAGS[2:])
    assert cut(TAGS, Page(4), PATH) == Cut(TAGS)
    assert cut(TAGS, Page(2, "z"), PATH) == Cut([])
    assert cut([], Page(2), PATH) == Cut([])


def test_last_need_not_be_in_the_list() -> None:
    assert cut(TAGS, Page(None, "1.0.5"), PATH) == Cut(TAGS[1:])


def test_no_names_wanted_is_an_empty_list_that_leads_nowhere() -> None:
    assert cut(TAGS, Page(0), PATH) == Cut([])


def test_without_a_count_all_are_given_up_to_ten_thousand() -> None:
    names = [f"{number:06}" for number in range(MAX_UNASKED + 1)]
    assert cut(names[:-1], Page(), PATH) == Cut(names[:-1])
    page = cut(names, Page(), PATH)
    assert len(page.names) == MAX_UNASKED
    assert page.next_link == f'<{PATH}?last=009999>; rel="next"'


def test_a_name_with_odd_characters_is_quoted_in_the_link() -> None:
    link = cut(['a"b>&c/d', "z"], Page(1), "/v2/_catalog").next_link
    assert link == '</v2/_catalog?n=1&last=a%22b%3E%26c%2Fd>; rel="next"'


@given(st.sets(st.text("ab.-/_+&01", min_size=1, max_size=8), max_size=40), st.integers(1, 7))
def test_following_the_links_gives_every_name_once(names: set[str], count: int) -> None:
    ordered = sorted(names)
    seen: list[str] = []
    page: Page | None = parse_page(str(count), None)
    while page is not None:
        found = cut(ordered, page, PATH)
        seen.extend(found.names)
        page = _next(found.next_link)
    assert seen == ordered


def _next(link: str | None) -> Page | None:
    if link is None:
        return None
    match = re.fullmatch(r'<(/[^>]*)>; rel="next"', link)
    assert match is not None
    query = parse_qs(urlsplit(match[1]).query)
    return parse_page(query["n"][0], query["last"][0])
