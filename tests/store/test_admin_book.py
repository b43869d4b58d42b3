"""The admin's book on both databases: tokens, links, sessions, the audit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.oci.postgres_url import PostgresUrl
from gateway.store import admin_queries as queries
from gateway.store.admin_rows import Deed, NameTaken, Session, Token, TokenKind, TooManyTokens
from gateway.store.engine import Engines
from tests.postgres import open_engines

pytestmark = pytest.mark.slow  # half of it on a PostgreSQL server

NOW = 1_795_400_000.0
ANNA = Token("a1", "anna", "editor", TokenKind.TOKEN, NOW, "root", NOW + 100)
LINK = Token("l1", "one-time link", "editor", TokenKind.LINK, NOW, "gateway-1", NOW + 100)
DEED = Deed("anna", "sign-in", "by a token")


@pytest.fixture
def engines(database: PostgresUrl | None, tmp_path: Path) -> Iterator[Engines]:
    opened = open_engines(database, tmp_path)
    yield opened
    opened.dispose()


def session(secret: str, of: str = "a1", at: float = NOW) -> Session:
    return Session(secret * 64, of, "f" * 64, at, at)


def add(engines: Engines, token: Token) -> None:
    engines.write(queries.add_token, token, f"digest of {token.id}", Deed("root", "token.create", token.name))


def actions(engines: Engines) -> list[str]:
    return [one.deed.action for one in engines.read(queries.audited, None, 200)]


def test_a_token_is_found_by_its_secret_as_it_was_made(engines: Engines) -> None:
    add(engines, ANNA)
    boris = replace(ANNA, id="b1", name="boris", made_at=NOW + 1, expires_at=None)
    add(engines, boris)
    assert engines.read(queries.token_of, "digest of b1") == boris
    assert engines.read(queries.token_of, "digest of c1") is None
    assert engines.read(queries.tokens) == [ANNA, boris]


def test_two_tokens_have_different_names(engines: Engines) -> None:
    add(engines, ANNA)
    with pytest.raises(NameTaken):
        add(engines, replace(ANNA, id="a2"))
    assert actions(engines) == ["token.create"]


def test_of_several_who_take_a_name_at_once_one_gets_it(engines: Engines) -> None:
    def take(number: int) -> bool:
        try:
            add(engines, replace(ANNA, id=f"a{number}"))
        except NameTaken:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(take, range(4))) == [False, False, False, True]


def test_there_are_so_many_tokens_and_no_more(engines: Engines) -> None:
    for number in range(queries.MAX_TOKENS):
        add(engines, replace(ANNA, id=f"t{number}", name=f"t{number}"))
    with pytest.raises(TooManyTokens):
        add(engines, ANNA)


def test_a_command_that_runs_again_makes_nothing_twice(engines: Engines) -> None:
    for _ in range(2):
        add(engines, ANNA)
        engines.write(queries.add_session, session("s"), DEED)
    assert actions(engines) == ["sign-in", "token.create"]


def test_a_token_that_is_revoked_takes_its_sessions_along(engines: Engines) -> None:
    add(engines, ANNA)
    engines.write(queries.add_session, session("s"), DEED)
    engines.write(queries.add_session, session("o", "another"), DEED)
    assert engines.read(queries.session_of, "s" * 64) == (session("s"), ANNA)
    assert engines.write(queries.remove_token, "a1", "root", NOW) == ANNA
    assert engines.read(queries.session_of, "s" * 64) is None
    assert engines.read(queries.session_of, "o" * 64) == (session("o", "another"), None)
    assert engines.write(queries.remove_token, "a1", "root", NOW) is None
    assert actions(engines)[0] == "token.revoke"


def test_of_several_who_use_a_link_at_once_one_gets_in(engines: Engines) -> None:
    assert engines.write(queries.replace_link, LINK, "digest")

    def use(secret: str) -> bool:
        return engines.write(queries.use_link, LINK, session(secret, "l1"), DEED)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(use, "abcd")) == [False, False, False, True]
    assert actions(engines) == ["sign-in"]


def test_a_link_that_was_used_is_told_used_again_to_who_used_it(engines: Engines) -> None:
    engines.write(queries.replace_link, LINK, "digest")
    for _ in range(2):
        assert engines.write(queries.use_link, LINK, session("s", "l1"), DEED)


def test_a_link_ends_by_a_newer_one_of_its_maker_alone(engines: Engines) -> None:
    other = replace(LINK, id="l2", made_by="gateway-2")
    for number, link in enumerate((LINK, other, replace(LINK, id="l3"))):
        assert engines.write(queries.replace_link, link, f"digest {number}")
    assert {one.id for one in engines.read(queries.tokens)} == {"l2", "l3"}


def test_the_use_of_a_link_ends_all_others(engines: Engines) -> None:
    engines.write(queries.replace_link, LINK, "digest")
    engines.write(queries.replace_link, replace(LINK, id="l2", made_by="gateway-2"), "digest 2")
    engines.write(queries.use_link, LINK, session("s", "l1"), DEED)
    assert [one.id for one in engines.read(queries.tokens)] == ["l1"]
    assert not engines.read(queries.has_link, "gateway-2", NOW)


def test_a_token_ends_the_links_and_lets_none_be_made_until_it_expires(engines: Engines) -> None:
    engines.write(queries.replace_link, LINK, "digest")
    assert engines.read(queries.has_link, "gateway-1", NOW)
    add(engines, ANNA)
    assert not engines.read(queries.has_link, "gateway-1", NOW)
    assert not engines.write(queries.replace_link, LINK, "digest")
    assert engines.write(queries.replace_link, replace(LINK, made_at=NOW + 100), "digest")


def test_sessions_that_are_over_and_tokens_long_expired_are_swept(engines: Engines) -> None:
    add(engines, ANNA)
    add(engines, replace(ANNA, id="b1", name="boris", expires_at=None))
    for secret, at in (("o", NOW - 50), ("n", NOW)):
        engines.write(queries.add_session, session(secret, at=at), DEED)
    engines.write(queries.add_session, session("i", at=NOW - 50), DEED)
    engines.write(queries.see_session, "i" * 64, NOW)
    engines.write(queries.sweep, NOW - 60, NOW - 10, NOW + 200)
    assert [engines.read(queries.session_of, one * 64) is None for one in "oni"] == [True, False, False]
    assert [one.id for one in engines.read(queries.tokens)] == ["b1"]


def test_a_session_that_is_ended_is_noted_once(engines: Engines) -> None:
    engines.write(queries.add_session, session("s"), DEED)
    for _ in range(2):
        engines.write(queries.remove_session, "s" * 64, Deed("anna", "sign-out", ""), NOW)
    assert engines.read(queries.session_of, "s" * 64) is None
    assert actions(engines) == ["sign-out", "sign-in"]


def test_the_audit_is_read_newest_first_page_by_page(engines: Engines) -> None:
    for number in range(5):
        engines.write(queries.note, Deed("anna", "rules.save", str(number), "+ a line"), NOW + number)
    first = engines.read(queries.audited, None, 2)
    assert [(one.made_at, one.deed.subject) for one in first] == [(NOW + 4, "4"), (NOW + 3, "3")]
    assert [one.deed.subject for one in engines.read(queries.audited, first[-1].number, 9)] == ["2", "1", "0"]
    assert len(engines.read(queries.audited, 10**18, 9)) == 5


def test_what_no_database_stores_is_noted_as_far_as_it_can_be(engines: Engines) -> None:
    engines.write(queries.note, Deed("a\0b", "rules.save", "\ud800" * 2000, "d" * 200_000), NOW)
    (entry,) = engines.read(queries.audited, None, 9)
    assert entry.deed.actor == "a\ufffdb"
    assert (len(entry.deed.subject), len(entry.deed.detail)) == (1000, 100_000)
    assert entry.deed.detail.endswith("…")
