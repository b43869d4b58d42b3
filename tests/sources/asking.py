"""The HTTP room alone, asked without rules: every URL goes where it says."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from gateway.oci.outcomes import Outcome
from gateway.oci.target import Target
from gateway.oci.urls import HttpUrl
from gateway.rules.model import RuleSet
from gateway.rules.route import Errand
from gateway.sources.egress import Resolver, resolve
from gateway.sources.http import Directory, Http, HttpLimits
from gateway.sources.transports import Destination, TlsFiles, Transports

TLS = TlsFiles()
HOME = HttpUrl("https", "charts.example.test", 443, "/x")


def errand_to(target: str, rules: RuleSet) -> Errand:
    return Errand(Target.parse(target), rules)


ERRAND = errand_to("charts.example.test/demo", RuleSet())


@dataclass(frozen=True, slots=True)
class EveryoneMay:
    """A directory that lets everything be dialled, with credentials for the origins that have some."""

    credentials: Mapping[str, str] = field(default_factory=dict)
    tls: TlsFiles = TLS

    def destinations(self, url: HttpUrl, errand: Errand) -> Sequence[Destination]:
        return [Destination(url, url.host, self.credentials.get(url.origin), True, self.tls)]


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A directory by which HOME lies at each of some origins, to be tried in that order."""

    mirrors: Sequence[HttpUrl]
    authorization: str | None = None

    def destinations(self, url: HttpUrl, errand: Errand) -> Sequence[Destination]:
        places = self.mirrors if url.host == HOME.host else [url]
        return [
            Destination(
                replace(place, path=url.path, query=url.query),
                place.host,
                self.authorization,
                may_be_private=place.host == "127.0.0.1",
            )
            for place in places
        ]


@dataclass(slots=True)
class Clock:
    """Stands still until a test moves it."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@asynccontextmanager
async def asking(
    limits: HttpLimits | None = None,
    directory: Directory | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
    resolver: Resolver = resolve,
) -> AsyncIterator[Http]:
    transports = Transports(resolver)
    try:
        yield Http(directory or EveryoneMay(), transports, limits or HttpLimits(), monotonic=clock, now=now)
    finally:
        await transports.close()


async def fetched(http: Http, url: HttpUrl, limit_bytes: int = 1 << 20, errand: Errand = ERRAND) -> bytes:
    """Ask, require a 200, and read the body to its end."""
    async with http.get(url, errand, {}) as answer:
        answer.require_ok("x")
        return b"".join([chunk async for chunk in answer.chunks(limit_bytes)])


async def outcome_of(http: Http, url: HttpUrl, errand: Errand = ERRAND) -> Outcome | None:
    """As ``fetched``; what it raises, None where it raises nothing."""
    try:
        await fetched(http, url, errand=errand)
    except Outcome as outcome:
        return outcome
    return None
