"""Bundles for tests, honest and otherwise, and a gateway's data directory that takes them in."""

import io
import json
import tarfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection, select

from gateway.bundle import (
    BUNDLE_ARTIFACT,
    CONTENTS_LAYER,
    FORMAT,
    REF_NAME,
    RULES_LAYER,
    BundledContent,
    BundledManifest,
    BundledTag,
    BundledTarget,
    Contents,
)
from gateway.bundle_checks import BundleRefused
from gateway.bundle_import import Importer, ImportOptions, ImportReport
from gateway.bundle_rules import RulesImport
from gateway.oci.manifest import Manifest
from gateway.oci.media_types import HELM_CHART_LAYER, HELM_CONFIG, OCI_MANIFEST
from gateway.oci.postgres_url import PostgresUrl
from gateway.oci.target import Target
from gateway.rule_revisions import RuleDesk, RuleReader, RulesFile
from gateway.sources.credentials import Secrets
from gateway.store.data_dir import DataDir
from gateway.store.import_rows import ImportBook
from gateway.store.revisions import RevisionOrigin
from gateway.store.storage import Storage, open_storage
from gateway.store.tables import metadata

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
MADE_AT = 1_700_000_000.0
TAKEN = ImportOptions()
APP = "charts.example.test/app"


def digest_of(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def blob_name(digest: str) -> str:
    return f"blobs/sha256/{digest.partition(':')[2]}"


def descriptor(content: bytes, media_type: str, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **more}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest with its config and its layers."""

    content: bytes
    blobs: Sequence[bytes]

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    @property
    def manifest(self) -> Manifest:
        return Manifest.of(self.content, OCI_MANIFEST)


def chart(name: str, version: str, layer: bytes = b"", *, subject: bytes | None = None) -> Artifact:
    """What looks like a chart to whoever does not unpack it."""
    config = json.dumps({"name": name, "version": version, "apiVersion": "v2"}).encode()
    layer = layer or f"{name} {version}".encode() * 10
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, HELM_CONFIG),
        "layers": [descriptor(layer, HELM_CHART_LAYER)],
    }
    if subject is not None:
        document["subject"] = descriptor(subject, OCI_MANIFEST)
    return Artifact(json.dumps(document).encode(), (config, layer))


def tag_row(tag: str, artifact: Artifact, **more: object) -> BundledTag:
    row = BundledTag(
        tag=tag,
        variant="plain",
        source="helm",
        digest=artifact.digest,
        version=tag.replace("_", "+"),
        is_exact=True,
        upstream_digest=None,
        origin=f"https://charts.example.test/{tag}.tgz",
        kept_at=MADE_AT,
        confirmed_at=MADE_AT,
    )
    return msgspec.structs.replace(row, **more)


@dataclass(slots=True)
class Bundle:
    """What is to be in a bundle; each part may be changed before it is written."""

    targets: list[BundledTarget] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)
    rules: bytes | None = None
    since: str | None = None
    format: int = FORMAT

    def add(
        self, target: str, tags: Mapping[str, Artifact], untagged: Sequence[Artifact] = (), **more: object
    ) -> "Bundle":
        rows = [tag_row(tag, artifact) for tag, artifact in tags.items()]
        loose = [BundledManifest(one.digest, "plain", "helm") for one in untagged]
        one = BundledTarget(target, [target], is_private=False, tags=rows, untagged=loose)
        self.targets.append(msgspec.structs.replace(one, **more))
        self.artifacts += (*tags.values(), *untagged)
        return self

    @property
    def contents(self) -> list[BundledContent]:
        manifests = {one.content: OCI_MANIFEST for one in self.artifacts}
        blobs = {blob: "" for one in self.artifacts for blob in one.blobs}
        return [
            BundledContent(digest_of(one), len(one), kind, digest_of(one) in self.left_out)
            for one, kind in (manifests | blobs).items()
        ]

    def files(self, contents: Contents | None = None) -> dict[str, bytes]:
        """The entries by name, in the order that a gateway writes them."""
        told = contents or Contents(self.format, "1.0", MADE_AT, self.since, self.targets, self.contents)
        listed, config = msgspec.json.encode(told), b"{}"
        layers = [(listed, CONTENTS_LAYER)] + ([] if self.rules is None else [(self.rules, RULES_LAYER)])
        own = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": BUNDLE_ARTIFACT,
            "config": descriptor(config, "application/vnd.oci.empty.v1+json"),
            "layers": [descriptor(*layer) for layer in layers],
        }
        artifact = json.dumps(own).encode()
        by_digest = {one.digest: one for one in self.artifacts}
        named = [
            {
                **descriptor(by_digest[tag.digest].content, OCI_MANIFEST),
                "annotations": {REF_NAME: f"{target.target}:{tag.tag}"},
            }
            for target in self.targets
            for tag in target.tags
        ]
        named.append(descriptor(artifact, OCI_MANIFEST, artifactType=BUNDLE_ARTIFACT))
        index = {"schemaVersion": 2, "manifests": named}
        ours = [artifact, config, *(layer for layer, _ in layers)]
        manifests = [one.content for one in self.artifacts]
        blobs = [blob for one in self.artifacts for blob in one.blobs]
        kept = [one for one in (*manifests, *blobs) if digest_of(one) not in self.left_out]
        return {
            "oci-layout": LAYOUT,
            "index.json": json.dumps(index).encode(),
            **{blob_name(digest_of(one)): one for one in (*ours, *kept)},
        }

    def tar(self) -> bytes:
        return tar_of(self.files().items())


def app(*versions: str) -> Bundle:
    return Bundle().add(APP, {version: chart("app", version) for version in versions})


def with_contents(bundle: Bundle, **changes: object) -> bytes:
    """A bundle that says something else of itself."""
    told = Contents(bundle.format, "1.0", MADE_AT, bundle.since, bundle.targets, bundle.contents)
    return tar_of(bundle.files(msgspec.structs.replace(told, **changes)).items())


def tar_of(files: Iterable[tuple[str, bytes]]) -> bytes:
    def fill(tar: tarfile.TarFile) -> None:
        for name, content in files:
            add_file(tar, name, content)

    return tar_with(fill)


def tar_with(fill: Callable[[tarfile.TarFile], object], form: int = tarfile.PAX_FORMAT) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=form) as tar:
        fill(tar)
    return written.getvalue()


def add_file(tar: tarfile.TarFile, name: str, content: bytes = b"", **more: object) -> None:
    """``more`` is what else the header says."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    for key, value in more.items():
        setattr(header, key, value)
    tar.addfile(header, io.BytesIO(content))


@dataclass(frozen=True, slots=True)
class ImportHouse:
    storage: Storage
    importer: Importer
    desk: RuleDesk

    async def take(self, content: bytes, options: ImportOptions = TAKEN) -> ImportReport:
        return await self.importer.import_(io.BytesIO(content), options)

    async def refused(self, content: bytes, options: ImportOptions = TAKEN) -> tuple[str, ...]:
        """The faults; nothing was changed."""
        before = await self.everything()
        with pytest.raises(BundleRefused) as error:
            await self.take(content, options)
        assert await self.everything() == before
        return tuple(error.value.faults)

    async def held(self, tag: str) -> list[str]:
        """What ``APP`` has under a tag."""
        rows = await self.storage.catalog.find_tags(Target.parse(APP), "plain", tag)
        return [str(row.digest) for row in rows]

    async def rows(self) -> Mapping[str, Sequence[object]]:
        """All that the catalog says."""
        return await self.storage.engines.ask(_rows)

    def files(self) -> Mapping[str, bytes]:
        """All that lies among the blobs."""
        root = self.storage.data_dir.blobs
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    async def everything(self) -> object:
        return await self.rows(), self.files()


def _rows(connection: Connection) -> Mapping[str, Sequence[object]]:
    return {
        name: sorted(connection.execute(select(table)).all(), key=repr)
        for name, table in metadata.tables.items()
    }


@asynccontextmanager
async def import_house(
    folder: Path,
    database: PostgresUrl | None = None,
    origins: frozenset[RevisionOrigin] | None = None,
    rules: bytes = b"version: 1\n",
) -> AsyncIterator[ImportHouse]:
    data_dir = DataDir(folder / "data", database)
    data_dir.prepare()
    storage, engines = open_storage(data_dir), data_dir.open_rule_engines()
    (folder / "rules.yaml").write_bytes(rules)
    desk = RuleDesk(
        RulesFile(folder / "rules.yaml", is_named=True),
        RuleReader(Secrets(), None),
        engines,
        origins,
    )
    desk.start()
    importer = Importer(
        root=data_dir.blobs,
        blobs=storage.disk,
        engines=engines,
        book=ImportBook(engines, storage.generation),
        rules=RulesImport(desk, lambda: MADE_AT),
        key=data_dir.root / "import-key.pem",
        max_blob_bytes=20 << 30,
        now=lambda: MADE_AT + 3600.0,
    )
    try:
        yield ImportHouse(storage, importer, desk)
    finally:
        await storage.close()
        await engines.close()
        data_dir.close()
