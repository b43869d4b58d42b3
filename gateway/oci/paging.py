"""Long lists in pages: ``n``, ``last`` and the Link header of the OCI distribution specification."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from gateway.oci.errors import OciError, Situation

MAX_ASKED = 1_000
MAX_UNASKED = 10_000  # helm sends no n and wants all; 10,000 tags stay below its 4 MiB a page
_COUNT = re.compile(r"[0-9]{1,9}")
_LAST = re.compile(r"[ -~]{1,300}")


@dataclass(frozen=True, slots=True)
class Page:
    """``count`` names at most (None: not asked), the first of them after ``last``."""

    count: int | None = None
    last: str | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The names of one page; ``next_link`` is the Link header's value where more follow."""

    names: Sequence[str]
    next_link: str | None = None


def parse_page(n: str | None, last: str | None) -> Page:
    """Read the two query parameters, or raise OciError PAGING_MALFORMED; ``n`` above 1,000 means 1,000."""
    if n is not None and not _COUNT.fullmatch(n):
        raise OciError(Situation.PAGING_MALFORMED, "n has to be a decimal number of at most 9 digits")
    if last and not _LAST.fullmatch(last):
        raise OciError(Situation.PAGING_MALFORMED, "last has to be at most 300 printable ASCII characters")
    return Page(count=None if n is None else min(int(n), MAX_ASKED), last=last or None)


def cut(names: Sequence[str], page: Page, path: str) -> Cut:
    """Return ``page`` of ``names``, which are in ASCII order; ``path`` is where the list is served.

    ``last`` need not be one of them. Without ``n`` all are returned, beyond 10,000 with a Link. ``n=0`` is
    an empty list without one: it would lead nowhere.
    """
    start = 0 if page.last is None else bisect_right(names, page.last)
    limit = MAX_UNASKED if page.count is None else page.count
    chosen = names[start : start + limit]
    if not chosen or start + limit >= len(names):
        return Cut(chosen)
    return Cut(chosen, _link(path, page.count, chosen[-1]))


def _link(path: str, count: int | None, last: str) -> str:
    n = "" if count is None else f"n={count}&"
    return f'<{path}?{n}last={quote(last, safe="")}>; rel="next"'
