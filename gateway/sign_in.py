"""Signing in at the admin's desk: by ADMIN_TOKEN, by a token, once by a link; sessions of browsers."""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import structlog

from gateway.access.roles import Role, SignedIn
from gateway.oci.errors import OciError, Situation
from gateway.store.admin_book import AdminBook
from gateway.store.admin_link import LinkFile
from gateway.store.admin_rows import Deed, NameTaken, Session, Token, TokenKind, TooManyTokens
from gateway.store.blobs import StorageFailed

log = structlog.get_logger(__name__)

ADMIN_TOKEN: Final = "ADMIN_TOKEN"  # noqa: S105 (what who signed in with that setting is called)
LINK_NAME: Final = "one-time link"
LINK_PATH: Final = "/admin/welcome"
SESSION_SECONDS: Final = 12 * 3600.0
IDLE_SECONDS: Final = 30 * 60.0
_LINK_SECONDS = 24 * 3600.0
_NOTED_SECONDS = 60.0  # that somebody was here is written down this often
_SKEW_SECONDS = 300.0  # what is made later than this from now was made by a clock that is wrong
_EXPIRED_SHOWN_SECONDS = 30 * 86400.0
_PAUSE_SECONDS = 60.0
_NAME = re.compile(r"[^\s](?:.{0,98}[^\s])?")
_RESERVED = frozenset({ADMIN_TOKEN, LINK_NAME})


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that has just begun; the browser's cookie holds its ``secret``."""

    secret: str
    asker: SignedIn


@dataclass(frozen=True, slots=True)
class MadeToken:
    """A new token; its ``secret`` is told this once."""

    token: Token
    secret: str


class SignIn:
    """``admin_token`` is the setting; ``now`` gives seconds since the epoch."""

    def __init__(self, book: AdminBook, admin_token: str | None, now: Callable[[], float]) -> None:
        self._book = book
        self._admin_token = admin_token
        self._now = now

    async def by_secret(self, secret: str) -> SignedIn | None:
        """Who has this token; the database is not needed for ADMIN_TOKEN."""
        if self._is_admin_token(secret):
            return SignedIn(ADMIN_TOKEN, Role.EDITOR)
        token = await self._token(secret)
        return None if token is None else SignedIn(token.name, Role(token.role))

    async def by_session(self, secret: str) -> SignedIn | None:
        """Who has this session, as what they signed in with is now; None where it is over."""
        found = await self._book.session_of(_digest(secret))
        now = self._now()
        if found is None or not _is_running(found[0], now):
            return None
        session, token = found
        asker = self._asker(session, token, secret, now)
        if asker is not None and now - session.seen_at >= _NOTED_SECONDS:
            with suppress(StorageFailed):
                await self._book.see_session(session.secret_digest, now)
        return asker

    async def begin(self, secret: str) -> Opened | None:
        """Begin a session by a token; None where it is none that is good."""
        if self._is_admin_token(secret):
            opened = _open(ADMIN_TOKEN, Role.EDITOR)
            session = self._session(opened, _bound(opened.secret, secret))
        else:
            token = await self._token(secret)
            if token is None:
                return None
            opened = _open(token.name, Role(token.role))
            session = self._session(opened, token.id)
        await self._book.add_session(session, Deed(opened.asker.name, "sign-in", "by a token"))
        return opened

    async def begin_by_link(self, secret: str) -> Opened | None:
        """Use up a link; None where it is used, or has expired."""
        link = await self._link(secret)
        if link is None:
            return None
        opened = _open(link.name, Role(link.role))
        deed = Deed(link.name, "sign-in", "by the one-time link")
        is_begun = await self._book.use_link(link, self._session(opened, link.id), deed)
        return opened if is_begun else None

    async def is_link(self, secret: str) -> bool:
        """Whether a link is good; this does not use it up."""
        return await self._link(secret) is not None

    async def end(self, secret: str, asker: SignedIn) -> None:
        await self._book.remove_session(_digest(secret), Deed(asker.name, "sign-out", ""), self._now())

    async def _token(self, secret: str) -> Token | None:
        """One that is good; that it was used is noted."""
        token, now = await self._book.token_of(_digest(secret)), self._now()
        if token is None or token.kind is TokenKind.LINK or is_expired(token, now):
            return None
        if token.used_at is None or abs(now - token.used_at) >= _NOTED_SECONDS:
            with suppress(StorageFailed):  # a disk that is full keeps nobody out
                await self._book.note_used(token.id, now)
        return token

    async def _link(self, secret: str) -> Token | None:
        link = await self._book.token_of(_digest(secret))
        if link is None or link.kind is TokenKind.TOKEN or is_expired(link, self._now()):
            return None
        return link if link.used_at is None else None

    def _asker(self, session: Session, token: Token | None, secret: str, now: float) -> SignedIn | None:
        if session.token.startswith(f"{ADMIN_TOKEN}:"):
            expected = None if self._admin_token is None else _bound(secret, self._admin_token)
            is_same = expected is not None and hmac.compare_digest(expected, session.token)
            return SignedIn(ADMIN_TOKEN, Role.EDITOR, session.form_token) if is_same else None
        if token is None or (token.kind is TokenKind.TOKEN and is_expired(token, now)):
            return None
        return SignedIn(token.name, Role(token.role), session.form_token)

    def _is_admin_token(self, secret: str) -> bool:
        if self._admin_token is None:
            return False
        return hmac.compare_digest(_digest(secret), _digest(self._admin_token))

    def _session(self, opened: Opened, signed_with: str) -> Session:
        now = self._now()
        form_token = opened.asker.form_token or ""
        return Session(_digest(opened.secret), signed_with, form_token, made_at=now, seen_at=now)


