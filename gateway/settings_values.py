"""What each setting may be: its text turned into a value, or a ValueError that says what was expected."""

import re
from collections.abc import Callable
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeAlias, TypeVar

from gateway.helm.gzip_stream import MAX_COMPRESSED
from gateway.oci.postgres_url import EXPECTED as POSTGRES_EXPECTED
from gateway.oci.postgres_url import PostgresUrl, PostgresUrlError, parse_postgres_url
from gateway.oci.urls import HttpUrl, parse_upstream_url
from gateway.rules import quantities
from gateway.rules.spelling import nearest

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")
_SQLITE = re.compile(r"sqlite:///(?!:memory:)[^?#\x00-\x1f]+")
_ADMIN_TOKEN = re.compile(r"[!-~]{16,512}")
_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})

_EVERYBODY = "whoever connects could then say which host was asked; list your proxies, such as 10.0.0.0/8"
_IPV4_MAPPED = IPv6Network("::ffff:0:0/96")

Network: TypeAlias = IPv4Network | IPv6Network
Choice = TypeVar("Choice", bound=StrEnum)


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """``auto``: console on a terminal, else JSON."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class RulesEditedIn(StrEnum):
    """Where rules may be changed: in both places, in the file alone, or in the pages, and the file seeds."""

    BOTH = "both"
    FILE = "file"
    ADMIN = "admin"


def parse_boolean(text: str) -> bool:
    if text.lower() not in _YES | _NO:
        raise ValueError("expected true or false")
    return text.lower() in _YES


def parse_host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("expected an address or a host name to listen on, without a port")
    return text


def whole_number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not _WHOLE_NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(text)

    return parse


def parse_admin_port(text: str) -> int | None:
    """None for ``off``: also as YAML 1.1 reads it."""
    if text.lower() in ("off", "false"):
        return None
    try:
        return whole_number(0, 65535)(text)
    except ValueError:
        raise ValueError("expected a port, a whole number from 0 to 65535, or off") from None


def parse_path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError("expected a path")
    return Path(text)


def choice(kind: type[Choice]) -> Callable[[str], Choice]:
    def parse(text: str) -> Choice:
        if text.lower() not in set(kind):
            near = nearest(text, kind)
            also = f"; did you mean {near}?" if near else ""
            raise ValueError(f"expected {', '.join(kind)}{also}")
        return kind(text.lower())

    return parse


def parse_size(text: str) -> int:
    size_bytes = quantities.parse_size(text)
    if size_bytes == 0:
        raise ValueError("expected a size above 0")
    return size_bytes


def parse_chart_size(text: str) -> int:
    """Return a size that chart archives are read up to; Helm, too, takes no larger ones."""
    size_bytes = parse_size(text)
    if size_bytes > MAX_COMPRESSED:
        raise ValueError(f"expected at most {MAX_COMPRESSED >> 20}M, beyond which no chart archive is read")
    return size_bytes


def parse_timeout(text: str) -> float:
    seconds = quantities.parse_duration(text)
    if not 0 < seconds <= 600:
        raise ValueError(f"expected {quantities.DURATION_EXPECTED}, above 0 and at most 10m")
    return seconds


class SecretValueError(ValueError):
    """A value that may hold a password is wrong: it is not to be repeated."""


def parse_admin_token(text: str) -> str:
    if not _ADMIN_TOKEN.fullmatch(text):
        raise SecretValueError(
            "expected 16 to 512 letters, digits and signs of ASCII without spaces, best made by chance: "
            "openssl rand -hex 32"
        )
    return text


def parse_database_url(text: str) -> Path | PostgresUrl:
    """Return the path of the SQLite file, or the PostgreSQL server."""
    if _SQLITE.fullmatch(text):
        return Path(text.removeprefix("sqlite:///"))
    if text.startswith("sqlite:") or not any(mark in text for mark in ("postgres", "@", "?")):
        raise ValueError(f"expected sqlite:///path or {POSTGRES_EXPECTED}")
    try:
        return parse_postgres_url(text)
    except PostgresUrlError as error:
        raise SecretValueError(f"{error}; or sqlite:///path") from None


def parse_public_url(text: str) -> HttpUrl:
    url = parse_upstream_url(text)
    if url.query is not None or url.path != "/":
        raise ValueError("expected https://host or https://host:port, without path or query")
    return url


def parse_trusted_proxies(text: str) -> tuple[Network, ...]:
    """Read addresses and networks between commas or spaces; ``none``, or nothing, is nobody."""
    words = text.replace(",", " ").split()
    return () if words == ["none"] else tuple(dict.fromkeys(map(_parse_network, words)))


def _parse_network(word: str) -> Network:
    if word == "*":
        raise ValueError(_EVERYBODY)
    try:
        network = _unmapped(ip_network(word))
    except ValueError as error:
        raise ValueError(f"{word[:50]!r} is no address or network{_hint_for(word)}") from error
    if network.prefixlen == 0:
        raise ValueError(_EVERYBODY)
    return network


def _hint_for(word: str) -> str:
    """What was meant, perhaps: an address with the length of its network is the commonest mistake."""
    try:
        return f"; did you mean {ip_network(word, strict=False)}?"
    except ValueError:
        return ", such as 10.1.2.3, 10.0.0.0/8 or fd00::/8"


def _unmapped(network: Network) -> Network:
    """IPv4 where IPv6 only wraps it, as the addresses of clients are compared."""
    if isinstance(network, IPv4Network) or not network.subnet_of(_IPV4_MAPPED):
        return network
    return IPv4Network((network.network_address.packed[-4:], network.prefixlen - 96))
