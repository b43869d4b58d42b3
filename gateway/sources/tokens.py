"""The token dance: a registry's challenge becomes a token, kept until shortly before its end."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlencode

import structlog
from cachetools import LRUCache

from gateway.flights import Flights
from gateway.oci.challenge import Challenge, ChallengeError, parse_challenges
from gateway.oci.decoding import Json, JsonError, parse_json
from gateway.oci.outcomes import Corrupt, Denied, Outcome, Unavailable, UnknownHost, Withheld
from gateway.oci.target import Target
from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.sources.http import ANONYMOUS, Answer, Http
from gateway.sources.registry_place import Places, UpstreamRepository

log = structlog.get_logger(__name__)

MAX_TOKEN_BYTES: Final = 64 * 1024
LEAST_SECONDS: Final = 60
MOST_SECONDS: Final = 3600
EARLY_SECONDS: Final = 10.0
_REMEMBERED: Final = 10_000
_TOKEN = re.compile(r"[!-~]+")
_TEXT = re.compile(r"[ -~]{1,1024}")


@dataclass(frozen=True, slots=True)
class Token:
    """An Authorization header; ``has_credentials``: it stands for credentials of ours."""

    authorization: str
    has_credentials: bool
    ends_at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 401: its challenges, what was refused where that was a token, and whether credentials went along."""

    challenges: str
    token: Token | None
    has_credentials: bool


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who may use a token: a repository, on whose behalf, by which rules. It keeps no rule set alive."""

    base: HttpUrl
    name: str
    home: Target
    target: Target
    rules_number: int


@dataclass(frozen=True, slots=True)
class _Realm:
    url: HttpUrl
    scope: str


class Tokens:
    """One token for each repository, for whom it is asked and by which rules, never shared.

    What other rules got a token for, these may not ask for. ``monotonic`` gives seconds.
    """

    def __init__(self, http: Http, places: Places, monotonic: Callable[[], float]) -> None:
        self._http = http
        self._places = places
        self._monotonic = monotonic
        self._held: LRUCache[_Holder, Token] = LRUCache(_REMEMBERED)
        self._flights: Flights[Token] = Flights()

    def held(self, repository: UpstreamRepository) -> Token | None:
        token = self._held.get(self._holder(repository))
        return token if token is not None and self._monotonic() < token.ends_at else None

    async def renewed(self, repository: UpstreamRepository, refusal: Refusal) -> Token | None:
        """Return another token than the refused one, None where it is worth trying without.

        Raise Withheld or Denied where nothing is left: passwords go along unasked where there are any.
        """
        held = self.held(repository)
        if held is not None and held != refusal.token:  # somebody was quicker
            return held
        holder = self._holder(repository)
        self._held.pop(holder, None)
        challenges = _challenges(repository, refusal.challenges)
        bearer = next((one for one in challenges if one.scheme == "bearer"), None)
        if bearer is not None:
            realm = _realm(repository, bearer)
            start = partial(self._fetch, repository, realm, refusal)
            return await self._flights.join((holder, str(realm.url), refusal.has_credentials), start)
        if refusal.token is not None:
            return None
        raise refused(repository, has_credentials=refusal.has_credentials)

    async def drain(self) -> None:
        await self._flights.drain()

    def _holder(self, repository: UpstreamRepository) -> _Holder:
        errand = repository.errand
        number = self._places.number_of(errand.rules)
        return _Holder(repository.base, repository.name, repository.home, errand.target, number)

    def _credentials(self, repository: UpstreamRepository, realm: HttpUrl, refusal: Refusal) -> str | None:
        """On another's behalf only where credentials went along before: then that other is trusted."""
        if not repository.is_own and not refusal.has_credentials:
            return None
        return self._places.realm_authorization(realm, repository.own_errand)

    async def _fetch(self, repository: UpstreamRepository, realm: _Realm, refusal: Refusal) -> Token:
        self._places.require_realm(realm.url, repository.own_errand)
        authorization = self._credentials(repository, realm.url, refusal)
        if authorization is None and refusal.has_credentials:
            log.warning("realm_without_credentials", registry=str(repository), realm=realm.url.host)
        has_credentials = refusal.has_credentials or authorization is not None
        try:
            content = await self._ask(repository, realm.url, authorization, has_credentials=has_credentials)
        except UnknownHost as error:  # of the token server: the registry itself is known
            raise Unavailable(error.message) from error
        text, lasts_seconds = _read(realm.url, content)
        ends_at = self._monotonic() + lasts_seconds - EARLY_SECONDS
        return self._keep(repository, Token(f"Bearer {text}", has_credentials, ends_at))

    async def _ask(
        self,
        repository: UpstreamRepository,
        realm: HttpUrl,
        authorization: str | None,
        *,
        has_credentials: bool,
    ) -> bytes:
        headers = {"Accept": "application/json"}
        signature = authorization or ANONYMOUS  # also where the realm is a place that we sign in to
        async with self._http.get(
            realm, repository.errand, headers, authorization=signature, follow=0
        ) as answer:
            if answer.status in (401, 403):
                raise refused(repository, has_credentials=has_credentials)
            _require_granted(answer)
            return b"".join([chunk async for chunk in answer.chunks(MAX_TOKEN_BYTES)])

    def _keep(self, repository: UpstreamRepository, token: Token) -> Token:
        self._held[self._holder(repository)] = token
        return token


