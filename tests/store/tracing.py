"""What tests with strace need of the machine."""

import shutil
import subprocess

from tests.conftest import missing


def require_strace() -> None:
    """Skip, or fail in CI, where there is no strace, or where it may not trace its children."""
    if shutil.which("strace") is None:
        missing("no strace: install it to see in which order things reach the disk, and to kill in between")
    if subprocess.run(["strace", "-qq", "true"], capture_output=True, check=False).returncode:
        missing("strace may not trace here: it needs the right to ptrace its children")
