"""The token dance's other side: who gets a token, for what, and which tokens still count."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.fakes.messages import Answer, Request
from tests.fakes.server import FakeServer


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a password account is called, and its word."""

    user: str = "robot"
    password: str = "s3cret"

    @property
    def authorization(self) -> str:
        """The header's value for Basic."""
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


@dataclass(slots=True)
class TokenIssuer:
    """Hands out tokens for the scopes asked, and knows them again; each switch may be set at any time.

    ``expires_in`` None leaves the member out, and any value goes out as it is. ``private_names`` are never
    granted to who came without credentials: he gets a token that opens nothing there, as from Docker Hub.
    """

    account: Credentials = field(default_factory=Credentials)
    has_anonymous: bool = True
    expires_in: object = 300
    member: str = "token"  # or access_token
    private_names: set[str] = field(default_factory=set)
    granted: dict[str, frozenset[str]] = field(default_factory=dict)  # scopes by token still good
    issued: list[str] = field(default_factory=list)  # every token there ever was, in order

    def revoke_tokens(self) -> None:
        """Let every token be over; a client learns of it by a 401."""
        self.granted.clear()

    def answer(self, request: Request) -> Answer:
        """Give a token, or 401 to wrong credentials and to none where none is not enough."""
        authorization = request.headers.get("authorization")
        if authorization != self.account.authorization and (authorization or not self.has_anonymous):
            return error_answer(401, "UNAUTHORIZED", "incorrect username or password")
        asked = parse_qs(urlsplit(request.target).query).get("scope", [])
        scopes = [scope for part in asked for scope in part.split(" ")]
        if authorization is None:
            scopes = [scope for scope in scopes if _name_in(scope) not in self.private_names]
        return self._answer_with(self.issue(scopes))

    def issue(self, scopes: Sequence[str]) -> str:
        """Make a token that opens these scopes."""
        token = f"token-{len(self.issued)}"
        self.issued.append(token)
        self.granted[token] = frozenset(scopes)
        return token

    def opens(self, token: str, scope: str | None) -> bool:
        """Whether a token is good still, and for this scope."""
        scopes = self.granted.get(token)
        return scopes is not None and (scope is None or scope in scopes)

    def _answer_with(self, token: str) -> Answer:
        members: dict[str, object] = {self.member: token, "issued_at": "2024-05-06T07:08:09Z"}
        if self.expires_in is not None:
            members["expires_in"] = self.expires_in
        return json_answer(200, members)


class TokenServer(FakeServer):
    """A realm on a host of its own: every path gives tokens that the registry with this issuer takes."""

    def __init__(self, issuer: TokenIssuer) -> None:
        super().__init__()
        self.issuer = issuer

    @property
    def realm(self) -> str:
        return f"{self.origin}/token"

    def answer(self, request: Request) -> Answer:
        return self.issuer.answer(request)


def json_answer(status: int, value: object, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, body)


def error_answer(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None, detail: object = None
) -> Answer:
    """An OCI error body."""
    return json_answer(
        status, {"errors": [{"code": code, "message": message, "detail": detail or {}}]}, headers
    )


def _name_in(scope: str) -> str:
    """The repository in ``repository:<name>:<actions>``."""
    return scope.removeprefix("repository:").rpartition(":")[0]
