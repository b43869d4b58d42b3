"""A registry that lies where a test says so, and lies about a chart for it to tell."""

import gzip
import json
from collections.abc import Callable, Mapping

from gateway.oci.digest import Digest
from gateway.oci.media_types import HELM_CHART_LAYER, OCI_MANIFEST
from tests.fakes.charts import make_chart
from tests.fakes.images import OCI, helm_artifact
from tests.fakes.messages import Answer, Request
from tests.fakes.registry import FakeRegistry

MIB = 1 << 20
_NO_HEADERS: Mapping[str, str] = {}
CHART = make_chart("app", "1.0.0", {"values.yaml": bytes(100)})
ARTIFACT = helm_artifact(CHART)
LAYER, CONFIG = Digest.of(CHART), Digest.of(ARTIFACT.blobs[0])
OTHER = OCI.image(b"other")
DEEP = b"[" * 200_000
BOMB = gzip.compress(bytes(50 * MIB), 9)
CHAIN = gzip.compress(gzip.compress(BOMB, 9), 9)  # fifty MiB three layers deep, a few hundred bytes
PAGE = b"<!doctype html><html><title>Sign in</title>".ljust(1477)

FLIPPED = CHART[:-1] + bytes([CHART[-1] ^ 1])
BOTH = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "manifests": []}


class LyingRegistry(FakeRegistry):
    """An honest registry but for the paths that ``lie`` names."""

    def __init__(self) -> None:
        super().__init__()
        self._lies: dict[str, Answer] = {}

    def lie(
        self, path: str, body: bytes, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS
    ) -> None:
        """From now on, answer this at ``path``; a ``_`` in a header's name is a ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._lies[path] = Answer(status, named, body)

    def be_honest(self) -> None:
        self._lies.clear()
        self.faults_at.clear()

    def answer(self, request: Request) -> Answer:
        lie = self._lies.get(request.path)
        return super().answer(request) if lie is None else lie


Arrange = Callable[[LyingRegistry, str], None]


def says(
    content: bytes, media_type: str = OCI_MANIFEST, reference: object = "1.0.0", **headers: str
) -> Arrange:
    """The manifest of a tag or digest is this."""

    def arrange(registry: LyingRegistry, name: str) -> None:
        path = registry.manifest_path(name, reference)
        registry.lie(path, content, headers={"Content-Type": media_type, **headers})

    return arrange


def blob_says(digest: Digest, content: bytes, status: int = 200, **headers: str) -> Arrange:
    """A chart is what it is, but one of its blobs is this."""

    def arrange(registry: LyingRegistry, name: str) -> None:
        registry.lie(registry.blob_path(name, digest), content, status, headers)

    return arrange


def tags_say(content: bytes, media_type: str = "application/json", **headers: str) -> Arrange:
    def arrange(registry: LyingRegistry, name: str) -> None:
        registry.lie(f"/v2/{name}/tags/list", content, headers={"Content-Type": media_type, **headers})

    return arrange


def page_everywhere(registry: LyingRegistry, name: str) -> None:
    for path in ("manifests/1.0.0", f"manifests/{ARTIFACT.digest}", "tags/list", f"blobs/{LAYER}"):
        registry.lie(f"/v2/{name}/{path}", PAGE, headers={"Content-Type": "text/html; charset=utf-8"})


def manifest(media_type: str | None = OCI_MANIFEST, **changes: object) -> bytes:
    """The chart's manifest with members changed; ``...`` takes one out."""
    members = {**ARTIFACT.members, "mediaType": media_type or ..., **changes}
    return json.dumps({name: value for name, value in members.items() if value is not ...}).encode()


def with_size(text: str) -> bytes:
    """The chart's manifest whose layer has this for its size."""
    return manifest().replace(f'"size": {len(CHART)}'.encode(), f'"size": {text}'.encode())


def twice(member: str, value: str) -> bytes:
    return manifest().replace(b'"schemaVersion"', f'"{member}": {value}, "schemaVersion"'.encode(), 1)


def describing(size: int) -> bytes:
    """A manifest whose layer has this size, and the right digest."""
    layer = {"mediaType": HELM_CHART_LAYER, "digest": str(LAYER), "size": size}
    return manifest(layers=[layer])


def sized(size: int) -> Arrange:
    def arrange(registry: LyingRegistry, name: str) -> None:
        says(describing(size))(registry, name)

    return arrange


def dumped(*members: dict[str, object]) -> bytes:
    return json.dumps({name: value for one in members for name, value in one.items()}).encode()
