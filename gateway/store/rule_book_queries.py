"""The rule book's queries and commands, as functions of a connection; commands need a transaction.

For ``Engines.read`` and ``Engines.write`` where no loop runs; elsewhere RuleBook asks in threads.
"""

import re
from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, select, text

from gateway.oci.digest import Digest
from gateway.store.revisions import Draft, Outdated, Revision, RevisionHead, RevisionOrigin, RulesTrouble
from gateway.store.tables import rule_revisions, rule_troubles
from gateway.store.upsert import Value, insert_or_update

_MAX_NUMBER = 2**31 - 1  # PostgreSQL's integer; SQLite's driver refuses more than 63 bits
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL takes no NUL, and neither takes half a character

_HEAD = (
    *(column for column in rule_revisions.c if column.name != "content"),
    func.length(rule_revisions.c.content).label("size_bytes"),
)
_WHOLE = (*_HEAD, rule_revisions.c.content)
_NEWEST_FIRST = rule_revisions.c.number.desc()


def newest(connection: Connection, origins: Collection[RevisionOrigin] | None = None) -> Revision | None:
    wanted = select(*_WHOLE).where(*_of(origins)).order_by(_NEWEST_FIRST).limit(1)
    row = connection.execute(wanted).mappings().first()
    return None if row is None else Revision(_head(row), row["content"])


def newest_number(connection: Connection, origins: Collection[RevisionOrigin] | None = None) -> int:
    wanted = select(rule_revisions.c.number).where(*_of(origins)).order_by(_NEWEST_FIRST).limit(1)
    number: int | None = connection.execute(wanted).scalar()
    return number or 0


def standing(
    connection: Connection, origins: Collection[RevisionOrigin] | None, instance: str
) -> tuple[int, RulesTrouble | None]:
    """What every worker asks all the time, in one go: the newest number, and what is wrong with the file."""
    return newest_number(connection, origins), trouble(connection, instance)


def find(connection: Connection, number: int) -> Revision | None:
    wanted = select(*_WHOLE).where(rule_revisions.c.number == _in_range(number))
    row = connection.execute(wanted).mappings().first()
    return None if row is None else Revision(_head(row), row["content"])


def history(connection: Connection, before: int | None, limit: int) -> list[RevisionHead]:
    older = () if before is None else (rule_revisions.c.number < _in_range(before),)
    wanted = select(*_HEAD).where(*older).order_by(_NEWEST_FIRST).limit(_in_range(limit))
    return [_head(row) for row in connection.execute(wanted).mappings()]


def add(connection: Connection, draft: Draft, made_at: float, expected: int | None = None) -> Revision:
    """Make a revision; raise Outdated where ``expected`` is not the newest number.

    The same once more is the same revision: a command runs again where the answer to its commit was lost.
    """
    _await_turn(connection)
    before = _newest_head(connection)
    number = 0 if before is None else before.number
    if before == _head_of(draft, number, made_at):
        return Revision(before, draft.content)
    if expected is not None and expected != number:
        raise Outdated(number)
    return _insert(connection, draft, number + 1, made_at)


def take_in_file(connection: Connection, draft: Draft, made_at: float) -> Revision | None:
    """Make a revision of a file, unless the newest of its origin has the same bytes."""
    _await_turn(connection)
    before = _newest_head(connection, {draft.origin})
    if before is not None and before.digest == Digest.of(draft.content):
        return None
    return _insert(connection, draft, newest_number(connection) + 1, made_at)


def seed(connection: Connection, draft: Draft, made_at: float) -> Revision | None:
    """Make the first revision, unless there is one."""
    _await_turn(connection)
    return None if newest_number(connection) else _insert(connection, draft, 1, made_at)


def note_trouble(connection: Connection, instance: str, message: str | None, since: float) -> None:
    if message is None:
        connection.execute(delete(rule_troubles).where(rule_troubles.c.instance == instance))
        return
    values: dict[str, Value] = {"instance": instance, "message": _storable(message), "since": since}
    insert_or_update(connection, rule_troubles, values)


def trouble(connection: Connection, instance: str) -> RulesTrouble | None:
    row = connection.execute(select(rule_troubles).where(rule_troubles.c.instance == instance)).first()
    return None if row is None else RulesTrouble(row.message, row.since)


def _await_turn(connection: Connection) -> None:
    """One at a time counts on: on SQLite whoever writes is alone anyway; readers wait for nobody."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE rule_revisions IN SHARE ROW EXCLUSIVE MODE"))


def _newest_head(
    connection: Connection, origins: Collection[RevisionOrigin] | None = None
) -> RevisionHead | None:
    wanted = select(*_HEAD).where(*_of(origins)).order_by(_NEWEST_FIRST).limit(1)
    row = connection.execute(wanted).mappings().first()
    return None if row is None else _head(row)


def _insert(connection: Connection, draft: Draft, number: int, made_at: float) -> Revision:
    head = _head_of(draft, number, made_at)
    connection.execute(
        insert(rule_revisions).values(
            number=head.number,
            origin=head.origin.value,
            author=head.author,
            made_at=head.made_at,
            digest=str(head.digest),
            comment=head.comment,
            based_on=head.based_on,
            content=draft.content,
        )
    )
    return Revision(head, draft.content)


def _head_of(draft: Draft, number: int, made_at: float) -> RevisionHead:
    return RevisionHead(
        number=number,
        origin=draft.origin,
        author=_storable(draft.author),
        made_at=made_at,
        digest=Digest.of(draft.content),
        size_bytes=len(draft.content),
        comment=_storable(draft.comment),
        based_on=draft.based_on,
    )


def _head(row: RowMapping) -> RevisionHead:
    return RevisionHead(
        number=row["number"],
        origin=RevisionOrigin(row["origin"]),
        author=row["author"],
        made_at=row["made_at"],
        digest=Digest.parse(row["digest"]),
        size_bytes=row["size_bytes"],
        comment=row["comment"],
        based_on=row["based_on"],
    )


def _of(origins: Collection[RevisionOrigin] | None) -> tuple[ColumnElement[bool], ...]:
    return () if origins is None else (rule_revisions.c.origin.in_([origin.value for origin in origins]),)


def _in_range(number: int) -> int:
    return max(0, min(number, _MAX_NUMBER))


def _storable(words: str) -> str:
    return _UNSTORABLE.sub("\ufffd", words)