class TokenDesk:
    """Makes and ends tokens; whoever does it is noted in the audit."""

    def __init__(self, book: AdminBook, now: Callable[[], float]) -> None:
        self._book = book
        self._now = now

    async def list_all(self) -> Sequence[Token]:
        """Also links: what was begun by one ends with it."""
        return await self._book.tokens()

    async def make(
        self, name: str, role: Role, actor: str, *, expires_in_seconds: float | None = None
    ) -> MadeToken:
        """Raise OciError CONFLICT for a name that cannot be one, or is another's; an empty one is made up."""
        token_id = secrets.token_hex(6)
        token = Token(
            id=token_id,
            name=_require_name(name or f"token {token_id}"),
            role=role.value,
            kind=TokenKind.TOKEN,
            made_at=self._now(),
            made_by=actor,
            expires_at=None if expires_in_seconds is None else self._now() + expires_in_seconds,
        )
        secret = f"gw_{secrets.token_urlsafe(32)}"
        deed = Deed(actor, "token.create", f"{token.name} ({token.id})", f"role {role.value}")
        try:
            await self._book.add_token(token, _digest(secret), deed)
        except NameTaken as error:
            message = f"there is a token {name!r} already: give another name, or revoke that one first"
            raise OciError(Situation.CONFLICT, message) from error
        except TooManyTokens as error:
            message = "there are as many tokens as there may be: revoke those that nobody needs"
            raise OciError(Situation.CONFLICT, message) from error
        return MadeToken(token, secret)

    async def revoke(self, token_id: str, actor: str) -> Token:
        """End a token, and every session that was begun with it. Raise OciError RESOURCE_NOT_KNOWN."""
        token = await self._book.remove_token(token_id, actor, self._now())
        if token is None:
            raise OciError(Situation.RESOURCE_NOT_KNOWN, f"there is no token {token_id[:40]!r}")
        return token


class FirstLink:
    """The one-time link: where nobody could sign in yet, it leads in once.

    ``maker`` is this gateway, by its instance id: replicas on one database each have a link of their own.
    """

    def __init__(
        self,
        book: AdminBook,
        file: LinkFile,
        maker: str,
        now: Callable[[], float],
        *,
        has_admin_token: bool,
    ) -> None:
        self._book = book
        self._file = file
        self._maker = maker
        self._now = now
        self._has_admin_token = has_admin_token

    async def tend(self, base_url: str, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Write a link if one is needed, once; remove what is over, all the time."""
        is_written = False
        while True:
            try:
                if not is_written:
                    await self.write(base_url)
                    is_written = True
                await self.tidy()
            except StorageFailed as error:
                log.warning("admin_book_unavailable", reason=str(error), until="the database answers")
            await sleep(_PAUSE_SECONDS)

    async def write(self, base_url: str) -> None:
        """Tell a new link in the log and the file, unless there is a token; earlier ones of ours end."""
        if self._has_admin_token:
            await self._book.remove_links(self._maker)
            return
        secret, now = secrets.token_urlsafe(32), self._now()
        link = Token(
            id=secrets.token_hex(6),
            name=LINK_NAME,
            role=Role.EDITOR.value,
            kind=TokenKind.LINK,
            made_at=now,
            made_by=self._maker,
            expires_at=now + _LINK_SECONDS,
        )
        if not await self._book.replace_link(link, _digest(secret)):
            return
        url = f"{base_url}{LINK_PATH}?{urlencode({'link': secret})}"
        log.warning(
            "admin_link", url=url, file=str(self._file.path), why="nobody can sign in yet", lasts="24h"
        )
        try:
            await asyncio.to_thread(self._file.write, url)
        except OSError as error:
            log.warning("admin_link_not_written", file=str(self._file.path), reason=error.strerror)

    async def tidy(self) -> None:
        """Remove sessions that are over, tokens long expired, the file of a link that is used or expired."""
        now = self._now()
        await self._book.sweep(now - SESSION_SECONDS, now - IDLE_SECONDS, now - _EXPIRED_SHOWN_SECONDS)
        if not await self._book.has_link(self._maker, now):
            with suppress(OSError):
                await asyncio.to_thread(self._file.remove)


def is_expired(token: Token, now: float) -> bool:
    return token.expires_at is not None and token.expires_at <= now


def _is_running(session: Session, now: float) -> bool:
    """A clock that was set back makes nothing last longer."""
    is_new = session.made_at > now - SESSION_SECONDS and session.seen_at > now - IDLE_SECONDS
    return is_new and max(session.made_at, session.seen_at) <= now + _SKEW_SECONDS


def _require_name(name: str) -> str:
    if not _NAME.fullmatch(name) or not name.isprintable() or name in _RESERVED:
        message = f"{name[:40]!r} cannot be a token's name: 1 to 100 characters, none that cannot be printed"
        raise OciError(Situation.CONFLICT, message)
    return name


def _open(name: str, role: Role) -> Opened:
    return Opened(secrets.token_urlsafe(32), SignedIn(name, role, form_token=secrets.token_hex(32)))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _bound(session_secret: str, admin_token: str) -> str:
    """Ties a session to ADMIN_TOKEN; who reads the database cannot try out what that may be."""
    bound = hmac.new(session_secret.encode(), admin_token.encode(), hashlib.sha256).hexdigest()
    return f"{ADMIN_TOKEN}:{bound}"
