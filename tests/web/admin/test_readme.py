"""A README of a stranger: what its author meant is shown, and nothing of it does anything."""

import pytest

from gateway.web.admin.readme import READ_CHARACTERS, render


def test_markdown_becomes_html_one_level_down() -> None:
    html = render("# Redis\n\n*Fast* and ~~slow~~ **stores**.\n\n```yaml\na: 1\n```\n").html
    assert '<h2 id="readme-redis">Redis</h2>' in html
    assert "<em>Fast</em> and <s>slow</s> <strong>stores</strong>." in html
    assert '<pre tabindex="0"><code>a: 1\n</code></pre>' in html


def test_a_table_is_a_table_without_styles() -> None:
    html = render("| a | b |\n|:-:|--:|\n| 1 | 2 |\n").html
    assert "<table>" in html
    assert "style" not in html


def test_headings_stop_at_the_last_level() -> None:
    assert "<h6" in render("###### deep\n").html


def test_a_table_of_contents_leads_to_its_headings() -> None:
    html = render("[Set up](#set-up) [again](#set-up-1)\n\n## Set up!\n\n## Set up\n").html
    assert 'href="#readme-set-up"' in html
    assert 'href="#readme-set-up-1"' in html
    assert '<h3 id="readme-set-up">' in html
    assert '<h3 id="readme-set-up-1">' in html


def test_links_lead_out_and_tell_nobody_from_where() -> None:
    html = render("[a](https://example.test/a) [b](mailto:a@example.test)").html
    assert '<a href="https://example.test/a" rel="noopener noreferrer nofollow">a</a>' in html
    assert 'href="mailto:a@example.test"' in html


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "/admin/sign-out",
        "//evil.test/x",
        "docs/more.md",
        "&#106;avascript:alert(1)",
        "file:///etc/passwd",
    ],
)
def test_no_link_leads_into_the_page_or_to_a_script(address: str) -> None:
    for text in (f"[a]({address})", f"[a](<{address}>)", f"[a][1]\n\n[1]: {address}", f"<{address}>"):
        assert "href" not in render(text).html


@pytest.mark.parametrize(
    "markup",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        '<a href="javascript:alert(1)">x</a>',
        "<style>*{display:none}</style>",
        "<iframe src=//evil.test></iframe>",
        "a <form action=//evil.test><button>",
        "<!-- --><base href=//evil.test>",
    ],
)
def test_html_is_text(markup: str) -> None:
    html = render(markup).html
    for tag in ("<script", "<img", "<svg", "<a ", "<style", "<iframe", "<form", "<base"):
        assert tag not in html


def test_an_image_is_a_link_to_it() -> None:
    html = render("![the logo](https://example.test/logo.png)").html
    assert html == (
        '<p><a href="https://example.test/logo.png" rel="noopener noreferrer nofollow">the logo</a></p>\n'
    )


def test_a_badge_that_is_a_link_is_one_link() -> None:
    html = render("[![build](https://img.test/b.svg)](https://ci.test)").html
    assert html.count("<a ") == 1
    assert 'href="https://ci.test"' in html


def test_an_image_beside_the_readme_is_what_it_says() -> None:
    assert render("![the logo](logo.png) ![](x.png)").html == "<p>the logo image</p>\n"


def test_a_title_cannot_break_out_of_its_attribute() -> None:
    html = render("[a](https://example.test '\"><script>x')").html
    assert "<script" not in html


def test_what_is_too_long_ends_at_a_block() -> None:
    readme = render("## A part\n\nSome words of it.\n\n" * 20_000)
    assert readme.is_cut
    assert len(readme.html) < 80_000
    assert readme.html.rstrip().endswith(("</p>", "</h3>"))
    assert not render("short").is_cut


def test_one_long_line_is_cut_too() -> None:
    assert render("a" * (READ_CHARACTERS + 1)).is_cut


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        ">",
        "> ",
        "- ",
        "[",
        "![",
        "*a ",
        "_*",
        "`",
        "<",
        "\\",
        "[](",
        "~",
        "1. a\n",
        "|",
        "&",
        "\t",
        "[a\n",
        "<!--",
    ],
)
def test_what_is_nested_or_left_open_without_end_is_rendered_all_the_same(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    assert len(render(text).html) < 80_000


@pytest.mark.slow
@pytest.mark.parametrize("of", ["https://example.test/{}", "https://example.test '{}'"])
def test_an_address_that_a_thousand_links_share_is_not_written_a_thousand_times(of: str) -> None:
    readme = render(f"[x]: {of.format('b' * 30_000)}\n\n" + "[x] " * 5_000)
    assert readme.is_cut
    assert len(readme.html) < 80_000
