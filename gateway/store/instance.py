"""The name that one gateway goes by among others: made up once for a data directory."""

import os
import re
import secrets
from pathlib import Path

from gateway.store.blobs import StorageFailed

_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)


def instance_id(path: Path) -> str:
    """Return the id that stands in the file, 16 hex digits; make one up where there is none yet."""
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
        text = path.read_text("ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return text if _ID.fullmatch(text) else None


def _write_once(path: Path, text: str) -> None:
    """Whole or not at all, and the first of several stays; only what is no id is replaced."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    partial.write_text(text + "\n", "ascii")
    try:
        os.link(partial, path)
    except FileExistsError:
        if _read(path) is None:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
