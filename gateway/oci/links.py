"""The Link header of a list that goes on: RFC 8288, as far as registries use it."""

import re
from typing import Final

MAX_LENGTH: Final = 8192
_LINK = re.compile(r'<(?P<url>[^<>\s"]{1,4096})>(?P<parameters>[ \t]*(?:;[^,;<>"]*(?:"[^"]*"[ \t]*)?)*)')
_PARAMETER = re.compile(
    r';[ \t]*(?P<name>[A-Za-z*]+)[ \t]*=[ \t]*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^,;<>"\s]*))'
)


def parse_next_link(text: str | None) -> str | None:
    """Return the reference to the next page as it is written, None where the list ends here."""
    if text is None or len(text) > MAX_LENGTH:
        return None
    return next((link["url"] for link in _LINK.finditer(text) if _is_next(link["parameters"])), None)


def _is_next(parameters: str) -> bool:
    relations = (
        (one["quoted"] or one["bare"] or "").lower().split()
        for one in _PARAMETER.finditer(parameters)
        if one["name"].lower() == "rel"
    )
    return "next" in next(relations, [])
