"""An honest classic Helm repository: files over HTTP, revalidated by ETag and Last-Modified."""

import gzip
import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath

from tests.fakes.messages import Answer, Faults, Request
from tests.fakes.server import FakeServer

_CONTENT_TYPES = {".yaml": "text/yaml", ".tgz": "application/gzip", ".prov": "text/plain"}
_FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    etag: str
    changed_at: float


class HelmRepo(FakeServer):
    """Serves ``files`` (by path, or a folder read as it is asked for) under ``prefix``.

    ``put`` and ``remove`` publish while it runs. ``gzips`` compresses for clients that accept it, with a weak
    ETag, as static hosts do; ``has_validators`` off leaves ETag and Last-Modified out.
    """

    def __init__(
        self,
        files: Mapping[str, bytes] | Path | None = None,
        *,
        prefix: str = "",
        tls: ssl.SSLContext | None = None,
        gzips: bool = False,
    ) -> None:
        super().__init__(tls)
        self.prefix = prefix.strip("/")
        self.gzips = gzips
        self.has_validators = True
        self._folder = files if isinstance(files, Path) else None
        self._clock = _FIRST_DAY
        self._files: dict[str, _File | None] = {}
        if isinstance(files, Mapping):
            for path, content in files.items():
                self.put(path, content)

    @property
    def url(self) -> str:
        """What follows ``helm repo add NAME``: no slash at the end."""
        return f"{self.origin}/{self.prefix}".rstrip("/")

    def put(self, path: str, content: bytes) -> None:
        """Publish a file, or the next state of one: its Last-Modified moves on by a second."""
        self._clock += 1
        self._files[path] = _File(content, _etag(content), self._clock)

    def remove(self, path: str) -> None:
        """Delete a file, also one of the folder's."""
        self._files[path] = None

    def count_of(self, path: str, method: str | None = "GET") -> int:
        """How often this file of the repository was asked for."""
        return self.count(self._path_of(path), method)

    def faults_of(self, path: str) -> Faults:
        """Return the switches of one file of the repository, in place of those for all."""
        return self.faults_at.setdefault(self._path_of(path), Faults())

    def answer(self, request: Request) -> Answer:
        """Say what a static file host says."""
        if request.method not in ("GET", "HEAD"):
            return Answer(405, {"Allow": "GET, HEAD"})
        path = request.path.removeprefix(self._path_of(""))
        found = self._find(path) if request.path.startswith(self._path_of("")) else None
        if found is None:
            return Answer(404, {"Content-Type": "text/html"}, b"<html>404: not here</html>")
        return self._answer_with(found, PurePosixPath(path), request)

    def _path_of(self, path: str) -> str:
        return f"/{self.prefix}/{path}" if self.prefix else f"/{path}"

    def _find(self, path: str) -> _File | None:
        if path in self._files or self._folder is None:
            return self._files.get(path)
        place = (self._folder / path).resolve()
        if not place.is_file() or not place.is_relative_to(self._folder.resolve()):
            return None
        content = place.read_bytes()
        return _File(content, _etag(content), place.stat().st_mtime)

    def _answer_with(self, found: _File, path: PurePosixPath, request: Request) -> Answer:
        is_packed = self.gzips and "gzip" in request.headers.get("accept-encoding", "")
        headers = {"Vary": "Accept-Encoding"} if self.gzips else {}
        if self.has_validators:
            headers["ETag"] = f"W/{found.etag}" if is_packed else found.etag
            headers["Last-Modified"] = format_datetime(
                datetime.fromtimestamp(found.changed_at, UTC), usegmt=True
            )
            if _is_unchanged(found, request.headers):
                return Answer(304, headers)
        headers["Content-Type"] = _CONTENT_TYPES.get(path.suffix, "application/octet-stream")
        if is_packed:
            return Answer(200, headers | {"Content-Encoding": "gzip"}, _gzipped(found.content))
        return Answer(200, headers, found.content)


@lru_cache(maxsize=8)
def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 6, mtime=0)


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _is_unchanged(found: _File, headers: Mapping[str, str]) -> bool:
    """RFC 9110 section 13.2.2: If-None-Match decides alone where it stands; compared weakly."""
    if "if-none-match" in headers:
        known = (tag.strip().removeprefix("W/") for tag in headers["if-none-match"].split(","))
        return any(tag in ("*", found.etag) for tag in known)
    if "if-modified-since" in headers:
        return int(found.changed_at) <= parsedate_to_datetime(headers["if-modified-since"]).timestamp()
    return False
