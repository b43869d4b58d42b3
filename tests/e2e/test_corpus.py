"""Real repositories, their real indexes and charts, pulled by the real clients."""

import csv
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Server, Site
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.e2e

REPOSITORIES = ("argoproj.github.io/argo-helm", "cloudnative-pg.github.io/charts")
RELEASES = "github.com/cloudnative-pg/charts/releases/download"  # there lie the archives of the second

Row = dict[str, str]


@pytest.fixture(scope="module")
def server(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    site = Site(tmp_path_factory.mktemp("site"))
    argo, cnpg = (corpus / repository for repository in REPOSITORIES)
    with HelmRepo(argo, prefix="argo-helm", gzips=True) as argo_repo, HelmRepo(cnpg) as cnpg_repo:
        for archive in cnpg.glob("*.tgz"):
            cnpg_repo.put(f"{archive.stem.replace('-0.', '-v0.')}/{archive.name}", archive.read_bytes())
        upstreams = {REPOSITORIES[0]: argo_repo, REPOSITORIES[1]: cnpg_repo, RELEASES: cnpg_repo}
        site.point_at(upstreams)
        with site.serve(workers=2) as server:
            yield server


@pytest.fixture(scope="module")
def rows(corpus: Path) -> list[Row]:
    """The newest and the oldest chart of each name that the corpus has."""
    with (corpus / "digests.tsv").open(newline="") as table:
        charts = groupby(csv.DictReader(table, delimiter="\t"), key=lambda row: row["chart"])
        listed = [list(versions) for _, versions in charts]
    return [row for versions in listed for row in (versions[0], versions[-1])]


def test_real_charts_are_pulled_byte_for_byte(
    server: Server, helm: Client, rows: list[Row], tmp_path: Path
) -> None:
    differing = [
        f"{row['chart']} {row['version']}"
        for row in rows
        if _layer(helm.pull(_reference(server, row), into=tmp_path / _name(row))) != row["layer_digest"]
    ]
    assert differing == []
    assert len(rows) == 24


def test_every_digest_is_what_the_proxy_that_came_before_us_gave(
    server: Server, crane: Client, rows: list[Row]
) -> None:
    told = [crane.ok("digest", "--insecure", _reference(server, row).removeprefix("oci://")) for row in rows]
    assert [digest.strip() for digest in told] == [row["manifest_digest"] for row in rows]


def test_a_real_chart_renders(server: Server, helm: Client) -> None:
    chart = f"oci://{server.address}/{REPOSITORIES[0]}/argo-cd"
    rendered = helm.ok("template", "argo", chart, "--version", "3.3.3", "--plain-http")
    assert rendered.count("\nkind: Deployment\n") >= 4


def test_crane_validates_a_real_chart(server: Server, crane: Client) -> None:
    crane.ok(
        "validate", "--insecure", "--remote", f"{server.address}/{REPOSITORIES[1]}/cloudnative-pg:0.20.1"
    )


def test_crane_lists_every_version_of_the_index(server: Server, crane: Client, corpus: Path) -> None:
    listed = crane.ok("ls", "--insecure", f"{server.address}/{REPOSITORIES[0]}/argo-cd").split()
    index = (corpus / REPOSITORIES[0] / "index.yaml").read_text()
    block = index.partition("\n  argo-cd:\n")[2].partition("\n  argo-ci:\n")[0]
    versions = [line.split()[1] for line in block.splitlines() if line.startswith("    version: ")]
    assert sorted(listed) == sorted(versions)


def test_skopeo_copies_what_was_served(
    server: Server, skopeo: Client, rows: list[Row], tmp_path: Path
) -> None:
    row = rows[0]
    source = f"docker://{_reference(server, row).removeprefix('oci://')}"
    inspected = skopeo.ok("inspect", "--tls-verify=false", "--raw", source).encode()
    assert str(Digest.of(inspected)) == row["manifest_digest"]
    skopeo.ok("copy", "--src-tls-verify=false", source, f"oci:{tmp_path / 'layout'}:copied")
    (copied,) = json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"]
    assert copied["digest"] == row["manifest_digest"]
    skopeo.ok("copy", "--src-tls-verify=false", source, f"dir:{tmp_path / 'folder'}")
    assert (tmp_path / "folder" / "manifest.json").read_bytes() == inspected


def _reference(server: Server, row: Row) -> str:
    return f"oci://{server.address}/{row['repository']}/{row['chart']}:{row['version'].replace('+', '_')}"


def _name(row: Row) -> str:
    return f"{row['chart']}-{row['version']}"


def _layer(archive: bytes) -> str:
    return str(Digest.of(archive))
