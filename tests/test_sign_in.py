"""Signing in: tokens, sessions and the one-time link, as time goes by."""

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from gateway.access.roles import Role, SignedIn
from gateway.oci.errors import OciError, Situation
from gateway.sign_in import (
    ADMIN_TOKEN,
    IDLE_SECONDS,
    LINK_NAME,
    SESSION_SECONDS,
    FirstLink,
    MadeToken,
    Opened,
    SignIn,
    TokenDesk,
)
from gateway.store.admin_book import AdminBook
from gateway.store.admin_link import LinkFile
from gateway.store.engine import Engines
from tests.postgres import open_engines

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # a catalog is migrated for each

SECRET = "correct-horse-battery"
DAY = 86400.0


class House:
    """A gateway's desk, with a clock that stands."""

    def __init__(self, engines: Engines, folder: Path, admin_token: str | None = None) -> None:
        self.now = 1_795_400_000.0
        self.book = AdminBook(engines)
        self.tokens = TokenDesk(self.book, self.clock)
        self.sign_in = SignIn(self.book, admin_token, self.clock)
        self.file = LinkFile(folder / "admin-link")
        self.first_link = self.link_of("gateway-1", admin_token)

    def clock(self) -> float:
        return self.now

    def link_of(self, maker: str, admin_token: str | None = None) -> FirstLink:
        has_admin_token = admin_token is not None
        return FirstLink(self.book, self.file, maker, self.clock, has_admin_token=has_admin_token)

    async def made(self, role: Role = Role.EDITOR, expires_in_seconds: float | None = None) -> MadeToken:
        return await self.tokens.make("anna", role, "root", expires_in_seconds=expires_in_seconds)

    async def opened(self, secret: str) -> Opened:
        opened = await self.sign_in.begin(secret)
        assert opened is not None
        return opened

    async def link(self) -> str:
        """The secret of a new link."""
        await self.first_link.write("http://127.0.0.1:9001")
        return self.file.path.read_text().strip().removeprefix("http://127.0.0.1:9001/admin/welcome?link=")


def rename(engines: Engines, name: str) -> None:
    """Have the table of tokens there, or ``away``."""
    before = "away" if name == "admin_tokens" else "admin_tokens"
    with engines.writing() as connection:
        connection.execute(text(f"ALTER TABLE {before} RENAME TO {name}"))


def stored(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("catalog.sqlite3*"))


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    opened = open_engines(None, tmp_path)
    yield opened
    opened.dispose()


@pytest.fixture
def house(engines: Engines, tmp_path: Path) -> House:
    return House(engines, tmp_path)


async def test_a_token_says_who_has_it_and_only_its_digest_is_kept(house: House, tmp_path: Path) -> None:
    made = await house.made(Role.VIEWER)
    assert made.secret.startswith("gw_")
    assert await house.sign_in.by_secret(made.secret) == SignedIn("anna", Role.VIEWER)
    assert await house.sign_in.by_secret(made.secret + "x") is None
    kept = stored(tmp_path)
    assert b"anna" in kept
    assert made.secret.encode() not in kept


async def test_a_token_is_good_until_it_expires_or_is_revoked(house: House) -> None:
    expiring = await house.made(expires_in_seconds=DAY)
    revoked = await house.tokens.make("", Role.EDITOR, "root")
    assert revoked.token.name == f"token {revoked.token.id}"
    await house.tokens.revoke(revoked.token.id, "root")
    assert await house.sign_in.by_secret(revoked.secret) is None
    house.now += DAY - 1
    assert await house.sign_in.by_secret(expiring.secret) is not None
    house.now += 1
    assert await house.sign_in.by_secret(expiring.secret) is None
    assert await house.sign_in.begin(expiring.secret) is None


async def test_when_a_token_was_used_is_known_to_the_minute(house: House) -> None:
    made = await house.made()
    used = []
    for seconds in (0, 59, 1):
        house.now += seconds
        await house.sign_in.by_secret(made.secret)
        used.append((await house.tokens.list_all())[0].used_at)
    assert used == [house.now - 60, house.now - 60, house.now]


