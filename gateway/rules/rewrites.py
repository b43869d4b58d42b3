"""Where a rule leads: a place upstream, with holes that the captures fill."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.oci.errors import OciError
from gateway.oci.target import Target
from gateway.rules.patterns import Pattern, PatternError

MAX_LENGTH: Final = 512
_HOLE: Final = re.compile(r"\$(?:([0-9]{1,2})|\{([0-9]{1,2}|[A-Za-z_][A-Za-z0-9_]*)\})", re.ASCII)
_STAND_IN: Final = "x"


class RewriteError(PatternError):
    """A rewrite that can lead nowhere."""


@dataclass(frozen=True, slots=True)
class Captures:
    """What a match took: ``whole`` is ``$0``, the others count from 1, and some have names too."""

    whole: str
    texts: tuple[str, ...]
    names: tuple[tuple[str, int], ...] = ()

    def told(self) -> dict[str, str]:
        """By what a rewrite calls them."""
        numbered = {f"${number}": text for number, text in enumerate(self.texts, start=1)}
        return numbered | {f"${{{name}}}": self.texts[number - 1] for name, number in self.names}


@dataclass(frozen=True, slots=True)
class Rewrite:
    """``parts`` are texts and, between them, numbers of captures; 0 is the whole name."""

    text: str
    parts: tuple[str | int, ...]

    @property
    def host(self) -> str | None:
        """The host as it is written, None where a capture says it, or some of it."""
        first = self.parts[0]
        head, slash, _ = first.partition("/") if isinstance(first, str) else ("", "", "")
        return head if slash else None

    @property
    def used(self) -> frozenset[int]:
        """Which captures it needs."""
        return frozenset(part for part in self.parts if isinstance(part, int))

    def fill(self, captures: Captures) -> str:
        whole_and_texts = (captures.whole, *captures.texts)
        return "".join(part if isinstance(part, str) else whole_and_texts[part] for part in self.parts)


def parse_rewrite(text: str, patterns: Sequence[Pattern]) -> Rewrite:
    """Read a rewrite; ``patterns`` are the rule's, whose captures count on. Raise RewriteError."""
    if len(text) > MAX_LENGTH:
        raise RewriteError(f"a rewrite has at most {MAX_LENGTH} characters", MAX_LENGTH)
    known = capture_names(patterns)
    count = sum(pattern.captures for pattern in patterns)
    parts: list[str | int] = []
    end = 0
    for hole in _HOLE.finditer(text):
        _add_text(parts, text[end : hole.start()], end)
        parts.append(_number(hole, known, count))
        end = hole.end()
    _add_text(parts, text[end:], end)
    if not parts:
        raise RewriteError("expected a place", hint="such as charts.example.com/stable/$1")
    rewrite = Rewrite(text, tuple(parts))
    _check_shape(rewrite)
    return rewrite


def capture_names(patterns: Sequence[Pattern]) -> dict[str, int]:
    """The number of each named capture, counted over all patterns of a rule."""
    names: dict[str, int] = {}
    before = 0
    for pattern in patterns:
        names |= {name: before + number for name, number in pattern.names.items()}
        before += pattern.captures
    return names


def _add_text(parts: list[str | int], text: str, offset: int) -> None:
    dollar = text.find("$")
    if dollar >= 0:
        raise RewriteError(
            "a $ is followed by a number or a {name}", offset + dollar, "such as $1 or ${chart}"
        )
    if text:
        parts.append(text)


def _number(hole: re.Match[str], known: dict[str, int], count: int) -> int:
    name = hole[1] or hole[2]
    number = int(name) if name.isdigit() else known.get(name)
    if number is None or number > count:
        there = ["$0", *(f"${number}" for number in range(1, count + 1)), *(f"${{{one}}}" for one in known)]
        raise RewriteError(
            f"there is no capture {hole[0]}", hole.start(), f"this rule has {', '.join(there[:20])}"
        )
    return number


def _check_shape(rewrite: Rewrite) -> None:
    """Hold it to the grammar of names as far as it is known, a stand-in for every capture."""
    filled = "".join(part if isinstance(part, str) else _STAND_IN for part in rewrite.parts)
    if "://" in filled:
        raise RewriteError("a target has no scheme", hint=f"write {rewrite.text.partition('://')[2]}")
    if re.search(r"/[^:]*:[^/]*$", filled):
        raise RewriteError("a target has no tag, and no port", rewrite.text.rindex(":"), "leave it out")
    if re.search(r":[0-9]", filled):
        raise RewriteError(
            "a target has no port",
            rewrite.text.index(":"),
            "give the place a key under upstreams, with a url that has the port",
        )
    if filled != filled.lower():
        raise RewriteError(
            "a target is in lower case",
            hint="give the place a key in lower case under upstreams, with a url that has the upper case",
        )
    try:
        target = Target.parse(filled)
    except OciError as error:
        raise RewriteError(f"no target: {error.message}") from error
    if rewrite.host is None and not rewrite.used:
        raise RewriteError(f"{target} is a host alone: a name on it is needed", hint=f"such as {target}/$0")
