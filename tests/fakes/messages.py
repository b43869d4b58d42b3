"""What goes over the wire between a test's client and a fake: requests, answers, and what spoils them."""

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from io import BufferedReader
from urllib.parse import unquote, urlsplit

_SIGN_IN_PAGE = (
    b"<!doctype html><html><head><title>Sign in</title></head><body>: [not an index]</body></html>"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked: ``target`` as it stood on the wire, header names in lower case; no body."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        """The decoded path, without the query."""
        return unquote(urlsplit(self.target).path)


@dataclass(frozen=True, slots=True)
class Answer:
    """Content-Length is always that of ``body``, also where a fault then sends something else."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class Faults:
    """What goes wrong with an answer; each switch may be set at any time, and holds from the next request."""

    slow_seconds: float = 0.0  # before the first byte
    silent: bool = False  # no byte at all, until ``release()`` is called
    reset: bool = False  # RST in place of an answer
    drip_seconds: float = 0.0  # between the bytes of the body
    truncated: bool = False  # half the body, then the connection ends
    wrong_bytes: bool = False  # the last byte of the body is another one, the length is right
    html: bool = False  # 200 with a sign-in page in place of the content
    status: int | None = None  # this status in place of the content
    headers: dict[str, str] = field(default_factory=dict)  # on every answer, e.g. Retry-After
    redirects_to: str | None = None  # 302 to this URL
    breaks_at: list[int] = field(default_factory=list)  # bytes of a body, then the connection ends; each once


def read_request(stream: BufferedReader) -> Request | None:
    """Read one request's head; None where the client has hung up, or speaks TLS to a plain server."""
    words = stream.readline().decode("latin-1").rstrip().split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        return None
    method, target, _ = words
    headers: dict[str, str] = {}
    while line := stream.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = line.partition(":")
        known = headers.get(name.lower())  # a list may come in several lines
        headers[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"
    return Request(method, target, headers)


def spoiled(faults: Faults, honest: Callable[[Request], Answer], request: Request) -> Answer:
    """Return what a server with these faults answers where an honest one is asked."""
    if faults.redirects_to is not None:
        answer = Answer(302, {"Location": faults.redirects_to})
    elif faults.status is not None:
        answer = Answer(faults.status, {"Content-Type": "text/plain"}, f"{faults.status}\n".encode())
    elif faults.html:
        answer = Answer(200, {"Content-Type": "text/html; charset=utf-8"}, _SIGN_IN_PAGE)
    else:
        answer = honest(request)
    if faults.wrong_bytes and answer.body:
        answer = replace(answer, body=answer.body[:-1] + bytes([answer.body[-1] ^ 1]))
    return replace(answer, headers={**answer.headers, **faults.headers})


def head_of(answer: Answer) -> bytes:
    """Return the status line and the headers, with the blank line that ends them."""
    lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Made Up')}"]
    if answer.status not in (204, 304):
        lines.append(f"Content-Length: {len(answer.body)}")
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
