"""Versions of charts: SemVer as Helm reads it, and which index entry a tag means."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

_MAX_LENGTH = 256
_MAX_NUMBER = 2**64 - 1
_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(
    rf"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-({_IDENTIFIERS}))?(?:\+({_IDENTIFIERS}))?",
    re.ASCII,
)

_Rank = tuple[tuple[int, int, str], ...]
_RELEASE: _Rank = ((2, 0, ""),)  # after every pre-release identifier


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A SemVer version, ordered by precedence; build metadata, which has none, only breaks ties.

    ``rank`` orders the pre-release: numbers (0, n, "") before words (1, 0, word) before none at all.
    """

    major: int
    minor: int
    patch: int
    rank: _Rank
    build: str

    @property
    def is_prerelease(self) -> bool:
        return self.rank != _RELEASE


def parse_version(text: str) -> Version | None:
    """Read ``v1.2.3-rc.1+build`` as leniently as Masterminds' NewVersion: also ``1``, ``1.2``, ``v01.2``."""
    if len(text) > _MAX_LENGTH:
        return None
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    major, minor, patch = (int(part or "0") for part in match.group(1, 2, 3))
    rank = _rank(match[4])
    if rank is None or max(major, minor, patch) > _MAX_NUMBER:
        return None
    return Version(major, minor, patch, rank, match[5] or "")


def is_complete(text: str) -> bool:
    """Whether a tag names one version for good: all three numbers are there, so it is none that moves."""
    match = _VERSION.fullmatch(text.replace("_", "+")) if len(text) <= _MAX_LENGTH else None
    return match is not None and match[3] is not None


def tag_of(version_text: str) -> str:
    """Return the tag that lists show for a version: no leading v, and _ for the + that no tag can have."""
    return version_text.removeprefix("v").replace("+", "_")


def spellings(tag: str) -> tuple[str, ...]:
    """Return the texts of a version that ``tag`` may mean, the first that exists being the one.

    Exact first, then with or without a leading v, then with _ read as +; never a range.
    """
    with_build = tag.replace("_", "+")
    return (tag, _other_v_form(tag), with_build, _other_v_form(with_build))


def resolve(tag: str, versions: Sequence[str]) -> int | None:
    """Return where in ``versions`` the entry stands that ``tag`` means, or None; of equal ones the first."""
    for spelling in spellings(tag):
        if spelling in versions:
            return versions.index(spelling)
    return None


def newest(versions: Iterable[str]) -> str | None:
    """Return the highest version that is no pre-release, as Helm does where none is asked for.

    Build metadata counts for nothing: of equal ones it is the first.
    """
    releases: list[tuple[Version, str]] = []
    for text in versions:
        version = parse_version(text)
        if version is not None and not version.is_prerelease:
            releases.append((version, text))
    if not releases:
        return None
    return max(releases, key=lambda release: replace(release[0], build=""))[1]


def _rank(prerelease: str | None) -> _Rank | None:
    if prerelease is None:
        return _RELEASE
    identifiers = prerelease.split(".")
    if any(name.isdigit() and name != "0" and name.startswith("0") for name in identifiers):
        return None  # SemVer 9: no leading zeros
    return tuple((0, int(name), "") if _is_number(name) else (1, 0, name) for name in identifiers)


def _is_number(identifier: str) -> bool:
    """Beyond 64 bits Masterminds compares digits as text."""
    return identifier.isdigit() and int(identifier) <= _MAX_NUMBER


def _other_v_form(version_text: str) -> str:
    return version_text[1:] if version_text.startswith("v") else f"v{version_text}"
