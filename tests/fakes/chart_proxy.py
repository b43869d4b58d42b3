"""A chart proxy: a registry under whose ``<host>/<path>/<chart>`` lie the charts of Helm repositories."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.helm.archive import read_chart_archive
from gateway.helm.convert import Conversion, convert
from gateway.helm.index import ChartVersion, find_chart
from gateway.helm.metadata import parse_metadata
from gateway.oci.digest import Digest
from gateway.oci.media_types import OCI_MANIFEST
from tests.fakes.messages import Answer, Request
from tests.fakes.registry import FakeRegistry

Files = Mapping[str, bytes] | Path


class FakeChartProxy(FakeRegistry):
    """Converts the charts of ``repositories``, by ``host/path``, by the very code that the gateway uses.

    A repository is its files, or a folder of them, read anew for each request: what is published there
    later is there too. Tags are the index's versions as they are written, ``+`` as ``_``. What was pushed
    by hand stays, and outweighs what is converted. ``is_converting`` off serves what was, and nothing new.
    """

    def __init__(self, repositories: Mapping[str, Files]) -> None:
        super().__init__()
        self.repositories = dict(repositories)
        self.is_converting = True

    def answer(self, request: Request) -> Answer:
        if self.is_converting:
            for place, files in self.repositories.items():
                if request.path.startswith(f"/v2/{place}/"):
                    chart = request.path.removeprefix(f"/v2/{place}/").partition("/")[0]
                    self._publish(place, chart, files)
        return super().answer(request)

    def _publish(self, place: str, chart: str, files: Files) -> None:
        name = f"{place}/{chart}"
        for entry, archive in _charts(files, chart):
            tag = entry.version.replace("+", "_")
            if self.find_digest(name, tag) is None:
                made = conversion_of(archive, entry)
                self.put_blob(name, made.config)
                self.put_blob(name, archive)
                self.push(name, tag, made.manifest, OCI_MANIFEST)


def conversion_of(archive: bytes, entry: ChartVersion) -> Conversion:
    """What the gateway makes of an archive that stands in an index so."""
    metadata = parse_metadata(read_chart_archive(io.BytesIO(archive)))
    return convert(metadata, Digest.of(archive), len(archive), entry)


def converted(files: Files, chart: str) -> Mapping[str, Conversion]:
    """By version, what the gateway makes of a repository's chart: the digests to expect."""
    return {entry.version: conversion_of(archive, entry) for entry, archive in _charts(files, chart)}


def _charts(files: Files, chart: str) -> Iterator[tuple[ChartVersion, bytes]]:
    """Every version of a chart whose first URL is a file beside the index."""
    index = _read(files, "index.yaml")
    entries = None if index is None else find_chart(index, chart)
    for entry in entries.versions if entries else ():
        archive = _read(files, entry.urls[0].rpartition("/")[2])
        if archive is not None:
            yield entry, archive


def _read(files: Files, path: str) -> bytes | None:
    if isinstance(files, Path):
        place = files / path
        return place.read_bytes() if place.is_file() else None
    return files.get(path)