def refused(repository: UpstreamRepository, *, has_credentials: bool) -> Outcome:
    """401 or 403 for good: registries say so of what is not there; with credentials it is a refusal."""
    if has_credentials:
        return Denied(f"{repository} refuses the credentials that are configured for it")
    return Withheld(f"{repository} is not there, or not for everyone")


def _challenges(repository: UpstreamRepository, text: str) -> tuple[Challenge, ...]:
    try:
        return parse_challenges(text)
    except ChallengeError as error:
        raise Corrupt(f"{repository} asks in an unknown way who we are: {error}", "bad_challenge") from error


def _realm(repository: UpstreamRepository, challenge: Challenge) -> _Realm:
    """The URL that gives a token for pulling: the challenge's realm, service and scope."""
    scope = challenge.parameters.get("scope") or f"repository:{repository.name}:pull"
    if not _TEXT.fullmatch(scope):
        raise Corrupt(f"{repository} asks for a scope that no token has", "bad_challenge")
    try:
        realm = parse_upstream_url(challenge.parameters.get("realm", ""))
    except UrlError as error:
        raise Corrupt(
            f"{repository} names a place for tokens that is not asked: {error}", "bad_realm"
        ) from error
    service = challenge.parameters.get("service", "")
    wanted = [("service", service)] if _TEXT.fullmatch(service) else []
    query = urlencode([*wanted, *(("scope", one) for one in scope.split(" ") if one)])
    joined = f"{realm.query}&{query}" if realm.query else query
    return _Realm(HttpUrl(realm.scheme, realm.host, realm.port, realm.path, joined), scope)


def _require_granted(answer: Answer) -> None:
    """A token server that has no such page is a broken one: that says nothing of the repository."""
    if 400 <= answer.status < 500 and answer.status not in (408, 429):
        raise Unavailable(f"{answer.name} answered {answer.status} where it should give a token")
    answer.require_ok("a token")


def _read(realm: HttpUrl, content: bytes) -> tuple[str, int]:
    """The token, and for how many seconds it is good."""
    try:
        members = parse_json(content, MAX_TOKEN_BYTES)
    except JsonError as error:
        raise Corrupt(f"{realm.host} gave no token: {error}", "bad_token") from error
    if not isinstance(members, dict):
        raise Corrupt(f"{realm.host} gave no token: it is no object", "bad_token")
    text = members.get("token") or members.get("access_token")
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise Corrupt(f"{realm.host} gave no token that can be sent", "bad_token")
    return text, _lasts_seconds(members.get("expires_in"))


def _lasts_seconds(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        return LEAST_SECONDS
    return min(max(value, LEAST_SECONDS), MOST_SECONDS)
