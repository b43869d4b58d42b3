"""Content addresses: ``sha256:<64 hex>``, ``sha512:<128 hex>``."""

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

from gateway.oci.errors import OciError, Situation

_DIGEST = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")


class Hasher(Protocol):
    """What hashlib's objects offer."""

    def update(self, content: bytes | bytearray | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> "Hasher": ...


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest as in the OCI image specification; ``str()`` gives ``algorithm:hex``."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def of(cls, content: bytes) -> "Digest":
        return cls("sha256", hashlib.sha256(content).hexdigest())

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read a digest, or raise OciError DIGEST_MALFORMED."""
        match = _DIGEST.fullmatch(text)
        if match is None:
            raise OciError(
                Situation.DIGEST_MALFORMED,
                f"{text!r} is no digest: expected sha256: and 64, or sha512: and 128, lower-case hex digits",
            )
        return cls(match[1] or match[3], match[2] or match[4])

    def is_of(self, content: bytes) -> bool:
        """Whether the content has this digest."""
        return hashlib.new(self.algorithm, content).hexdigest() == self.hex

    def hasher(self) -> Hasher:
        """Return a fresh hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)


def short_digest(digest: Digest | str) -> str:
    """As much of it as tells it from others, for people."""
    algorithm, _, encoded = str(digest).partition(":")
    return f"{algorithm}:{encoded[:12]}"
