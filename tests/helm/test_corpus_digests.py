"""Real charts become, byte for byte, what helm-charts-oci-proxy 1.0.0 made of them."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest

from gateway.helm.archive import read_chart_archive
from gateway.helm.convert import Conversion, convert
from gateway.helm.document import parse_document
from gateway.helm.index import ChartEntries, ChartVersion, read_entries
from gateway.helm.metadata import parse_metadata
from gateway.oci.digest import Digest

pytestmark = pytest.mark.slow  # many small tests, seconds together

EXAMPLES = (
    "argo-1.0.0",
    "argo-cd-3.4.0",
    "argocd-notifications-1.3.0",
    "cloudnative-pg-0.20.1",
    "cnpg-sandbox-0.5.1",
)


@dataclass(frozen=True)
class Row:
    repository: str
    chart: str
    version: str
    manifest_digest: str
    manifest_size: str
    config_digest: str
    config_size: str
    layer_digest: str


def rows(corpus: Path) -> Iterator[Row]:
    with (corpus / "digests.tsv").open(newline="") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            yield Row(**row)


@cache
def entries(helm_repo: Path) -> dict[str, ChartEntries]:
    index = parse_document((helm_repo / "index.yaml").read_bytes())
    assert isinstance(index, dict)
    charts = index["entries"]
    assert isinstance(charts, dict)
    return {name: read_entries(value) for name, value in charts.items()}


def entry(corpus: Path, row: Row) -> ChartVersion:
    versions = entries(corpus / row.repository)[row.chart].versions
    return next(version for version in versions if version.version == row.version)


def converted(corpus: Path, row: Row) -> Conversion:
    chart_version = entry(corpus, row)
    archive = (corpus / row.repository / chart_version.urls[0].rpartition("/")[2]).read_bytes()
    metadata = parse_metadata(read_chart_archive(BytesIO(archive)))
    return convert(metadata, Digest.of(archive), len(archive), chart_version)


def test_every_chart_of_the_corpus_converts_to_the_recorded_digests(corpus: Path) -> None:
    table = list(rows(corpus))
    differing: list[str] = []
    for row in table:
        conversion = converted(corpus, row)
        found = Row(
            row.repository,
            row.chart,
            row.version,
            str(conversion.manifest_digest),
            str(len(conversion.manifest)),
            str(conversion.config_descriptor.digest),
            str(len(conversion.config)),
            str(conversion.layer_descriptor.digest),
        )
        if found != row:
            differing.append(f"{row.chart} {row.version}: {conversion.manifest!r}")
    assert differing == []
    assert len(table) == 355


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_met_byte_for_byte(corpus: Path, example: str) -> None:
    row = next(row for row in rows(corpus) if f"{row.chart}-{row.version}" == example)
    conversion = converted(corpus, row)
    assert conversion.manifest == (corpus / "examples" / f"{example}.manifest.json").read_bytes()
    assert conversion.config == (corpus / "examples" / f"{example}.config.json").read_bytes()
