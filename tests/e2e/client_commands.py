"""Real clients, run in a folder of their own: nothing of this user's configuration is read or written."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.gateway_process import Ran

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Client:
    """A program with its home; ``series`` tells one helm from another."""

    program: Path
    home: Path
    series: str = ""

    def run(self, *arguments: str, folder: Path | None = None) -> Ran:
        done = subprocess.run(
            [self.program, *arguments],
            cwd=folder or self.home,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str, folder: Path | None = None) -> str:
        """Run it, and return its output; fail where it fails."""
        return self.run(*arguments, folder=folder).require_ok()

    def pull(self, reference: str, *arguments: str, into: Path) -> bytes:
        """``helm pull`` one chart into an empty folder, and return the archive."""
        into.mkdir(exist_ok=True)
        self.ok("pull", reference, "--plain-http", "-d", str(into), *arguments)
        (archive,) = into.iterdir()
        return archive.read_bytes()

    def _environment(self) -> dict[str, str]:
        folders = {f"HELM_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.home), **folders}
