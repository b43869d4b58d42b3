"""What a rule is known by while it moves and changes: what it looks for."""

from hashlib import sha256
from typing import Final

from gateway.rules.match import Look

_LENGTH: Final = 24  # hexadecimal digits


def look_key(look: Look) -> str:
    return patterns_key(*("" if one is None else one.text for one in (look.host, look.repository)))


def patterns_key(host: str, repository: str) -> str:
    """A short digest of both patterns, empty for none; rules that look for the same have the same."""
    return sha256(f"{host}\n{repository}".encode()).hexdigest()[:_LENGTH]
