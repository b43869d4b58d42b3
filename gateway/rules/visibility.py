"""Which tags of a name are shown: the policy keys ``tags``, ``versions`` and ``min_age``."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import re2

from gateway.helm.ranges import VersionRange
from gateway.helm.version import parse_version, spellings
from gateway.oci.digest import Digest
from gateway.rules.patterns import OPTIONS

_FALLBACK_TAG: Final = re.compile(r"sha256-([0-9a-f]{64})(?:\.[A-Za-z0-9._-]+)?")
_STARS: Final = re.compile(r"\*+")
_GLOBS_IN_ONE: Final = 100  # a pattern of all globs of a long list would be more than RE2 takes

_Patterns: TypeAlias = "tuple[re2._Regexp, ...]"


@dataclass(frozen=True, slots=True)
class Visibility:
    """What hides tags, on pulls and in lists, and never digests.

    ``allow`` and ``deny`` are globs, where ``*`` is zero or more characters and all else is itself. Where
    ``allow`` is empty, every tag is allowed. What is denied is so in every spelling that a pull would take
    for it, ``v1.2.3`` and ``1.2.3``.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    versions: VersionRange | None = None
    min_age_seconds: float = 0.0

    def __str__(self) -> str:
        """Which keys of the rules may hide tags here."""
        return "; ".join(self._keys())

    def why_hidden(self, tag: str) -> str:
        """Which of its keys hide a tag by its text; empty where none does."""
        return "; ".join(words for words, part in self._keys().items() if not part.shows(tag))

    @property
    def is_open(self) -> bool:
        """Whether nothing is hidden."""
        return not (self.allow or self.deny or self.versions or self.min_age_seconds)

    def shows(self, tag: str) -> bool:
        """Judge a tag by its text; ``min_age_seconds`` is for who knows its age.

        Fallback tags are no case of their own here: who asks about one (``digest_of_fallback_tag``) judges
        it by its digest instead.
        """
        return _is_shown(tag, _patterns(self.allow), _patterns(self.deny), self.versions)

    def _keys(self) -> dict[str, "Visibility"]:
        """Each key that says something, in words, and as a visibility of its own."""
        told = {
            f"tags.allow {', '.join(self.allow)}": Visibility(allow=self.allow),
            f"tags.deny {', '.join(self.deny)}": Visibility(deny=self.deny),
            f"versions {self.versions}": Visibility(versions=self.versions),
            f"min_age of {self.min_age_seconds:g} s": Visibility(min_age_seconds=self.min_age_seconds),
        }
        return {words: part for words, part in told.items() if not part.is_open}


def visible(
    visibility: Visibility, names: Sequence[str], is_digest_visible: Callable[[Digest], bool]
) -> Sequence[str]:
    """Return the tags that are shown, in their order; of fallback tags those whose digest is visible."""
    if visibility.is_open:
        return names
    allow, deny = _patterns(visibility.allow), _patterns(visibility.deny)
    shown = []
    for name in names:
        digest = digest_of_fallback_tag(name)
        if is_digest_visible(digest) if digest else _is_shown(name, allow, deny, visibility.versions):
            shown.append(name)
    return shown


def digest_of_fallback_tag(tag: str) -> Digest | None:
    """Return the digest that ``sha256-<hex>`` or ``sha256-<hex>.sig`` speaks of; None for any other tag.

    Without a suffix it is the referrers tag of the OCI distribution specification, with one cosign's. No
    sha512 digest fits into a tag.
    """
    match = _FALLBACK_TAG.fullmatch(tag)
    return Digest("sha256", match[1]) if match else None


def _is_shown(tag: str, allow: _Patterns, deny: _Patterns, versions: VersionRange | None) -> bool:
    if allow and not _is_any(allow, tag):
        return False
    if deny and any(_is_any(deny, spelling) for spelling in spellings(tag)):
        return False
    if versions is None:
        return True
    version = parse_version(tag.replace("_", "+"))
    return version is not None and versions.holds(version)


def _is_any(patterns: _Patterns, tag: str) -> bool:
    return any(pattern.fullmatch(tag) is not None for pattern in patterns)


@lru_cache(maxsize=4096)
def _patterns(globs: tuple[str, ...]) -> _Patterns:
    """Patterns of RE2, one for many globs: linear in the tag, whatever the globs are."""
    expressions = [".*".join(map(re2.escape, _STARS.split(glob))) for glob in globs]
    parts = range(0, len(expressions), _GLOBS_IN_ONE)
    alternations = ["|".join(expressions[at : at + _GLOBS_IN_ONE]) for at in parts]
    return tuple(re2.compile(f"(?s){alternation}", OPTIONS) for alternation in alternations)
