"""Does an upstream answer? Asked as a pull would ask it; what comes of it is one word, and never a body."""

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import httpx

from gateway.oci.challenge import ChallengeError, parse_challenges
from gateway.oci.errors import OciError, Situation
from gateway.oci.outcomes import Corrupt, Denied, Missing, Outcome, Unavailable, UnknownHost, Withheld
from gateway.oci.target import Target
from gateway.rules.model import Rules, RuleSet, SourceName
from gateway.rules.route import Errand, Route, Wanted, route
from gateway.sources.answers import Answer
from gateway.sources.http import Http
from gateway.sources.registry_place import UpstreamRepository, own_repository
from gateway.sources.tokens import Refusal, Tokens
from gateway.sources.upstreams import Upstreams

_A_NAME: Final = "probe"
_SCHEMES: Final = frozenset({"basic", "bearer"})


class CheckResult(StrEnum):
    """``UNRESOLVED`` is also what is said of a name whose address is not dialled.

    ``REFUSED``: our rules say no, or nobody is asked at all.
    """

    OK = "ok"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    UNRESOLVED = "unresolved"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    WRONG_ANSWER = "wrong_answer"
    RATE_LIMITED = "rate_limited"


@dataclass(frozen=True, slots=True)
class CheckedUpstream:
    result: CheckResult
    milliseconds: int


class UpstreamCheck:
    """Goes by the guard, the credentials and the limits of every other request."""

    def __init__(
        self,
        http: Http,
        upstreams: Upstreams,
        tokens: Tokens,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._upstreams = upstreams
        self._tokens = tokens
        self._monotonic = monotonic

    async def test(self, rules: RuleSet, place: str) -> CheckedUpstream:
        """Ask ``host[:port][/path]`` what it is asked in a pull, whatever names lead there."""
        started = self._monotonic()
        result = await self._result(rules, place)
        return CheckedUpstream(result, round((self._monotonic() - started) * 1000))

    async def _result(self, rules: RuleSet, place: str) -> CheckResult:
        try:
            found = _route(rules, place)
            return await self._asked(found, Errand(found.target, rules))
        except OciError as error:
            is_denial = error.situation is Situation.DENIED
            return CheckResult.REFUSED if is_denial else CheckResult.UNRESOLVED
        except Outcome as error:
            return _result_of(error)

    async def _asked(self, found: Route, errand: Errand) -> CheckResult:
        """Of what may be either, the Helm repository is asked for unless a registry answers."""
        if self._upstreams.is_offline or found.is_offline:
            return CheckResult.REFUSED
        result = CheckResult.WRONG_ANSWER
        if SourceName.REGISTRY in found.chain:
            result = await self._ping(found, errand)
            if result is CheckResult.OK or not found.is_registry_guessed:
                return result
        if SourceName.HELM not in found.chain:
            return result
        home = self._upstreams.home(errand)
        async with self._http.get(replace(home, path=f"{home.path}index.yaml"), errand, {}) as answer:
            return _result_with(answer)

    async def _ping(self, found: Route, errand: Errand) -> CheckResult:
        repository = own_repository(self._upstreams, errand)
        async with self._http.get(repository.base, errand, {}) as answer:
            if answer.status != 401:
                is_marked = _is_marked(answer) or not found.is_registry_guessed
                result = _result_with(answer)
                is_other = result is CheckResult.OK and not is_marked
                return CheckResult.WRONG_ANSWER if is_other else result
            challenges = answer.header("www-authenticate") or ""
            has_credentials = answer.has_credentials
        if not has_credentials:  # who signs in nowhere is answered by it
            return CheckResult.OK if _is_challenge(challenges) else CheckResult.UNAUTHORIZED
        return await self._signed_in(repository, errand, Refusal(challenges, None, has_credentials=True))

    async def _signed_in(
        self, repository: UpstreamRepository, errand: Errand, refusal: Refusal
    ) -> CheckResult:
        """Whether our credentials are good for a token, and that for the registry."""
        try:
            token = await self._tokens.renewed(repository, refusal)
        except (Denied, Withheld):
            return CheckResult.UNAUTHORIZED
        authorization = None if token is None else token.authorization
        async with self._http.get(repository.base, errand, {}, authorization=authorization) as answer:
            return _result_with(answer)


def _route(rules: RuleSet, place: str) -> Route:
    """Where a name below the place leads by itself; raise OciError."""
    target = Target.parse(f"{place}/{_A_NAME}")
    return route(replace(rules, rules=Rules()), Wanted(target.repository)).first


def _result_with(answer: Answer) -> CheckResult:
    status = answer.status
    if status == 200:
        is_page = (answer.header("content-type") or "").lower().startswith("text/html")
        return CheckResult.WRONG_ANSWER if is_page else CheckResult.OK
    if status in (401, 403):
        return CheckResult.UNAUTHORIZED
    if status in (404, 410):
        return CheckResult.NOT_FOUND
    return CheckResult.RATE_LIMITED if status == 429 else CheckResult.WRONG_ANSWER


def _result_of(error: Outcome) -> CheckResult:
    match error:
        case UnknownHost():
            return CheckResult.UNRESOLVED
        case Withheld():
            return CheckResult.UNAUTHORIZED
        case Missing():
            return CheckResult.NOT_FOUND
        case Denied():
            return CheckResult.REFUSED
        case Unavailable(is_rate_limited=True):
            return CheckResult.RATE_LIMITED
        case Unavailable():
            return _outage(error)
        case Corrupt() | _:
            return CheckResult.WRONG_ANSWER


def _outage(error: BaseException) -> CheckResult:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return CheckResult.TLS
        if isinstance(cause, httpx.TimeoutException | TimeoutError):
            return CheckResult.TIMEOUT
    return CheckResult.UNREACHABLE


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_marked(answer: Answer) -> bool:
    told = (answer.header("docker-distribution-api-version") or "").strip().lower()
    return told.startswith("registry/2.")


def _is_challenge(text: str) -> bool:
    try:
        return any(challenge.scheme in _SCHEMES for challenge in parse_challenges(text))
    except ChallengeError:
        return False
