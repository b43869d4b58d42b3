"""Fuzz targets: charts: the archive, its metadata, the artifact made of it, its dependencies rewritten."""

import gzip
import zlib
from contextlib import suppress
from io import BytesIO

from gateway.helm.archive import ArchiveError, ChartFiles, read_chart_archive
from gateway.helm.archive_copy import copy_with, read_files
from gateway.helm.convert import convert
from gateway.helm.dependencies import rewrite_chart, rewrite_repository
from gateway.helm.index import ChartVersion
from gateway.helm.metadata import ChartMetadata, MetadataError, parse_metadata
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.manifest import parse_manifest
from tests.fuzz.indexes import YAML_WORDS
from tests.fuzz.target import Target, parts_of, text_of
from tests.helm.archives import CHART, END, GNU, V7, chart_yaml, member, pax, tgz

_BASE = "gw.example.test:9000"
_FILES = frozenset((b"Chart.yaml", b"Chart.lock", b"requirements.yaml", b"requirements.lock"))


def check_archive(data: bytes) -> None:
    """Of an archive that is taken, Chart.yaml is what stands there, and a copy differs only in what it shall.

    The first byte says whether the rest is a .tgz, or the tar in one: no chance finds a checksum.
    """
    archive = data[1:] if data[:1] == b"z" else _packed(data[1:])
    try:
        files = read_chart_archive(BytesIO(archive))
    except ArchiveError:
        return
    assert files.chart in zlib.decompress(archive, 31)
    held = read_files(BytesIO(archive), _FILES)
    assert held[b"Chart.yaml"] == files.chart
    assert held.get(b"requirements.yaml") == files.requirements
    with suppress(ArchiveError):
        _check_copy(archive, files)


def _check_copy(archive: bytes, files: ChartFiles) -> None:
    changes = {b"Chart.yaml": files.chart + b"# more\n" * 99}
    copied = copy_with(BytesIO(archive), changes)
    assert copied == copy_with(BytesIO(archive), changes)
    again = read_chart_archive(BytesIO(copied))
    assert again == ChartFiles(changes[b"Chart.yaml"], files.requirements)
    unchanged = copy_with(BytesIO(copied), {})
    assert zlib.decompress(unchanged, 31).rstrip(b"\0") == zlib.decompress(copied, 31).rstrip(b"\0")


def _packed(tar: bytes) -> bytes:
    """A .tgz of this tar, the checksums of its headers put right where they say nothing."""
    blocks = bytearray(tar + bytes(-len(tar) % 512))
    for place in range(0, len(blocks), 512):
        if blocks[place + 148 : place + 156] == b"????????":
            blocks[place + 148 : place + 156] = b" " * 8
            blocks[place + 148 : place + 156] = b"%06o\0 " % sum(blocks[place : place + 512])
    return gzip.compress(bytes(blocks), 1, mtime=0)


def check_metadata(data: bytes) -> None:
    """Metadata becomes an artifact that we take ourselves, always the same, and reads back as itself."""
    chart, requirements, url = parts_of(data, 3)
    try:
        metadata = parse_metadata(ChartFiles(chart, requirements or None))
    except MetadataError:
        return
    config = dump_compact(metadata.to_json())
    assert _metadata_again(config) == metadata.to_json()
    entry = ChartVersion(metadata.name, metadata.version, (text_of(url) or "a.tgz",), created=text_of(url))
    with suppress(MetadataError):
        made = convert(metadata, Digest.of(b""), 0, entry)
        parsed = parse_manifest(made.manifest, None)
        assert parsed.is_helm_chart
        assert made == convert(metadata, Digest.of(b""), 0, entry)


def _metadata_again(config: bytes) -> object:
    """What the config says, read as the YAML that all JSON is."""
    try:
        return parse_metadata(ChartFiles(config)).to_json()
    except MetadataError as error:
        raise AssertionError(config) from error


