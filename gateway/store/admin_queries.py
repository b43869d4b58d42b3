"""Queries and commands of the admin's book, as functions of a connection; commands need a transaction.

For ``Engines.read`` and ``Engines.write`` where no loop runs; elsewhere AdminBook asks in threads. A command
may run twice, where the answer to its commit was lost: what it made already it does not make again.
"""

import re
from typing import Final

from sqlalchemy import Connection, RowMapping, and_, delete, func, insert, or_, select, text, update

from gateway.store.admin_rows import AuditEntry, Deed, NameTaken, Session, Token, TokenKind, TooManyTokens
from gateway.store.admin_tables import admin_sessions, admin_tokens, audit

MAX_TOKENS: Final = 200
_MAX_NUMBER = 2**31 - 1  # PostgreSQL's integer; SQLite's driver refuses more than 63 bits
_MAX_DETAIL = 100_000  # characters: the difference that a change of the rules made, and no more
_MAX_SUBJECT = 1_000
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL takes no NUL, and neither takes half a character
_IS_TOKEN = admin_tokens.c.kind == TokenKind.TOKEN.value
_IS_UNUSED_LINK = and_(admin_tokens.c.kind == TokenKind.LINK.value, admin_tokens.c.used_at.is_(None))


def tokens(connection: Connection) -> list[Token]:
    """All there are, oldest first."""
    wanted = select(admin_tokens).order_by(admin_tokens.c.made_at, admin_tokens.c.id)
    return [_token(row) for row in connection.execute(wanted).mappings()]


def token_of(connection: Connection, secret_digest: str) -> Token | None:
    wanted = select(admin_tokens).where(admin_tokens.c.secret_digest == secret_digest)
    row = connection.execute(wanted).mappings().first()
    return None if row is None else _token(row)


def session_of(connection: Connection, secret_digest: str) -> tuple[Session, Token | None] | None:
    """A session, and what it was begun with as that is now."""
    of_session = admin_sessions.c.secret_digest == secret_digest
    row = connection.execute(select(admin_sessions).where(of_session)).mappings().first()
    if row is None:
        return None
    session = Session(**row)
    of_token = select(admin_tokens).where(admin_tokens.c.id == session.token)
    token = connection.execute(of_token).mappings().first()
    return session, None if token is None else _token(token)


def add_token(connection: Connection, token: Token, secret_digest: str, deed: Deed) -> None:
    """Raise NameTaken, TooManyTokens. Links nobody used end: there is another way in now."""
    _await_turn(connection)
    found = tokens(connection)
    if any(one.id == token.id for one in found):
        return
    kept = [one for one in found if one.kind is TokenKind.TOKEN]
    if any(one.name == token.name for one in kept):
        raise NameTaken(token.name)
    if len(kept) >= MAX_TOKENS:
        raise TooManyTokens
    connection.execute(delete(admin_tokens).where(_IS_UNUSED_LINK))
    _insert_token(connection, token, secret_digest)
    note(connection, deed, token.made_at)


def replace_link(connection: Connection, link: Token, secret_digest: str) -> bool:
    """Make a link in place of its maker's earlier ones; False where there is a token that is good."""
    _await_turn(connection)
    is_good = or_(admin_tokens.c.expires_at.is_(None), admin_tokens.c.expires_at > link.made_at)
    if connection.execute(select(func.count()).where(_IS_TOKEN, is_good)).scalar():
        return False
    remove_links(connection, link.made_by)
    _insert_token(connection, link, secret_digest)
    return True


def remove_links(connection: Connection, made_by: str) -> None:
    """End what nobody used yet of a maker's links."""
    of_maker = and_(_IS_UNUSED_LINK, admin_tokens.c.made_by == made_by)
    connection.execute(delete(admin_tokens).where(of_maker))


def use_link(connection: Connection, link: Token, session: Session, deed: Deed) -> bool:
    """Begin a session by a link, which ends all links; False where it was used before."""
    _await_turn(connection)
    if session_of(connection, session.secret_digest) is not None:
        return True
    of_link = and_(_IS_UNUSED_LINK, admin_tokens.c.id == link.id)
    done = connection.execute(update(admin_tokens).where(of_link).values(used_at=session.made_at))
    if done.rowcount != 1:
        return False
    connection.execute(delete(admin_tokens).where(_IS_UNUSED_LINK))
    add_session(connection, session, deed)
    return True


