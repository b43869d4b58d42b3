"""Where a PostgreSQL database lies: one strict reading of its URL, whose password is never shown."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

EXPECTED = "postgresql://user:password@host:5432/database"
_URL = re.compile(
    r"postgres(?:ql)?://"
    r"(?:(?P<username>[^:/?#@]+)(?::(?P<password>[^:/?#@]*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})?(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"/(?P<database>[^/?#]+)"
    r"(?:\?(?P<query>[^#]+))?",
    re.ASCII,
)
_ACCEPTABLE = re.compile(r"[!-~]+", re.ASCII)
_OPTIONS = frozenset(
    {"host", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "channel_binding", "gssencmode"}
    | {"passfile", "target_session_attrs", "application_name", "options"}
)


class PostgresUrlError(ValueError):
    """The text is no such URL; the message never repeats any of it that may be a password."""


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """Its parts, decoded; ``options`` are libpq's own. What is None is libpq's default."""

    database: str
    host: str | None = None
    port: int | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """As it may be shown: without password and options."""
        user = "" if self.username is None else f"{self.username}@"
        port = "" if self.port is None else f":{self.port}"
        return f"postgresql://{user}{self.host or ''}{port}/{self.database}"


def parse_postgres_url(text: str) -> PostgresUrl:
    match = _URL.fullmatch(text) if _ACCEPTABLE.fullmatch(text) else None
    if match is None:
        raise PostgresUrlError(f"expected {EXPECTED}, with %40 for an @ in the password and so on")
    host, port = match["host"], match["port"]
    if port is not None and int(port) > 65535:
        raise PostgresUrlError("a port is at most 65535")
    return PostgresUrl(
        database=_decode(match["database"]),
        host=None if host is None else host.strip("[]"),
        port=None if port is None else int(port),
        username=None if match["username"] is None else _decode(match["username"]),
        password=None if match["password"] is None else _decode(match["password"]),
        options=_options(match["query"] or ""),
    )


def _options(query: str) -> tuple[tuple[str, str], ...]:
    try:
        options = tuple(parse_qsl(query, strict_parsing=bool(query), errors="strict"))
    except ValueError:
        raise PostgresUrlError("what follows the ? is not name=value&name=value") from None
    names = [name for name, _ in options]
    if len(set(names)) < len(names):
        raise PostgresUrlError("an option stands there twice")
    if not _OPTIONS.issuperset(names) or any("\0" in value for _, value in options):
        raise PostgresUrlError(f"options may be {', '.join(sorted(_OPTIONS))}")
    return options


def _decode(text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise PostgresUrlError("a part of it is not UTF-8 once its % are decoded") from None
    if "\0" in decoded:
        raise PostgresUrlError("a part of it has a NUL")
    return decoded
