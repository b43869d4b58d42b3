"""How a registry asks who we are: the WWW-Authenticate header, RFC 9110 §11."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_LENGTH: Final = 8192
MAX_CHALLENGES: Final = 8
_MAX_PARAMETERS: Final = 16

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SEPARATORS = re.compile(r"[ \t,]*")
_SCHEME = re.compile(rf"({_WORD})(?=[ \t]+|,|$)")
_PARAMETER = re.compile(
    rf'[ \t]*({_WORD})[ \t]*=[ \t]*(?:({_WORD})|"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t -~\x80-\xff])*)")'
    r"[ \t]*(?=,|$)"
)
_TOKEN68 = re.compile(r"[ \t]+([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|$)")
_QUOTED_PAIR = re.compile(r"\\(.)")


class ChallengeError(ValueError):
    """The header is no list of challenges, or too long a one; the message says why."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to sign in: ``scheme`` and the names of ``parameters`` in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(text: str) -> tuple[Challenge, ...]:
    """Read a WWW-Authenticate header, or several joined by commas; raise ChallengeError.

    A token68 in place of parameters (``Negotiate …``) is read over: no scheme that we speak has one.
    """
    if len(text) > MAX_LENGTH:
        raise ChallengeError(f"longer than {MAX_LENGTH} characters")
    challenges: list[Challenge] = []
    for challenge in _challenges(text):
        challenges.append(challenge)
        if len(challenges) > MAX_CHALLENGES:
            raise ChallengeError(f"more than {MAX_CHALLENGES} challenges")
    return tuple(challenges)


def _challenges(text: str) -> Iterator[Challenge]:
    place = _skip(text, 0)
    while place < len(text):
        match = _SCHEME.match(text, place)
        if match is None:
            raise ChallengeError(f"no scheme is named at character {place + 1}")
        token68 = _TOKEN68.match(text, match.end())
        parameters: dict[str, str] = {}
        place = match.end() if token68 is None else token68.end()
        if token68 is None:
            place, parameters = _parameters(text, place)
        yield Challenge(match[1].lower(), parameters)
        place = _skip(text, place)


def _parameters(text: str, start: int) -> tuple[int, dict[str, str]]:
    """Read ``name=value`` pairs up to the next scheme; return where they end."""
    parameters: dict[str, str] = {}
    place = start
    while match := _PARAMETER.match(text, _skip(text, place) if parameters else place):
        name, token, quoted = match[1].lower(), match[2], match[3]
        if name in parameters:
            raise ChallengeError(f"{name} stands twice")
        if len(parameters) == _MAX_PARAMETERS:
            raise ChallengeError(f"more than {_MAX_PARAMETERS} parameters")
        parameters[name] = token if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
        place = match.end()
    return place, parameters


def _skip(text: str, place: int) -> int:
    """Past blanks and empty list elements."""
    match = _SEPARATORS.match(text, place)
    return place if match is None else match.end()
