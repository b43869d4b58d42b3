"""Content in the pieces that it came in: putting them together would cost a copy of all of it."""

from collections.abc import Iterator
from typing import Final

_SMALL_BYTES: Final = 4 << 10  # where each is less, a few larger ones cost less


class Pieces:
    """Grows at its end; ``size`` in bytes."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.size = sum(map(len, pieces))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def append(self, piece: bytes) -> None:
        self.size += len(piece)
        if self._pieces and len(piece) < _SMALL_BYTES and len(self._pieces[-1]) < _SMALL_BYTES:
            self._pieces[-1] += piece
        else:
            self._pieces.append(piece)

    def part(self, start: int, stop: int) -> bytes:
        """What lies from ``start`` up to ``stop``, as far as there is something."""
        found = list(self._cut(start, stop))
        return found[0] if len(found) == 1 else b"".join(found)

    def _cut(self, start: int, stop: int) -> Iterator[bytes]:
        position = 0
        for piece in self._pieces:
            first, last = max(start - position, 0), min(stop - position, len(piece))
            if first < last:
                yield piece[first:last]
            position += len(piece)