@pytest.mark.parametrize("name", [ADMIN_TOKEN, LINK_NAME, " a", "a\n", "a\x1b[1m", "a" * 101, "\u202eanna"])
async def test_a_name_that_could_be_taken_for_another_is_refused(house: House, name: str) -> None:
    with pytest.raises(OciError) as caught:
        await house.tokens.make(name, Role.VIEWER, "root")
    assert caught.value.situation is Situation.CONFLICT


async def test_a_name_is_taken_once(house: House) -> None:
    made = await house.made()
    with pytest.raises(OciError, match="there is a token 'anna' already"):
        await house.made()
    await house.tokens.revoke(made.token.id, "root")
    await house.made()
    with pytest.raises(OciError, match="there is no token"):
        await house.tokens.revoke(made.token.id, "root")


async def test_admin_token_is_an_editor_and_nothing_like_it_is(engines: Engines, tmp_path: Path) -> None:
    house = House(engines, tmp_path, SECRET)
    assert await house.sign_in.by_secret(SECRET) == SignedIn(ADMIN_TOKEN, Role.EDITOR)
    for wrong in ("", SECRET[:-1], SECRET + "x", SECRET.upper(), "\udcff"):
        assert await house.sign_in.by_secret(wrong) is None


async def test_a_session_lasts_twelve_hours_at_most(house: House) -> None:
    opened = await house.opened((await house.made()).secret)
    for _ in range(int(SESSION_SECONDS / 1200) - 1):
        house.now += 1200
        assert await house.sign_in.by_session(opened.secret) == opened.asker
    house.now += 1200
    assert await house.sign_in.by_session(opened.secret) is None


async def test_a_session_that_nobody_uses_is_over_after_half_an_hour(house: House) -> None:
    opened = await house.opened((await house.made()).secret)
    house.now += IDLE_SECONDS - 1
    assert await house.sign_in.by_session(opened.secret) is not None
    house.now += IDLE_SECONDS
    assert await house.sign_in.by_session(opened.secret) is None


async def test_a_clock_that_was_set_back_makes_no_session_last(house: House) -> None:
    opened = await house.opened((await house.made()).secret)
    house.now -= DAY
    assert await house.sign_in.by_session(opened.secret) is None


async def test_each_sign_in_begins_a_session_of_its_own(house: House) -> None:
    secret = (await house.made()).secret
    first, second = await house.opened(secret), await house.opened(secret)
    assert first.secret != second.secret
    assert first.asker.form_token != second.asker.form_token
    await house.sign_in.end(first.secret, first.asker)
    assert await house.sign_in.by_session(first.secret) is None
    assert await house.sign_in.by_session(second.secret) == second.asker


async def test_a_session_ends_with_its_token(house: House) -> None:
    made = await house.made(expires_in_seconds=600)
    opened = await house.opened(made.secret)
    house.now += 600
    assert await house.sign_in.by_session(opened.secret) is None
    house.now -= 300
    assert await house.sign_in.by_session(opened.secret) is not None
    await house.tokens.revoke(made.token.id, "root")
    assert await house.sign_in.by_session(opened.secret) is None


async def test_a_session_of_admin_token_ends_when_that_is_changed(engines: Engines, tmp_path: Path) -> None:
    opened = await House(engines, tmp_path, SECRET).opened(SECRET)
    again = await House(engines, tmp_path, SECRET).sign_in.by_session(opened.secret)
    assert again == opened.asker
    for changed in (None, SECRET + "x"):
        assert await House(engines, tmp_path, changed).sign_in.by_session(opened.secret) is None


async def test_the_first_start_tells_a_link_in_the_log_and_in_a_file_for_its_owner(house: House) -> None:
    with capture_logs() as logged:
        await house.first_link.write("http://127.0.0.1:9001")
    (line,) = logged
    assert line["log_level"] == "warning"
    assert line["url"] == house.file.path.read_text().strip()
    assert stat.S_IMODE(house.file.path.stat().st_mode) == 0o600


