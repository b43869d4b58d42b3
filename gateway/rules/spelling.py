"""The known word nearest to a mistyped one; nouns with their numbers."""

from collections.abc import Iterable
from difflib import get_close_matches

_MAX_LENGTH = 64  # comparing is quadratic, and nobody mistypes more


def nearest(word: str, known: Iterable[str]) -> str | None:
    if len(word) > _MAX_LENGTH:
        return None
    by_lower_case = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.6)
    return by_lower_case[found[0]] if found else None


def counted(number: int, noun: str) -> str:
    """With an s, but of one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
