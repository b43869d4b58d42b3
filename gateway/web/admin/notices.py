"""What a page says after something was done: fixed words by a key in its query, never text from a URL."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

_KEY = "done"


@dataclass(frozen=True, slots=True)
class Notice:
    """``look`` is ok, warn or bad; ``leads_to`` is a page of ours where one sees more, as ``link`` says."""

    look: str
    words: str
    leads_to: str = ""
    link: str = "See how far it is"


NOTICES: Mapping[str, Notice] = {
    "unchanged": Notice("ok", "Upstream was asked: it still has what is held."),
    "followed": Notice("ok", "Upstream was asked: it has other content, which is held now."),
    "fetched": Notice("ok", "Upstream was asked: it has this, and it is held now."),
    "drift-kept": Notice("warn", "Upstream has other content under this version; what is held was kept."),
    "deleted": Notice("warn", "Upstream has this no more."),
    "absent": Notice("warn", "Upstream was asked, and nobody has it."),
    "hidden": Notice("warn", "A rule hides this: upstream was not asked."),
    "not-asked": Notice(
        "bad", "Upstream could not be asked: what is held stays.", "/admin/upstreams", "See why"
    ),
    "refreshing": Notice("ok", "Upstream is being asked for all that is held of this name.", "/admin/mirror"),
    "pulling": Notice("ok", "It is being pulled.", "/admin/mirror"),
    "purged": Notice("ok", "It is forgotten: the next pull fetches it anew."),
    "purged-nothing": Notice("ok", "Nothing of it was held; that nobody had it is forgotten, too."),
    "pinned": Notice("ok", "It is pinned: kept whatever the quota says."),
    "pinned-already": Notice("ok", "It was pinned already."),
    "unpinned": Notice("ok", "It is unpinned: the quota may evict its layers."),
    "not-pinned": Notice("ok", "It was not pinned."),
    "cancelled": Notice("ok", "The job is cancelled; what it had done stays."),
    "not-cancelled": Notice("warn", "The job is over, or another process runs it."),
    "collecting": Notice("ok", "Garbage is being collected.", "/admin/mirror"),
    "syncing": Notice("ok", "It is being brought up to date: what is new is fetched."),
    "scrubbing": Notice("ok", "What is stored is being hashed.", "/admin/mirror"),
}


def notice_of(query: Mapping[str, str]) -> Notice | None:
    return NOTICES.get(query.get(_KEY, ""))


def back_to(path: str, default: str, done: str = "") -> str:
    """A page of ours, with a notice or without; ``default`` where ``path`` is none of ours (threats A10)."""
    if not path.startswith("/admin/") or not path.isascii() or not path.isprintable() or "\\" in path:
        path = default
    place = urlsplit(path)
    query = [(name, text) for name, text in parse_qsl(place.query) if name != _KEY]
    query += [(_KEY, done)] if done else []
    return f"{place.path}?{urlencode(query)}" if query else place.path
