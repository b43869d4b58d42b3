"""Who may sign in at the admin's desk, who did, and what was done there: rows as values."""

from dataclasses import dataclass
from enum import StrEnum


class TokenKind(StrEnum):
    """A link is used once, to begin a session; a token as often as one likes."""

    TOKEN = "token"  # noqa: S105 (no secret: the word)
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Token:
    """``expires_at`` None: never. Of its secret only the digest is kept, beside it."""

    id: str
    name: str
    role: str
    kind: TokenKind
    made_at: float
    made_by: str
    expires_at: float | None = None
    used_at: float | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """``token`` says what was signed in with; ``secret_digest`` is that of the cookie."""

    secret_digest: str
    token: str
    form_token: str
    made_at: float
    seen_at: float


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did, to be noted."""

    actor: str
    action: str
    subject: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A deed as it was noted."""

    number: int
    made_at: float
    deed: Deed


class NameTaken(Exception):
    """Another token has the name: the audit could not tell them apart."""


class TooManyTokens(Exception):
    """There are as many as there may be."""
