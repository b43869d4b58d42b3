"""Revisions of the rules, as values: every change of rules.yaml, numbered, with who made it and when."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.oci.digest import Digest


class RevisionOrigin(StrEnum):
    FILE = "file"
    ADMIN = "admin"
    ROLLBACK = "rollback"
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class RevisionHead:
    """A revision without its content; ``made_at`` in seconds since the epoch.

    ``based_on`` is the revision that was edited, or gone back to.
    """

    number: int
    origin: RevisionOrigin
    author: str
    made_at: float
    digest: Digest
    size_bytes: int
    comment: str
    based_on: int | None


@dataclass(frozen=True, slots=True)
class Revision:
    """``content`` is rules.yaml as it was handed in, byte for byte."""

    head: RevisionHead
    content: bytes


@dataclass(frozen=True, slots=True)
class Draft:
    """A revision to be: no number yet, and no time."""

    origin: RevisionOrigin
    author: str
    content: bytes
    comment: str = ""
    based_on: int | None = None


@dataclass(frozen=True, slots=True)
class RulesTrouble:
    """What is wrong with the rules file of one gateway; ``since`` in seconds since the epoch."""

    message: str
    since: float


class Outdated(Exception):
    """Somebody made a revision meanwhile: ``newest`` is its number."""

    def __init__(self, newest: int) -> None:
        super().__init__(f"revision {newest} was made meanwhile: look at it, then save again")
        self.newest = newest
