"""One question to a registry: signed with what is held, and asked once more where a token was wanted."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from gateway.oci.decoding import JsonError, parse_json
from gateway.oci.outcomes import Corrupt, Missing, MissingName, Unavailable
from gateway.oci.urls import HttpUrl
from gateway.sources.answers import Answer
from gateway.sources.http import Http
from gateway.sources.registry_place import UpstreamRepository
from gateway.sources.tokens import Refusal, Token, Tokens, refused

_MAX_REFUSAL_BYTES: Final = 64 * 1024
_NO_HEADERS: Final[Mapping[str, str]] = {}


class WebPage(Exception):
    """The cause of a Missing that came as a web page: perhaps it was no registry that answered."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a question that was asked as well as we can; ``has_credentials``: in our own name."""

    repository: UpstreamRepository
    answer: Answer
    has_credentials: bool

    async def require_ok(self, what: str) -> None:
        """Return for a 200; else raise the outcome. ``what`` names the thing asked for."""
        await self.require_asked(what)
        await self.answer.require_ok_or_loop(what)

    async def require_asked(self, what: str) -> None:
        """Raise where the registry has not the name at all, or would not talk to us of it."""
        if self.answer.status in (401, 403):
            raise refused(self.repository, has_credentials=self.has_credentials)
        if self.answer.status == 404:
            if self.is_page:
                raise Missing(f"{self.answer.name} answered 404 for {what}") from WebPage(self.answer.name)
            if await self._is_name_unknown():
                raise MissingName(f"{self.answer.name} knows no repository {self.repository.name}")

    @property
    def is_page(self) -> bool:
        """Whether it is a web page: what a registry never sends."""
        return (self.answer.header("content-type") or "").lower().startswith("text/html")

    async def _is_name_unknown(self) -> bool:
        try:
            body = b"".join([chunk async for chunk in self.answer.chunks(_MAX_REFUSAL_BYTES)])
            match parse_json(body, 2 * _MAX_REFUSAL_BYTES):
                case {"errors": [{"code": "NAME_UNKNOWN"}, *_]}:
                    return True
                case _:
                    return False
        except (Corrupt, Unavailable, JsonError):  # the status has said enough
            return False


class RegistryAsking:
    """The distribution protocol's way to ask: GET or HEAD below ``/v2/<name>/``."""

    def __init__(self, http: Http, tokens: Tokens) -> None:
        self._http = http
        self._tokens = tokens

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        repository: UpstreamRepository,
        path: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        query: str | None = None,
    ) -> AsyncIterator[Reply]:
        """Ask for ``path`` below the repository; a 401 is answered with a token, once."""
        base = repository.base
        url = replace(base, path=f"{base.path.rstrip('/')}/{repository.name}/{path}", query=query)
        token = self._tokens.held(repository)
        async with self._once(method, repository, url, headers, token) as answer:
            has_credentials = answer.has_credentials or (token is not None and token.has_credentials)
            if answer.status != 401:
                yield Reply(repository, answer, has_credentials)
                return
            challenges = answer.header("www-authenticate") or ""
        token = await self._tokens.renewed(repository, Refusal(challenges, token, has_credentials))
        async with self._once(method, repository, url, headers, token) as answer:
            has_credentials = has_credentials or (token is not None and token.has_credentials)
            yield Reply(repository, answer, has_credentials)

    def is_troubled(self, repository: UpstreamRepository) -> bool:
        return self._http.is_troubled(repository.base, repository.errand)

    def _once(
        self,
        method: str,
        repository: UpstreamRepository,
        url: HttpUrl,
        headers: Mapping[str, str],
        token: Token | None,
    ) -> AbstractAsyncContextManager[Answer]:
        authorization = None if token is None else token.authorization
        call = self._http.head if method == "HEAD" else self._http.get
        return call(url, repository.errand, headers, authorization=authorization)