async def test_a_link_leads_in_once_as_editor(house: House) -> None:
    link = await house.link()
    for _ in range(3):
        assert await house.sign_in.is_link(link)
    opened = await house.sign_in.begin_by_link(link)
    assert opened is not None
    assert (opened.asker.name, opened.asker.role) == (LINK_NAME, Role.EDITOR)
    assert await house.sign_in.by_session(opened.secret) == opened.asker
    assert not await house.sign_in.is_link(link)
    assert await house.sign_in.begin_by_link(link) is None
    await house.first_link.tidy()
    assert not house.file.path.exists()


async def test_a_link_is_no_token_and_a_token_no_link(house: House) -> None:
    link = await house.link()
    assert await house.sign_in.by_secret(link) is None
    assert await house.sign_in.begin(link) is None
    assert not await house.sign_in.is_link((await house.made()).secret)


async def test_a_link_is_good_for_a_day_and_its_file_goes_with_it(house: House) -> None:
    link = await house.link()
    house.now += DAY - 1
    await house.first_link.tidy()
    assert house.file.path.exists()
    house.now += 1
    assert await house.sign_in.begin_by_link(link) is None
    await house.first_link.tidy()
    assert not house.file.path.exists()


async def test_a_start_without_tokens_ends_the_link_of_the_start_before(house: House) -> None:
    first, second = await house.link(), await house.link()
    assert [await house.sign_in.is_link(one) for one in (first, second)] == [False, True]


async def test_replicas_that_start_at_once_have_a_link_each_and_one_use_ends_both(house: House) -> None:
    ours = await house.link()
    await house.link_of("gateway-2").write("http://127.0.0.1:9001")
    assert await house.sign_in.is_link(ours)
    assert await house.sign_in.begin_by_link(ours) is not None
    theirs = house.file.path.read_text().partition("link=")[2].strip()
    assert not await house.sign_in.is_link(theirs)


async def test_where_somebody_can_sign_in_no_link_is_made(house: House) -> None:
    link = await house.link()
    await house.made(expires_in_seconds=DAY)
    assert not await house.sign_in.is_link(link)
    await house.first_link.tidy()
    await house.first_link.write("http://127.0.0.1:9001")
    assert not house.file.path.exists()
    house.now += DAY
    assert await house.sign_in.is_link(await house.link())


async def test_admin_token_ends_the_link_of_a_start_without_it(engines: Engines, tmp_path: Path) -> None:
    link = await House(engines, tmp_path).link()
    house = House(engines, tmp_path, SECRET)
    await house.first_link.write("http://127.0.0.1:9001")
    await house.first_link.tidy()
    assert not await house.sign_in.is_link(link)
    assert not house.file.path.exists()


async def test_what_is_over_is_swept_and_the_audit_stays(house: House) -> None:
    made = await house.made(expires_in_seconds=DAY)
    opened = await house.opened(made.secret)
    house.now += 40 * DAY
    await house.first_link.tidy()
    assert await house.tokens.list_all() == []
    house.now -= 40 * DAY
    assert await house.sign_in.by_session(opened.secret) is None
    assert [one.deed.action for one in await house.book.audited(None, 9)] == ["sign-in", "token.create"]


async def test_a_link_is_written_once_the_database_answers_and_only_once(
    house: House, engines: Engines
) -> None:
    rounds = 0

    async def sleep(_seconds: float) -> None:
        nonlocal rounds
        rounds += 1
        if rounds < 3:
            rename(engines, "away" if rounds == 2 else "admin_tokens")
        if rounds == 4:
            raise asyncio.CancelledError

    rename(engines, "away")
    with capture_logs() as logged, pytest.raises(asyncio.CancelledError):
        await house.first_link.tend("http://127.0.0.1:9001", sleep)
    assert [line["event"] for line in logged] == [
        "admin_book_unavailable",
        "admin_link",
        "admin_book_unavailable",
        "admin_book_unavailable",
    ]
