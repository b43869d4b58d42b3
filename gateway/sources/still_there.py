"""Whether what came from a URL is handed out there still: a Helm index says what there should be."""

from typing import Final

from gateway.oci.urls import UrlError, parse_upstream_url
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
