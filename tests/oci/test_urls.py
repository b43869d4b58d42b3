"""One reading of upstream URLs: what two parsers might read differently is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.urls import MAX_LENGTH, HttpUrl, UrlError, parse_upstream_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://charts.jetstack.io", HttpUrl("https", "charts.jetstack.io", 443)),
        ("HTTPS://Charts.Jetstack.IO/A", HttpUrl("https", "charts.jetstack.io", 443, "/A")),
        ("http://nexus.corp:8081/repo/", HttpUrl("http", "nexus.corp", 8081, "/repo/")),
        ("https://a.b/c?d=e&f=/g?h", HttpUrl("https", "a.b", 443, "/c", "d=e&f=/g?h")),
        ("https://a.b?", HttpUrl("https", "a.b", 443, "/", "")),
        ("https://a.b/c/../d/./e", HttpUrl("https", "a.b", 443, "/d/e")),
        ("https://a.b/../../x/..", HttpUrl("https", "a.b", 443, "/")),
        ("https://a.b/c/.", HttpUrl("https", "a.b", 443, "/c/")),
        ("https://a.b//c%2Fd@e", HttpUrl("https", "a.b", 443, "//c%2Fd@e")),
        ("https://192.0.2.1:6443/", HttpUrl("https", "192.0.2.1", 6443)),
        ("https://[2001:DB8::1]:444/", HttpUrl("https", "[2001:db8::1]", 444)),
        ("https://a_b.example", HttpUrl("https", "a_b.example", 443)),
    ],
)
def test_a_url_is_read(text: str, expected: HttpUrl) -> None:
    assert parse_upstream_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://good.com@127.0.0.1/",
        "https://u:p@reg/",
        "https://good.com\\@evil.com/",
        "https://evil.com%2f.good.com/",
        "https:/x",
        "https://",
        "https:///x",
        "//evil.com/x",
        "https://127。0。0。1/",
        "https://①②⑦.0.0.1/",
        "https://a.b/é",
        "https://a.b/c#d",
        "https://a.b/c d",
        "https://a.b/c\n",
        "https://a.b/\x00",
        "https://a.b:0/",
        "https://a.b:65536/",
        "https://a.b:٤٤٣/",
        "https://a.b:044/",
        "https://a.b:/",
        "https://a.b:22:33/",
        "https://a..b/",
        "https://.a.b/",
        "https://a.b./",
        "https://-a.b/",
        "https://a-.b/",
        "https://" + "a" * 64 + ".b/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://0/",
        "https://[::1%25eth0]/",
        "https://[::g]/",
        "https://[1:2]/",
        "https://a.b/%2e%2E/c",
        "https://a.b/.%2e/c",
        "https://a.b/%2e",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "ftp://a.b/",
        "data:,x",
        "oci://a.b/c",
        "",
        "https://a.b/" + "a" * MAX_LENGTH,
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(UrlError):
        parse_upstream_url(text)


def test_a_refusal_never_repeats_a_credential() -> None:
    with pytest.raises(UrlError, match="user and password") as caught:
        parse_upstream_url("https://user:S3CR3T@charts.example.com/")
    assert "S3CR3T" not in str(caught.value)


def test_the_origin_leaves_the_usual_port_out() -> None:
    assert parse_upstream_url("https://a.b:443/c").origin == "https://a.b"
    assert parse_upstream_url("http://a.b:80/c").origin == "http://a.b"
    assert parse_upstream_url("http://a.b:443/c").origin == "http://a.b:443"
    assert parse_upstream_url("https://[::1]:8443").authority == "[::1]:8443"


def test_the_place_is_what_a_key_of_upstreams_names() -> None:
    assert parse_upstream_url("https://a.b/").place == "a.b"
    assert parse_upstream_url("https://a.b/c/d?e").place == "a.b/c/d"
    assert parse_upstream_url("http://a.b/c").place == "a.b:80/c"
    assert parse_upstream_url("https://a.b:8443/c/").place == "a.b:8443/c"


HOSTS = st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,4})?(\.[a-z]{2,5}){1,3}", fullmatch=True)
PATHS = st.text("abz09-._~%/@:+", max_size=20).map("/".__add__)


@given(st.sampled_from(["http", "https"]), HOSTS, st.integers(1, 65535), PATHS, st.text("a=&?/%", max_size=9))
def test_a_url_written_out_reads_as_itself(scheme: str, host: str, port: int, path: str, query: str) -> None:
    try:
        url = parse_upstream_url(f"{scheme}://{host}:{port}{path}?{query}")
    except UrlError:  # an encoded dot segment
        assert "%" not in path or "." in path
        return
    assert parse_upstream_url(str(url)) == url
    assert (url.scheme, url.host, url.port, url.query) == (scheme, host, port, query)
    assert not {".", ".."} & set(url.path.split("/"))


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_a_url_error(text: str) -> None:
    for candidate in (text, f"https://{text}"):
        try:
            url = parse_upstream_url(candidate)
        except UrlError:
            continue
        assert str(url).isascii()