def has_link(connection: Connection, made_by: str, now: float) -> bool:
    """Whether one that this gateway made still waits to be used."""
    is_good = and_(_IS_UNUSED_LINK, admin_tokens.c.made_by == made_by, admin_tokens.c.expires_at > now)
    return bool(connection.execute(select(func.count()).select_from(admin_tokens).where(is_good)).scalar())


def remove_token(connection: Connection, token_id: str, actor: str, now: float) -> Token | None:
    """End a token, and the sessions that were begun with it; None where there is none."""
    of_token = admin_tokens.c.id == token_id
    row = connection.execute(select(admin_tokens).where(of_token)).mappings().first()
    if row is None:
        return None
    connection.execute(delete(admin_sessions).where(admin_sessions.c.token == token_id))
    connection.execute(delete(admin_tokens).where(of_token))
    token = _token(row)
    note(connection, Deed(actor, "token.revoke", f"{token.name} ({token.id})"), now)
    return token


def note_used(connection: Connection, token_id: str, now: float) -> None:
    connection.execute(update(admin_tokens).where(admin_tokens.c.id == token_id).values(used_at=now))


def add_session(connection: Connection, session: Session, deed: Deed) -> None:
    if session_of(connection, session.secret_digest) is not None:
        return
    values = {name: getattr(session, name) for name in Session.__slots__}
    connection.execute(insert(admin_sessions).values(**values))
    note(connection, deed, session.made_at)


def see_session(connection: Connection, secret_digest: str, now: float) -> None:
    of_session = admin_sessions.c.secret_digest == secret_digest
    connection.execute(update(admin_sessions).where(of_session).values(seen_at=now))


def remove_session(connection: Connection, secret_digest: str, deed: Deed, now: float) -> None:
    of_session = admin_sessions.c.secret_digest == secret_digest
    if connection.execute(delete(admin_sessions).where(of_session)).rowcount:
        note(connection, deed, now)


def sweep(connection: Connection, sessions_before: float, seen_before: float, tokens_before: float) -> None:
    """Remove sessions made or seen last before then, and tokens that had expired by then."""
    is_over = or_(admin_sessions.c.made_at < sessions_before, admin_sessions.c.seen_at < seen_before)
    connection.execute(delete(admin_sessions).where(is_over))
    connection.execute(delete(admin_tokens).where(admin_tokens.c.expires_at < tokens_before))


def note(connection: Connection, deed: Deed, now: float) -> None:
    """Add a line to the audit, which nothing here changes or removes."""
    values = {
        "made_at": now,
        "actor": _storable(deed.actor, _MAX_SUBJECT),
        "action": deed.action,
        "subject": _storable(deed.subject, _MAX_SUBJECT),
        "detail": _storable(deed.detail, _MAX_DETAIL),
    }
    connection.execute(insert(audit).values(**values))


def audited(connection: Connection, before: int | None, limit: int) -> list[AuditEntry]:
    """Entries with a number below ``before``, newest first."""
    older = () if before is None else (audit.c.number < min(before, _MAX_NUMBER),)
    wanted = select(audit).where(*older).order_by(audit.c.number.desc()).limit(limit)
    return [_entry(row) for row in connection.execute(wanted).mappings()]


def _await_turn(connection: Connection) -> None:
    """One at a time counts on: on SQLite whoever writes is alone anyway; readers wait for nobody."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE admin_tokens IN SHARE ROW EXCLUSIVE MODE"))


def _insert_token(connection: Connection, token: Token, secret_digest: str) -> None:
    values = {name: getattr(token, name) for name in Token.__slots__}
    values |= {"kind": token.kind.value, "secret_digest": secret_digest}
    connection.execute(insert(admin_tokens).values(**values))


def _token(row: RowMapping) -> Token:
    values = {name: row[name] for name in Token.__slots__}
    return Token(**{**values, "kind": TokenKind(row["kind"])})


def _entry(row: RowMapping) -> AuditEntry:
    deed = Deed(row["actor"], row["action"], row["subject"], row["detail"])
    return AuditEntry(row["number"], row["made_at"], deed)


def _storable(words: str, most: int) -> str:
    fits = words if len(words) <= most else words[: most - 1] + "…"
    return _UNSTORABLE.sub("\ufffd", fits)
