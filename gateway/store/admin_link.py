"""The file that holds the one-time link to the admin's desk, for nobody but who owns the data directory."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LinkFile:
    """In the data directory; it waits for the disk: not for an event loop."""

    path: Path

    def write(self, url: str) -> None:
        """Raise OSError."""
        self.remove()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(self.path, flags, 0o600), "w", encoding="ascii") as file:
            file.write(f"{url}\n")

    def remove(self) -> None:
        """Raise OSError."""
        self.path.unlink(missing_ok=True)
