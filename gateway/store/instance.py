"""The name that one gateway goes by among others: made up once for a data directory."""

import os
import re
import secrets
from pathlib import Path

from gateway.store.blobs import StorageFailed

_ID = re.compile(r"([0-9a-f]{16})(?: ([0-9]+))?", re.ASCII)  # and the number of the file itself
_MAX_BYTES = 100


def instance_id(path: Path) -> str:
    """Return the id that stands in the file, 16 hex digits; make one up where there is none yet.

    A copy of the file gets an id of its own: two gateways of one name would take each other for a loop.
    """
    try:
        text = _read(path)
        if text is None:
            _write_once(path, secrets.token_hex(8))
            text = _read(path)
    except OSError as error:
        raise StorageFailed(f"the file {path} cannot be used: {error.strerror}") from error
    if text is None:
        raise StorageFailed(f"the file {path} holds no id of this gateway: remove it")
    return text


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            found = _ID.fullmatch(file.read(_MAX_BYTES).decode("ascii", errors="replace").strip())
            inode = os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return None
    if found is None or found[2] not in (None, str(inode)):
        return None
    return found[1]


def _write_once(path: Path, text: str) -> None:
    """Whole or not at all, and the first of several stays; only what is no id is replaced."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with partial.open("x", encoding="ascii") as file:
        file.write(f"{text} {os.fstat(file.fileno()).st_ino}\n")
    try:
        os.link(partial, path)
    except FileExistsError:
        if _read(path) is None:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
