"""What people and registries write: whatever it is made of is read back out of it."""

import string
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.digest import Digest
from gateway.oci.links import parse_next_link
from gateway.oci.location import Location, parse_location
from gateway.oci.postgres_url import PostgresUrl, parse_postgres_url
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository

pytestmark = pytest.mark.slow

_PARTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
_NAMES = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8})?(/[a-z0-9]{1,8}){0,3}", fullmatch=True).map(
    Repository.parse
)
_TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True).map(Tag)
_REFERENCES = st.none() | _TAGS | st.binary(max_size=9).map(Digest.of)


@given(user=st.none() | _PARTS, password=_PARTS, database=_PARTS, port=st.none() | st.integers(1, 65535))
def test_each_part_of_a_database_url_is_read_back_and_the_password_is_not_shown(
    user: str | None, password: str, database: str, port: int | None
) -> None:
    login = "" if user is None else f"{quote(user, safe='')}:{quote(password, safe='')}@"
    place = "db.example.test" + ("" if port is None else f":{port}")
    url = parse_postgres_url(f"postgresql://{login}{place}/{quote(database, safe='')}")
    wanted = None if user is None else password
    assert url == PostgresUrl(database, "db.example.test", port, user, wanted)
    assert str(url) == str(PostgresUrl(database, "db.example.test", port, user))


@given(options=st.dictionaries(st.sampled_from(("sslmode", "application_name", "options")), _PARTS))
def test_options_of_a_database_url_are_read_back(options: dict[str, str]) -> None:
    query = "&".join(f"{name}={quote_plus(value)}" for name, value in options.items())
    url = parse_postgres_url("postgresql:///x" + (f"?{query}" if query else ""))
    assert dict(url.options) == options


@given(
    name=_NAMES, reference=_REFERENCES, tag=_TAGS, host=st.sampled_from(("", "gw.test/", "localhost:9000/"))
)
def test_a_location_is_read_back_with_or_without_our_own_host(
    name: Repository, reference: Tag | Digest | None, tag: Tag, host: str
) -> None:
    location = Location(name, reference)
    assert parse_location(f"oci://{host}{location}", {"gw.test"}) == location
    if isinstance(reference, Digest):  # it outweighs a tag
        assert parse_location(f"{name}:{tag}@{reference}", ()) == location


@given(
    url=st.text(string.ascii_letters + string.digits + "/?&=%;,._~-", min_size=1, max_size=60),
    others=st.lists(
        st.sampled_from(('<a>; rel="prev"', "<b>; rel=first", '<c>; title="next, or not"')), max_size=3
    ),
)
def test_the_next_page_is_found_wherever_it_stands_in_a_link_header(url: str, others: list[str]) -> None:
    assert parse_next_link(", ".join(others)) is None
    for relation in ('"next"', "next", '"last NEXT"'):
        assert parse_next_link(", ".join((*others, f"<{url}>; rel={relation}"))) == url
