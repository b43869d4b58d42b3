"""Files of classic repositories over HTTP: archives in full and in part, and paths that only look alike."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.errors import OciError
from gateway.web.paths import ClassicAsked, is_classic, parse_classic
from tests.classic_house import CHARTS, NEW, OLD, OTHER, house, rules_for
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

DEMO = "/charts/argo/demo-1.0.0.tgz"


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(*CHARTS)) as running:
        running.put("demo-1.0.0.tgz.prov", b"signed\n")
        yield running


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("charts/argo/index.yaml", ClassicAsked("charts/argo", "index.yaml")),
        ("index.yaml", ClassicAsked("", "index.yaml")),
        ("localhost:5000/a/x-1.tgz.prov", ClassicAsked("localhost:5000/a", "x-1.tgz.prov")),
    ],
)
def test_a_path_is_read_as_a_prefix_and_a_file(path: str, asked: ClassicAsked) -> None:
    assert is_classic(f"/{path}")
    assert parse_classic(path) == asked


@pytest.mark.parametrize(
    "path",
    [
        "/v2/a/manifests/index.yaml",
        "/v2/a/manifests/x-1.0.0.tgz",
        "/charts/v2/a/manifests/index.yaml",
        "/v2/index.yaml/tags/list",
        "/charts/argo/",
        "/charts/argo/values.yaml",
    ],
)
def test_what_a_registry_is_asked_is_no_file(path: str) -> None:
    assert not is_classic(path)


@pytest.mark.parametrize("path", ["Argo/index.yaml", "a//b/index.yaml", "../index.yaml", "a/../b/index.yaml"])
def test_a_prefix_is_a_name(path: str) -> None:
    with pytest.raises(OciError):
        parse_classic(path)


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_archive_is_given_in_full_in_part_and_as_a_head(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        whole = await ours.get(DEMO)
        assert (whole.status_code, whole.content) == (200, OLD)
        assert whole.headers["content-type"] == "application/gzip"
        assert whole.headers["cache-control"] == "no-cache"
        part = await ours.get(DEMO, range="bytes=5-9")
        assert (part.status_code, part.content) == (206, OLD[5:10])
        assert (await ours.get(DEMO, range="bytes=999999-")).status_code == 416
        head = await ours.get(DEMO, "HEAD")
        assert (head.headers["content-length"], head.content) == (str(len(OLD)), b"")
        assert (await ours.get(DEMO, if_none_match=whole.headers["etag"])).status_code == 304
    assert repo.count_of("demo-1.0.0.tgz") == 1


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_provenance_file_is_given_where_upstream_has_one(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        assert (await ours.get(f"{DEMO}.prov")).content == b"signed\n"
        assert await ours.refusal("/charts/argo/demo-1.1.0.tgz.prov") == (404, "MANIFEST_UNKNOWN")
        ours.use(rules_for(repo, "provenance: true"))
        assert (await ours.get(f"{DEMO}.prov")).content == b"signed\n"
        repo.go_down()
        assert (await ours.get(f"{DEMO}.prov")).content == b"signed\n"


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_version_with_a_build_is_found_however_its_plus_is_written(
    tmp_path: Path, repo: HelmRepo
) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        for spelled in ("+", "%2B"):
            answer = await ours.get(f"/charts/argo/other-2.0.0-rc.1{spelled}b.5.tgz")
            assert answer.content == OTHER


@pytest.mark.slow
@pytest.mark.anyio
async def test_of_several_readings_of_a_file_name_the_one_that_is_there_counts(tmp_path: Path) -> None:
    numbered, plain = make_chart("demo-1", "2.0.0"), make_chart("demo", "1-2.0.0")
    with HelmRepo(repository_of(numbered, NEW)) as repo:
        async with house(tmp_path, rules_for(repo)) as ours:
            assert (await ours.get("/charts/argo/demo-1-2.0.0.tgz")).content == numbered
            assert (await ours.get("/charts/argo/demo-1.1.0.tgz")).content == NEW
    with HelmRepo(repository_of(plain)) as repo:
        async with house(tmp_path / "other", rules_for(repo)) as ours:
            assert (await ours.get("/charts/argo/demo-1-2.0.0.tgz")).content == plain


@pytest.mark.slow
@pytest.mark.anyio
async def test_what_names_no_chart_is_not_looked_for(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        for name in ("nothing.tgz", "-1.0.0.tgz", "demo-one.tgz", "Demo-1.0.0.tgz"):
            assert (await ours.refusal(f"/charts/argo/{name}"))[0] in (400, 404)
        assert await ours.refusal("/charts/argo/" + "demo-1" * 300 + ".tgz") == (404, "MANIFEST_UNKNOWN")
    assert [request.path for request in repo.requests if request.path.endswith(".tgz")] == []
