"""The admin's book: who may sign in, who did, and what was done; asked in threads."""

from collections.abc import Sequence

from gateway.store import admin_queries as queries
from gateway.store.admin_rows import AuditEntry, Deed, Session, Token
from gateway.store.engine import Engines


class AdminBook:
    """Errors of the database are StorageFailed. The engines are those of ``DataDir.open_rule_engines``."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def tokens(self) -> Sequence[Token]:
        return await self._engines.ask(queries.tokens)

    async def token_of(self, secret_digest: str) -> Token | None:
        return await self._engines.ask(queries.token_of, secret_digest)

    async def add_token(self, token: Token, secret_digest: str, deed: Deed) -> None:
        """Raise NameTaken, TooManyTokens."""
        await self._engines.tell(queries.add_token, token, secret_digest, deed)

    async def remove_token(self, token_id: str, actor: str, now: float) -> Token | None:
        """End a token and its sessions; None where there is none."""
        return await self._engines.tell(queries.remove_token, token_id, actor, now)

    async def note_used(self, token_id: str, now: float) -> None:
        await self._engines.tell(queries.note_used, token_id, now)

    async def replace_link(self, link: Token, secret_digest: str) -> bool:
        """Make a link in place of its maker's earlier ones; False where there is a token by now."""
        return await self._engines.tell(queries.replace_link, link, secret_digest)

    async def remove_links(self, made_by: str) -> None:
        """End what nobody used yet of a maker's links."""
        await self._engines.tell(queries.remove_links, made_by)

    async def use_link(self, link: Token, session: Session, deed: Deed) -> bool:
        """Begin a session by a link, which ends all links; False where it was used before."""
        return await self._engines.tell(queries.use_link, link, session, deed)

    async def has_link(self, made_by: str, now: float) -> bool:
        return await self._engines.ask(queries.has_link, made_by, now)

    async def session_of(self, secret_digest: str) -> tuple[Session, Token | None] | None:
        """A session, and what it was begun with as that is now."""
        return await self._engines.ask(queries.session_of, secret_digest)

    async def add_session(self, session: Session, deed: Deed) -> None:
        await self._engines.tell(queries.add_session, session, deed)

    async def see_session(self, secret_digest: str, now: float) -> None:
        await self._engines.tell(queries.see_session, secret_digest, now)

    async def remove_session(self, secret_digest: str, deed: Deed, now: float) -> None:
        await self._engines.tell(queries.remove_session, secret_digest, deed, now)

    async def sweep(self, sessions_before: float, seen_before: float, tokens_before: float) -> None:
        await self._engines.tell(queries.sweep, sessions_before, seen_before, tokens_before)

    async def note(self, deed: Deed, now: float) -> None:
        await self._engines.tell(queries.note, deed, now)

    async def audited(self, before: int | None, limit: int) -> Sequence[AuditEntry]:
        """Entries with a number below ``before``, newest first."""
        return await self._engines.ask(queries.audited, before, limit)
