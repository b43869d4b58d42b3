"""Where upstream content lies: one strict reading of http and https URLs, whoever wrote them."""

import ipaddress
import re
from dataclasses import dataclass

MAX_LENGTH = 8192  # signed download links are long
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/[^?]*)?"
    r"(?:\?(?P<query>.*))?",
    re.ASCII | re.IGNORECASE,
)
_ACCEPTABLE = re.compile(r"[!-~]+")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ENCODED_DOTS = re.compile(r"%2e|\.%2e|%2e\.|%2e%2e", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class UrlError(ValueError):
    """The text is no URL that we follow; the message says why, and never repeats a credential."""


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """An http or https URL without userinfo or fragment; host in lower case, port always known.

    ``path`` starts with ``/`` and has no dot segments; ``query`` is None where there is no ``?``.
    """

    scheme: str
    host: str
    port: int
    path: str = "/"
    query: str | None = None

    def __str__(self) -> str:
        return self.origin + self.path + ("" if self.query is None else f"?{self.query}")

    @property
    def authority(self) -> str:
        """Host and port as a Host header has them."""
        is_default = self.port == _DEFAULT_PORTS[self.scheme]
        return self.host if is_default else f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def place(self) -> str:
        """What a key of ``upstreams`` is compared with: host, port unless 443, path."""
        host = self.host if self.port == 443 else f"{self.host}:{self.port}"
        return (host + self.path).rstrip("/")


def parse_upstream_url(text: str) -> HttpUrl:
    """Read an absolute URL, or raise UrlError.

    Two parsers that disagree about a host are how guards are passed: so no userinfo, backslash, percent
    sign in the host, character outside ASCII, fragment, or address in other than its usual spelling.
    """
    _refuse_odd_characters(text)
    match = _URL.fullmatch(text)
    if match is None:
        raise UrlError(_what_is_wrong(text))
    scheme = match["scheme"].lower()
    return HttpUrl(
        scheme=scheme,
        host=_parse_host(match["host"].lower()),
        port=_parse_port(match["port"], scheme),
        path=_resolve_dots(match["path"] or "/"),
        query=match["query"],
    )


def _refuse_odd_characters(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise UrlError(f"longer than {MAX_LENGTH} characters")
    if not _ACCEPTABLE.fullmatch(text):
        raise UrlError("only visible ASCII characters may stand in a URL")
    if "\\" in text:
        raise UrlError("a backslash may not stand in a URL")
    if "#" in text:
        raise UrlError("a fragment (#) may not stand in a URL")


def _what_is_wrong(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in _DEFAULT_PORTS:
        return "it has to start with https:// or http://"
    if "@" in re.split(r"[/?]", rest, maxsplit=1)[0]:
        return "user and password may not stand in a URL"
    return "it needs a host name, and after it at most a port, a path and a query"


def _parse_host(host: str) -> str:
    if host.startswith("["):
        return _parse_ipv6(host)
    if not _HOST_NAME.fullmatch(host):
        raise UrlError(f"{host!r} is no host name")
    if _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]) and not _is_ipv4(host):
        raise UrlError(f"{host!r} is neither a host name nor an address in its usual spelling")
    return host


def _parse_ipv6(host: str) -> str:
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    except ValueError as error:
        raise UrlError(f"{host!r} is no IPv6 address") from error


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _parse_port(text: str | None, scheme: str) -> int:
    port = _DEFAULT_PORTS[scheme] if text is None else int(text)
    if port > 65535:
        raise UrlError(f"there is no port {port}")
    return port


def _resolve_dots(path: str) -> str:
    """RFC 3986 §5.2.4; an encoded dot segment is refused, since servers differ on it."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif _ENCODED_DOTS.fullmatch(segment):
            raise UrlError("an encoded dot segment may not stand in a URL")
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
