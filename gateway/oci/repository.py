"""The name of a repository, as the OCI distribution specification spells it."""

import re
from dataclasses import dataclass

from gateway.oci.errors import OciError, Situation

MAX_LENGTH = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PORT = re.compile(r"[1-9][0-9]{0,4}")
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
        _check(text, without_port=text)
        return cls(text)

    @classmethod
    def parse_with_port(cls, text: str) -> "Repository":
        """As ``parse``, and the first segment may end in a port, as hosts of a registry's clients do."""
        host, slash, path = text.partition("/")
        bare, colon, port = host.rpartition(":")
        if not colon or not slash or not _PORT.fullmatch(port):
            return cls.parse(text)
        _check(text, without_port=f"{bare}/{path}")
        return cls(text)

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.name.split("/"))


def _check(text: str, without_port: str) -> None:
    if len(text) > MAX_LENGTH:
        raise OciError(
            Situation.NAME_BREAKS_GRAMMAR, f"a repository name has at most {MAX_LENGTH} characters"
        )
    if not _NAME.fullmatch(without_port):
        raise OciError(
            Situation.NAME_BREAKS_GRAMMAR,
            f"{text!r} is no repository name: lower-case letters, digits and single . _ - "
            "between them, in segments separated by /",
        )
