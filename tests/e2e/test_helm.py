"""Helm, each that is in use, pulls charts of a classic repository as if they lay in a registry."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import HELMS
from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Server, Site
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.e2e

FILES = {
    "values.yaml": b"greeting: hello\n",
    "templates/config.yaml": (
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: demo}\n"
        b"data:\n  greeting: {{ .Values.greeting }}\n"
    ),
}
DEMO = make_chart("demo", "1.2.3", FILES, appVersion="1.10", description="Grüße, «hello»")
NEWEST = make_chart("demo", "1.10.0", FILES)
PRERELEASE = make_chart("demo", "2.0.0-rc.1", FILES)
PREFIXED = make_chart("prefixed", "v1.0.0", FILES)
BUILD = make_chart("build", "1.0.0+build.5", FILES)
CHARTS = (make_chart("demo", "1.2.2", FILES), PRERELEASE, DEMO, NEWEST, PREFIXED, BUILD)
UNHURRIED = "quick.example.test/charts"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One gateway for all; each helm has an upstream of its own there, so that each finds it cold."""
    site = Site(tmp_path_factory.mktemp("site"))
    with HelmRepo(repository_of(*CHARTS), prefix="charts") as repo:
        site.point_at({UNHURRIED: repo, **{_upstream(series): repo for series in HELMS}})
        with site.serve() as server:
            yield server


@pytest.fixture
def place(server: Server, helm: Client) -> str:
    """What stands before ``/<chart>`` in a reference."""
    return f"oci://{server.address}/{_upstream(helm.series)}"


@pytest.fixture
def digest(server: Server) -> str:
    """The digest of demo 1.2.3, from an upstream that no helm asks."""
    answer = server.get(f"/v2/{UNHURRIED}/demo/manifests/1.2.3")
    return answer.headers["docker-content-digest"]


def test_a_digest_that_was_never_pulled_is_found(
    helm: Client, place: str, digest: str, tmp_path: Path
) -> None:
    assert helm.pull(f"{place}/demo@{digest}", into=tmp_path / "out") == DEMO


def test_a_tag_with_its_digest_is_pulled(helm: Client, place: str, digest: str, tmp_path: Path) -> None:
    assert helm.pull(f"{place}/demo:1.2.3@{digest}", into=tmp_path / "out") == DEMO


@pytest.mark.parametrize(
    ("wanted", "archive"),
    [
        ("demo 1.2.3", DEMO),
        ("demo v1.2.3", DEMO),
        ("demo 2.0.0-rc.1", PRERELEASE),
        ("demo ~1.2", DEMO),
        ("demo ^1", NEWEST),
        ("prefixed v1.0.0", PREFIXED),
        ("prefixed 1.0.0", PREFIXED),
        ("build 1.0.0+build.5", BUILD),
        ("build >=1.0.0", BUILD),
    ],
)
def test_a_version_is_pulled_byte_for_byte(
    helm: Client, place: str, tmp_path: Path, wanted: str, archive: bytes
) -> None:
    chart, version = wanted.split()
    assert helm.pull(f"{place}/{chart}", "--version", version, into=tmp_path / "out") == archive


@pytest.mark.parametrize(("chart", "archive"), [("demo", NEWEST), ("prefixed", PREFIXED), ("build", BUILD)])
def test_without_a_version_the_newest_release_is_pulled(
    helm: Client, place: str, tmp_path: Path, chart: str, archive: bytes
) -> None:
    assert helm.pull(f"{place}/{chart}", into=tmp_path / "out") == archive


def test_what_helm_reports_is_the_digest_of_the_manifest(
    helm: Client, place: str, digest: str, tmp_path: Path
) -> None:
    told = helm.run("pull", f"{place}/demo", "--version", "1.2.3", "--plain-http", "-d", str(tmp_path))
    assert told.code == 0
    assert f"Digest: {digest}" in told.output + told.errors


def test_a_chart_is_shown_and_rendered_without_a_pull_before(helm: Client, place: str) -> None:
    chart = (f"{place}/demo", "--version", "1.2.3", "--plain-http")
    assert helm.ok("show", "values", *chart).strip() == "greeting: hello"
    assert "description: Grüße, «hello»" in helm.ok("show", "chart", *chart)
    assert "greeting: hi" in helm.ok("template", "my-release", *chart, "--set", "greeting=hi")


@pytest.mark.parametrize("what", ["demo:9.9.9", "absent:1.0.0"])
def test_what_is_not_there_is_not_found(helm: Client, place: str, tmp_path: Path, what: str) -> None:
    chart, _, version = what.partition(":")
    ran = helm.run("pull", f"{place}/{chart}", "--version", version, "--plain-http", "-d", str(tmp_path))
    assert ran.code == 1
    assert f"{place.removeprefix('oci://')}/{what}: not found" in ran.errors


def test_without_a_version_of_an_absent_chart_helm_tells_why(helm: Client, place: str) -> None:
    ran = helm.run("pull", f"{place}/absent", "--plain-http")
    assert ran.code == 1
    assert f"{_upstream(helm.series)} has no chart absent" in ran.errors


@pytest.mark.parametrize(("wanted", "archive"), [("1.2.3", DEMO), ("~1.2", DEMO), ("^1.0.0", NEWEST)])
def test_a_dependency_comes_through_the_gateway(
    helm: Client, place: str, tmp_path: Path, wanted: str, archive: bytes
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "Chart.yaml").write_text(
        "apiVersion: v2\nname: app\nversion: 0.1.0\ndependencies:\n"
        f"  - {{name: demo, version: '{wanted}', repository: '{place}'}}\n"
    )
    helm.ok("dependency", "update", str(app), "--plain-http")
    (updated,) = (app / "charts").iterdir()
    assert updated.read_bytes() == archive
    updated.unlink()
    helm.ok("dependency", "build", str(app), "--plain-http")
    assert updated.read_bytes() == archive
    assert "greeting: hello" in helm.ok("template", "my-release", str(app))


def _upstream(series: str) -> str:
    return f"for-helm-{series.replace('.', '-')}.example.test/charts"