def check_dependencies(data: bytes) -> None:
    """Of a chart rewritten only repositories differ; rewriting it again changes nothing."""
    names = (b"Chart.yaml", b"requirements.yaml", b"Chart.lock")
    files = {name: part for name, part in zip(names, parts_of(data, 3), strict=True) if part}
    archive = tgz(*(member(b"demo/" + name, content) for name, content in files.items()))
    try:
        rewritten = rewrite_chart(BytesIO(archive), _BASE)
    except (ArchiveError, MetadataError):
        return
    if rewritten is None:
        return
    after = read_chart_archive(BytesIO(rewritten.archive))
    assert parse_metadata(after) == rewritten.metadata
    assert _without_repositories(rewritten.metadata) == _without_repositories(
        parse_metadata(ChartFiles(files[b"Chart.yaml"], files.get(b"requirements.yaml")))
    )
    for dependency in rewritten.metadata.dependencies:
        assert rewrite_repository(dependency.repository, _BASE, dependency.name) == dependency.repository
    assert rewrite_chart(BytesIO(rewritten.archive), _BASE) is None
    assert rewrite_chart(BytesIO(archive), _BASE) == rewritten


def _without_repositories(metadata: ChartMetadata) -> object:
    members = metadata.to_json()
    members["dependencies"] = [
        {**dependency.to_json(), "repository": ""} for dependency in metadata.dependencies
    ]
    return members


def _tar(*members: bytes) -> bytes:
    """A tar whose checksums the target puts right, so that any header is as good as another."""
    blocks = bytearray(b"".join(members) + END)
    for place in range(0, len(blocks), 512):
        if blocks[place + 257 : place + 262] == b"ustar" or blocks[place : place + 5] == b"demo/":
            blocks[place + 148 : place + 156] = b"????????"
    return b"t" + bytes(blocks)


_CHART_YAML = b"""\
apiVersion: v2
name: demo # it is
version: 1.10.0+b
appVersion: 1.10
description: "a \\u00e9 \\t x"
keywords: [a, 1, true, ~]
maintainers: [{name: A, email: a@b}]
annotations: {a: "b", c: 0x1F}
dependencies:
- name: sub
  version: ">=1 <2"
  repository: https://charts.example.test/stable
  import-values: [{a: 1.5, b: [1e21, .5, 0o7]}, x]
- {name: other, repository: "@alias", enabled: true, alias: o}
"""
_LOCK = b"""\
dependencies:
- name: sub
  repository: &r 'https://charts.example.test/stable'
  version: 1.2.3
- {name: other, repository: *r, version: 1.0.0}
digest: sha256:0
generated: "2024-05-06T07:08:09Z"
"""
_CHART_WORDS = (
    *YAML_WORDS,
    *("dependencies:\n", "repository: ", "https://", "oci://", "version: ", "name: ", "annotations:"),
    *("import-values:", "1e21", "0x", ".inf"),
)

TARGETS = (
    Target(
        "archive",
        check_archive,
        [
            b"z" + tgz(chart_yaml()),
            _tar(chart_yaml(), member(b"demo/requirements.yaml", b"dependencies: []\n")),
            _tar(pax(("path", "demo/Chart.yaml"), ("size", "3")), member(b"x", b"a: b")),
            _tar(pax(("comment", "x"), flag=b"g"), chart_yaml()),
            _tar(member(b"demo/", flag=b"5"), member(b"demo/Chart.yaml", CHART, magic=GNU)),
            _tar(member(b"././@LongLink", b"demo/Chart.yaml\0", flag=b"L", magic=GNU), member(b"x", CHART)),
            _tar(member(b"demo/Chart.yaml", CHART, magic=V7, flag=b"\0"), member(b"demo/l", flag=b"2")),
        ],
        ["????????", "demo/Chart.yaml", "ustar", "path=", "size=", "GNU.sparse.", "Chart.yaml", "../", "./"],
        6144,
    ),
    Target(
        "metadata",
        check_metadata,
        [
            _CHART_YAML,
            _CHART_YAML
            + b"\0"
            + b"dependencies:\n- name: sub\n  version: 2\n\0https://a.example/x%20y.tgz?z",
            b"name: a\nversion: 1\ntype: library\ndeprecated: yes\nannotations: {a: 1_000, b: .nan}\n",
        ],
        _CHART_WORDS,
        2048,
    ),
    Target(
        "dependencies",
        check_dependencies,
        [
            _CHART_YAML + b"\0\0" + _LOCK,
            _CHART_YAML.partition(b"dependencies")[0] + b"\0" + _LOCK + b"\0",
            _CHART_YAML.replace(b"\n", b"\r\n"),
            _CHART_YAML.replace(
                b"https://charts.example.test/stable", b"|-\n    https://charts.example.test/stable"
            ),
        ],
        _CHART_WORDS,
        2048,
    ),
)
