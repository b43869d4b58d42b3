"""The name of a repository, as the OCI distribution specification spells it."""

import re
from dataclasses import dataclass

from gateway.oci.errors import OciError, Situation

MAX_LENGTH = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A repository name that passed the grammar; ``str()`` gives it back."""

    name: str

    def __str__(self) -> str:
        return self.name

    @classmethod
    def parse(cls, text: str) -> "Repository":
        """Read a name, or raise OciError NAME_BREAKS_GRAMMAR."""
        if len(text) > MAX_LENGTH:
            raise OciError(
                Situation.NAME_BREAKS_GRAMMAR, f"a repository name has at most {MAX_LENGTH} characters"
            )
        if not _NAME.fullmatch(text):
            raise OciError(
                Situation.NAME_BREAKS_GRAMMAR,
                f"{text!r} is no repository name: lower-case letters, digits and single . _ - "
                "between them, in segments separated by /",
            )
        return cls(text)

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.name.split("/"))
