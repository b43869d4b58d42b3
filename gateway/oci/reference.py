"""What a client may ask for: a tag or a digest inside a repository."""

import re
from dataclasses import dataclass
from typing import TypeAlias

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    name: str

    def __str__(self) -> str:
        return self.name


Reference: TypeAlias = Tag | Digest


def parse_reference(text: str) -> Reference:
    """Read a tag or a digest; only a digest has a colon.

    A literal ``+`` is taken as the ``_`` that Helm writes for it. A tag that cannot exist is one that
    nobody has: OciError MANIFEST_NOT_KNOWN; a malformed digest is DIGEST_MALFORMED.
    """
    if ":" in text:
        return Digest.parse(text)
    tag = text.replace("+", "_")
    if not _TAG.fullmatch(tag):
        raise OciError(Situation.MANIFEST_NOT_KNOWN, f"no manifest can be called {text[:140]!r}")
    return Tag(tag)


def is_tag(text: str) -> bool:
    """Whether a text could be a tag: what is no tag can be asked for by nobody, so it is not listed."""
    return _TAG.fullmatch(text) is not None
