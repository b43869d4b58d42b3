"""Fuzz targets: bundles that somebody carried here: the tar, and what it says of itself."""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from gateway.bundle import BUNDLE_ARTIFACT, CONTENTS_LAYER, Contents
from gateway.bundle_checks import BundleRefused, Entries
from gateway.bundle_judged import judge
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.oci.media_types import OCI_MANIFEST
from tests.bundle_house import APP, LAYOUT, MADE_AT, Bundle, add_file, chart, descriptor, tar_with
from tests.fuzz.target import Target

_WORDS = (
    "blobs/sha256/",
    "index.json",
    "oci-layout",
    "../",
    "ustar\x0000",
    "ustar  \x00",
    "12 path=x\n",
    "./",
)
_JSON_WORDS = ('"digest":', '"sha256:', '"targets":', '"contents":', '"tags":', "[]", "{}", "null", "1e999")
_ARTIFACT = chart("app", "1")


def check_entries(data: bytes) -> None:
    """What is taken for a bundle is one for every other reader of tars, and the same one."""
    entries = Entries(io.BytesIO(data), 1 << 16, max_entries=1000)
    try:
        found = {entry.name: entries.read_all() for entry in entries}
    except BundleRefused:
        return
    if not found:  # it is refused later, for what it lacks
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        read = {entry.name.removeprefix("./"): tar.extractfile(entry) for entry in tar if entry.isfile()}
        assert found == {name: b"" if file is None else file.read() for name, file in read.items()}


def check_contents(data: bytes) -> None:
    """A list of contents is refused, or means nothing but what came."""
    own = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [descriptor(data, CONTENTS_LAYER)],
    }
    artifact = json.dumps(own).encode()
    index = {"manifests": [descriptor(artifact, OCI_MANIFEST, artifactType=BUNDLE_ARTIFACT)]}
    came = _Came([artifact, b"{}", data, _ARTIFACT.content, *_ARTIFACT.blobs])
    try:
        judged = judge(LAYOUT, json.dumps(index).encode(), came, _Nothing(), now=MADE_AT, faults=())
    except BundleRefused:
        return
    assert {*judged.imported.named, *judged.blobs} <= came.came.keys()


@dataclass(frozen=True, slots=True)
class _Came:
    contents: Iterable[bytes]

    @property
    def came(self) -> Mapping[Digest, int]:
        return {Digest.of(content): len(content) for content in self.contents}

    def read(self, digest: Digest, _most_bytes: int = 0, /) -> bytes | None:
        return next((content for content in self.contents if Digest.of(content) == digest), None)


class _Nothing:
    """What a gateway holds that holds nothing."""

    def manifests(self, _digests: Iterable[Digest]) -> Iterator[Manifest]:
        return iter(())

    def owners(self, _digests: Iterable[Digest]) -> Mapping[Digest, frozenset[str]]:
        return {}

    def private_targets(self) -> frozenset[str]:
        return frozenset()

    def size(self, _blob: Digest) -> int | None:
        return None


def _small_tar(form: int) -> bytes:
    def fill(tar: tarfile.TarFile) -> None:
        add_file(tar, "./blobs", type=tarfile.DIRTYPE)
        add_file(tar, "index.json", b"{}", mtime=1.5)

    return tar_with(fill, form)[:3072]


_BUNDLE = Bundle().add(APP, {"1": _ARTIFACT})
_CONTENTS = msgspec.json.encode(Contents(1, "1.0", MADE_AT, None, _BUNDLE.targets, _BUNDLE.contents))

TARGETS = (
    Target(
        "bundle_entries",
        check_entries,
        [_small_tar(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)],
        _WORDS,
        4096,
    ),
    Target("bundle_contents", check_contents, [_CONTENTS], _JSON_WORDS, 4096),
)
