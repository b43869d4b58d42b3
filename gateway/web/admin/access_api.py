"""The admin API of who may sign in, who is signed in, and what was done."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

import msgspec

from gateway.access.roles import Role
from gateway.audit import AuditDesk
from gateway.oci.errors import Situation
from gateway.sign_in import TokenDesk
from gateway.store.admin_rows import AuditEntry, Token
from gateway.web.admin.operations import Call, Endpoint, Nothing, NumberCursor, Operation, Reply, number_of
from gateway.web.admin.pages import iso_time

_DAY_SECONDS = 86400.0
Name = Annotated[str, msgspec.Meta(max_length=100)]
Days = Annotated[int, msgspec.Meta(ge=1, le=3650)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=200)]


class WhoAmI(msgspec.Struct, frozen=True):
    """``has_session``: signed in by a browser, not by a token in a header."""

    name: str
    role: Role
    has_session: bool


class TokenFacts(msgspec.Struct, frozen=True):
    """A token, or the one-time link, without its secret; times in ISO 8601."""

    id: str
    name: str
    role: Role
    kind: str
    made_at: str
    made_by: str
    expires_at: str | None
    used_at: str | None


class TokenList(msgspec.Struct, frozen=True):
    tokens: Sequence[TokenFacts]


class TokenWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Without a name it gets one; without a number of days it does not expire."""

    role: Role = Role.VIEWER
    name: Name = ""
    expires_in_days: Days | None = None


class TokenMade(msgspec.Struct, frozen=True):
    """``secret`` is told this once."""

    token: TokenFacts
    secret: str


class AuditAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Limit = 50
    after: NumberCursor = ""


class AuditLine(msgspec.Struct, frozen=True):
    number: int
    made_at: str
    actor: str
    action: str
    subject: str
    detail: str


class AuditPage(msgspec.Struct, frozen=True):
    """Newest first; ``next`` is the ``after`` of what follows."""

    entries: Sequence[AuditLine]
    next: str | None


class AccessApi:
    """Answers each operation."""

    def __init__(self, tokens: TokenDesk, audit: AuditDesk) -> None:
        self._tokens = tokens
        self._audit = audit

    async def who_am_i(self, call: Call[Nothing, Nothing]) -> Reply[WhoAmI]:
        asker = call.asker
        return Reply(WhoAmI(asker.name, asker.role, asker.form_token is not None))

    async def list_tokens(self, _call: Call[Nothing, Nothing]) -> Reply[TokenList]:
        return Reply(TokenList([token_facts(one) for one in await self._tokens.list_all()]))

    async def create_token(self, call: Call[Nothing, TokenWanted]) -> Reply[TokenMade]:
        wanted, days = call.body, call.body.expires_in_days
        made = await self._tokens.make(
            wanted.name,
            wanted.role,
            call.asker.name,
            expires_in_seconds=None if days is None else days * _DAY_SECONDS,
        )
        return Reply(TokenMade(token_facts(made.token), made.secret))

    async def revoke_token(self, call: Call[Nothing, Nothing]) -> Reply[Nothing]:
        await self._tokens.revoke(call.path["id"], call.asker.name)
        return Reply(Nothing())

    async def list_audit(self, call: Call[AuditAsked, Nothing]) -> Reply[AuditPage]:
        limit = call.query.limit
        entries = await self._audit.entries(number_of(call.query.after), limit + 1)
        return Reply(AuditPage([_line(one) for one in entries[:limit]], next_cursor(entries, limit)))


def operations(tokens: TokenDesk, audit: AuditDesk) -> list[Endpoint]:
    api = AccessApi(tokens, audit)
    conflict, unknown = (Situation.CONFLICT,), (Situation.RESOURCE_NOT_KNOWN,)
    return [
        Operation("GET", "/whoami", "access", "Who am I", api.who_am_i, Nothing, Nothing, WhoAmI),
        Operation(
            "GET", "/tokens", "access", "Who may sign in", api.list_tokens, Nothing, Nothing, TokenList
        ),
        Operation(
            "POST",
            "/tokens",
            "access",
            "Make a token",
            api.create_token,
            Nothing,
            TokenWanted,
            TokenMade,
            role=Role.EDITOR,
            status=HTTPStatus.CREATED,
            refusals=conflict,
        ),
        Operation(
            "DELETE",
            "/tokens/{id}",
            "access",
            "End a token, and its sessions",
            api.revoke_token,
            Nothing,
            Nothing,
            Nothing,
            role=Role.EDITOR,
            status=HTTPStatus.NO_CONTENT,
            refusals=unknown,
        ),
        Operation("GET", "/audit", "access", "What was done", api.list_audit, AuditAsked, Nothing, AuditPage),
    ]


def token_facts(token: Token) -> TokenFacts:
    return TokenFacts(
        id=token.id,
        name=token.name,
        role=Role(token.role),
        kind=token.kind.value,
        made_at=iso_time(token.made_at),
        made_by=token.made_by,
        expires_at=None if token.expires_at is None else iso_time(token.expires_at),
        used_at=None if token.used_at is None else iso_time(token.used_at),
    )


def next_cursor(entries: Sequence[AuditEntry], limit: int) -> str | None:
    """That of what follows the first ``limit``, where anything does."""
    return str(entries[limit - 1].number) if len(entries) > limit else None


def _line(entry: AuditEntry) -> AuditLine:
    deed = entry.deed
    made_at = iso_time(entry.made_at)
    return AuditLine(entry.number, made_at, deed.actor, deed.action, deed.subject, deed.detail)
