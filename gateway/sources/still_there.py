"""Whether something is handed out at a URL, and how large it is: a Helm index says what there should be."""

from typing import Final

from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.rules.route import Route
from gateway.sources.http import Http

_HEAD_NOT_OFFERED: Final = frozenset({400, 403, 405, 501})


async def is_still_there(http: Http, route: Route, origin: str) -> bool:
    """Ask by HEAD, or where that is not offered by GET, of which nothing is read; raise outcomes.

    False for an origin that is no web address: what came from there may not be had again.
    """
    try:
        url = parse_upstream_url(origin)
    except UrlError:
        return False
    async with http.head(url, route.errand, {}) as answer:
        if answer.status not in _HEAD_NOT_OFFERED:
            answer.require_ok(origin)
            return True
    async with http.get(url, route.errand, {}) as answer:
        answer.require_ok(origin)
        return True


async def size_there(http: Http, route: Route, url: HttpUrl) -> int | None:
    """What HEAD says of its size in bytes; None where it says nothing of it. Raise outcomes."""
    async with http.head(url, route.errand, {}) as answer:
        return answer.content_length if answer.status == 200 else None
