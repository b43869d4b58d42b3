"""Tiny chart archives and the repository around them, made in memory."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping

import yaml

CREATED = "2024-05-06T07:08:09.123456789Z"


def make_chart(
    name: str, version: str, files: Mapping[str, bytes] | None = None, **chart_yaml: object
) -> bytes:
    """Return a ``.tgz`` that holds Chart.yaml and ``files``; the same arguments give the same bytes.

    ``chart_yaml`` adds to Chart.yaml, or replaces what is there (``apiVersion="v1"``).
    """
    metadata = {"apiVersion": "v2", "name": name, "version": version, **chart_yaml}
    described = {"Chart.yaml": yaml.safe_dump(metadata, sort_keys=False).encode(), **(files or {})}
    return pack({f"{name}/{path}": content for path, content in described.items()})


def pack(members: Mapping[str, bytes]) -> bytes:
    """Return a gzipped tar of these members, in this order, as any tool might have made it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in members.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def index_entry(archive: bytes, url: str, **changes: object) -> dict[str, object]:
    """Return the entry that ``helm repo index`` would write; a change to None takes a member out."""
    entry = {
        **chart_yaml_of(archive),
        "created": CREATED,
        "digest": hashlib.sha256(archive).hexdigest(),
        "urls": [url],
        **changes,
    }
    return {key: value for key, value in entry.items() if value is not None}


def index_of(charts: Mapping[str, bytes], base: str = "") -> bytes:
    """Return index.yaml for archives by file name; ``base`` (ending in /) makes their URLs absolute."""
    entries: dict[str, list[dict[str, object]]] = {}
    for file_name, archive in charts.items():
        entry = index_entry(archive, base + file_name)
        entries.setdefault(str(entry["name"]), []).append(entry)
    return dump_index(entries)


def dump_index(entries: Mapping[str, list[dict[str, object]]]) -> bytes:
    """Return index.yaml in Helm's own style: block style, keys in order, quotes only where needed."""
    index = {"apiVersion": "v1", "entries": dict(entries), "generated": CREATED}
    return yaml.safe_dump(index, sort_keys=True, width=10_000, allow_unicode=True).encode()


def repository_of(*archives: bytes, base: str = "") -> dict[str, bytes]:
    """Return the files of a Helm repository with these charts: index.yaml and the archives."""
    charts = {_file_name(archive): archive for archive in archives}
    return {"index.yaml": index_of(charts, base), **charts}


def chart_yaml_of(archive: bytes) -> dict[str, object]:
    """Read Chart.yaml of an archive that ``make_chart`` made."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        content = members.extractfile(members.getnames()[0])
        assert content is not None
        metadata: dict[str, object] = yaml.safe_load(content)
    return metadata


def _file_name(archive: bytes) -> str:
    metadata = chart_yaml_of(archive)
    return f"{metadata['name']}-{metadata['version']}.tgz"
