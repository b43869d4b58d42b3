"""The rule book: every change of the rules is a revision, numbered without gaps, and there byte for byte."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.store import rule_book_queries as queries
from gateway.store.blobs import StorageFailed
from gateway.store.engine import Engines, open_sqlite
from gateway.store.revisions import Draft, Outdated, RevisionHead, RevisionOrigin, RulesTrouble
from gateway.store.rule_book import RuleBook

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # many cases: left out of the quick tests

FILE = Draft(RevisionOrigin.FILE, "rules.yaml", b"version: 1\n")
EDIT = Draft(RevisionOrigin.ADMIN, "ada", b"version: 1\nrules: []\n", "no rules", based_on=1)
BACK = Draft(RevisionOrigin.ROLLBACK, "ada", b"version: 1\n", "back to 1", based_on=1)
ENORMOUS = 2**70


@pytest.fixture
def book(engines: Engines) -> RuleBook:
    return RuleBook(engines)


def edited(content: bytes) -> Draft:
    return replace(EDIT, content=content)


async def numbers(book: RuleBook, before: int | None = None, limit: int = 50) -> list[int]:
    return [head.number for head in await book.history(before, limit)]


async def test_an_empty_book_has_no_newest_revision_and_its_number_is_0(book: RuleBook) -> None:
    assert await book.newest() is None
    assert await book.newest_number() == 0
    assert await book.find(1) is None
    assert await book.history() == []


async def test_revisions_count_from_1_and_each_is_found_as_it_was_made(book: RuleBook) -> None:
    made = [await book.add(draft, 1000.0 + n / 7) for n, draft in enumerate((FILE, EDIT, BACK))]
    assert [await book.find(number) for number in (1, 2, 3)] == made
    assert made[1].content == EDIT.content
    assert made[1].head == RevisionHead(
        number=2,
        origin=RevisionOrigin.ADMIN,
        author="ada",
        made_at=1000.0 + 1 / 7,
        digest=Digest.of(EDIT.content),
        size_bytes=len(EDIT.content),
        comment="no rules",
        based_on=1,
    )
    assert await book.newest() == made[2]
    assert await book.newest_number() == 3
    assert await book.history() == [made[2].head, made[1].head, made[0].head]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xef\xbb\xbfversion: 1\r\n", b"\0\xff\xfe no text", b"# \xe2\x98\x83\n" * 500_000],
    ids=["empty", "with its byte order mark", "no text", "3 MB"],
)
async def test_content_is_kept_byte_for_byte(book: RuleBook, content: bytes) -> None:
    made = await book.add(edited(content), 1000.0)
    found = await book.find(1)
    assert found == made
    assert found.content == content
    assert found.head.size_bytes == len(content)


async def test_history_comes_in_pages_newest_first(book: RuleBook) -> None:
    for number in range(5):
        await book.add(edited(b"%d" % number), 1000.0 + number)
    assert await numbers(book) == [5, 4, 3, 2, 1]
    assert await numbers(book, limit=2) == [5, 4]
    assert await numbers(book, before=4, limit=2) == [3, 2]
    assert await numbers(book, before=1) == []


async def test_a_number_that_no_database_holds_is_one_that_is_not_there(book: RuleBook) -> None:
    await book.add(FILE, 1000.0)
    assert [await book.find(number) for number in (ENORMOUS, 0, -1, -ENORMOUS)] == [None] * 4
    assert await numbers(book, before=ENORMOUS, limit=ENORMOUS) == [1]
    assert await numbers(book, before=-ENORMOUS) == []
    assert await numbers(book, limit=-1) == []


async def test_the_newest_of_some_origins_passes_over_the_others(book: RuleBook) -> None:
    made = [await book.add(draft, 1000.0) for draft in (FILE, EDIT)]
    shown = {RevisionOrigin.FILE, RevisionOrigin.ROLLBACK}
    assert await book.newest(shown) == made[0]
    assert await book.newest_number(shown) == 1
    assert await book.newest_number({RevisionOrigin.IMPORT}) == 0
    assert await book.newest({RevisionOrigin.IMPORT}) is None
    assert await book.newest(()) is None
    back = await book.add(BACK, 2000.0)
    assert await book.newest(shown) == back


async def test_who_edited_an_older_revision_is_told_the_newest_and_nothing_is_made(book: RuleBook) -> None:
    await book.add(FILE, 1000.0, expected=0)
    await book.add(EDIT, 2000.0, expected=1)
    with pytest.raises(Outdated, match="revision 2 was made meanwhile") as caught:
        await book.add(edited(b"late"), 3000.0, expected=1)
    assert caught.value.newest == 2
    assert await numbers(book) == [2, 1]


async def test_what_runs_again_because_no_answer_came_makes_one_revision(book: RuleBook) -> None:
    made = await book.add(FILE, 1000.0, expected=0)
    assert await book.add(FILE, 1000.0, expected=0) == made
    later = await book.add(FILE, 1001.0)
    assert later.head.number == 2


def test_what_was_not_committed_leaves_no_gap(engines: Engines) -> None:
    with engines.writer.connect() as connection:
        assert queries.add(connection, FILE, 1000.0).head.number == 1
        connection.rollback()
    assert engines.write(queries.add, EDIT, 2000.0).head.number == 1


async def test_a_file_is_taken_in_when_its_bytes_are_others_than_the_files_last_ones(book: RuleBook) -> None:
    async def take_in(content: bytes) -> int | None:
        made = await book.take_in_file(replace(FILE, content=content), 1000.0, only_as_seed=False)
        return None if made is None else made.head.number

    assert await take_in(b"a") == 1
    assert await take_in(b"a") is None
    await book.add(edited(b"b"), 2000.0)
    assert await take_in(b"a") is None  # the edit stays in force: the file has not changed
    assert await take_in(b"b") == 3  # nor is the edit the file's
    assert await take_in(b"a") == 4


async def test_a_file_that_only_seeds_is_taken_in_where_there_is_nothing(book: RuleBook) -> None:
    made = await book.take_in_file(FILE, 1000.0, only_as_seed=True)
    assert made is not None
    assert await book.newest() == made
    changed = replace(FILE, content=b"version: 1\n# changed\n")
    assert await book.take_in_file(changed, 2000.0, only_as_seed=True) is None
    assert await numbers(book) == [1]


async def test_a_trouble_is_each_gateways_own_and_lasts_until_it_is_good_again(book: RuleBook) -> None:
    assert await book.trouble("a" * 16) is None
    await book.note_trouble("a" * 16, "rules.yaml:1:1: empty", 1000.0)
    await book.note_trouble("a" * 16, "rules.yaml:2:1: «repositry»", 2000.0)
    await book.note_trouble("b" * 16, "permission denied", 3000.0)
    assert await book.trouble("a" * 16) == RulesTrouble("rules.yaml:2:1: «repositry»", 2000.0)
    for _ in range(2):
        await book.note_trouble("a" * 16, None, 4000.0)
        assert await book.trouble("a" * 16) is None
    assert await book.trouble("b" * 16) == RulesTrouble("permission denied", 3000.0)


@pytest.mark.parametrize("bad", ["\0", "\udcff"])
async def test_words_that_no_database_can_hold_are_kept_without_what_is_wrong(
    book: RuleBook, bad: str
) -> None:
    draft = replace(EDIT, author=f"a{bad}da", comment=f"{bad}")
    made = await book.add(draft, 1000.0)
    assert (made.head.author, made.head.comment) == ("a\ufffdda", "\ufffd")
    assert await book.find(1) == made
    assert await book.add(draft, 1000.0, expected=0) == made
    await book.note_trouble("a" * 16, f"there is no /etc/{bad}.yaml", 1000.0)
    assert await book.trouble("a" * 16) == RulesTrouble("there is no /etc/\ufffd.yaml", 1000.0)


async def test_a_book_that_is_gone_is_a_failure_of_storage(tmp_path: Path) -> None:
    engines = open_sqlite(tmp_path / "gone" / "catalog.sqlite3", synchronous="FULL")
    book = RuleBook(engines)
    with pytest.raises(StorageFailed, match="read"):
        await book.newest_number()
    with pytest.raises(StorageFailed, match="written"):
        await book.add(FILE, 1000.0)
    with pytest.raises(StorageFailed, match="written"):
        await book.note_trouble("a" * 16, "no rules", 1000.0)
    engines.dispose()
