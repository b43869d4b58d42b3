"""The whole gateway on PostgreSQL, chosen by ``DATABASE_URL`` alone; several gateways share a database."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier, Event

import httpx
import pytest

from gateway.oci.digest import Digest
from gateway.oci.postgres_url import PostgresUrl
from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, eventually
from tests.e2e.postgres_site import PostgresSite
from tests.e2e.test_many_workers import CLIENTS, ask_together
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.postgres import Cluster

pytestmark = pytest.mark.e2e

UPSTREAM = "charts.example.test/stable"
DEMO = make_chart("demo", "1.2.3", {"values.yaml": b"a: 1\n", "templates/cm.yaml": b"kind: ConfigMap\n"})
REPUBLISHED = make_chart("demo", "1.2.3", {"values.yaml": b"a: 2\n"})
OTHER = make_chart("other", "0.1.0")
ARCHIVE = "demo-1.2.3.tgz"
MANIFEST = f"/v2/{UPSTREAM}/demo/manifests/1.2.3"
BLOB = f"/v2/{UPSTREAM}/demo/blobs/{Digest.of(DEMO)}"
OTHER_MANIFEST = f"/v2/{UPSTREAM}/other/manifests/0.1.0"
COLD = ["/index.yaml", f"/{ARCHIVE}"]


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(DEMO, OTHER)) as repo:
        yield repo


@dataclass(frozen=True, slots=True)
class Sites:
    """Makes sites on one database, all with the same upstream."""

    folder: Path
    url: PostgresUrl
    repo: HelmRepo

    def make(self, name: str, defaults: str = "{}") -> PostgresSite:
        (self.folder / name).mkdir()
        site = PostgresSite(self.folder / name, self.url)
        site.point_at({UPSTREAM: self.repo}, defaults)
        return site


@pytest.fixture
def sites(tmp_path: Path, postgres_url: PostgresUrl, repo: HelmRepo) -> Sites:
    return Sites(tmp_path, postgres_url, repo)


@pytest.fixture
def site(sites: Sites) -> PostgresSite:
    return sites.make("site")


def paths_of(repo: HelmRepo) -> list[str]:
    return [request.path for request in repo.requests]


def digest_at(server: Server, path: str = MANIFEST) -> str:
    answer = server.get(path)
    assert answer.status_code == 200, answer.text
    digest: str = answer.headers["docker-content-digest"]
    return digest


def test_helm_pulls_and_renders_by_version_and_digest_and_a_restart_forgets_nothing(
    site: PostgresSite, repo: HelmRepo, newest_helm: Client, tmp_path: Path
) -> None:
    with site.serve() as server:
        reference = f"oci://{server.address}/{UPSTREAM}/demo"
        assert newest_helm.pull(reference, "--version", "1.2.3", into=tmp_path / "tag") == DEMO
        digest = digest_at(server)
        assert newest_helm.pull(f"{reference}@{digest}", into=tmp_path / "digest") == DEMO
        rendered = newest_helm.ok("template", "x", reference, "--version", "1.2.3", "--plain-http")
        assert "kind: ConfigMap" in rendered
    repo.go_down()
    with site.serve() as server:
        answer = server.get(MANIFEST)
        assert (answer.headers["x-cache"], answer.headers["docker-content-digest"]) == ("hit", digest)
        assert server.get(MANIFEST.replace("1.2.3", digest)).content == answer.content
        assert server.get(BLOB).content == DEMO
        assert server.get(f"/v2/{UPSTREAM}/demo/tags/list").json()["tags"] == ["1.2.3"]
        assert newest_helm.pull(f"oci://{server.address}/{UPSTREAM}/demo", into=tmp_path / "down") == DEMO
    assert Counter(paths_of(repo)) == Counter(COLD)
    assert not list(site.data_dir.glob("*.sqlite3*"))


def test_an_upstream_that_is_lost_leaves_what_is_held_as_stale(sites: Sites, repo: HelmRepo) -> None:
    site = sites.make("site", "{recheck_for: 0s, fresh_for: 0s}")
    with site.serve() as server:
        digest = digest_at(server)
        assert server.get(MANIFEST).headers["x-cache"] == "hit"
        repo.go_down()
        answer = server.get(MANIFEST)
        assert (answer.headers["x-cache"], answer.headers["docker-content-digest"]) == ("stale", digest)
        cold = server.get(OTHER_MANIFEST)
        assert (cold.status_code, "retry-after" in cold.headers) == (503, True)
        assert server.get(BLOB).content == DEMO


def test_commands_work_beside_the_server_and_tell_no_secret(site: PostgresSite, repo: HelmRepo) -> None:
    with site.serve() as server:
        digest = digest_at(server)
        pulled = json.loads(site.run("pull", f"{UPSTREAM}/other:0.1.0", "--json").require_ok())
        assert server.get(OTHER_MANIFEST).headers["x-cache"] == "hit"
        listed = json.loads(site.run("list", "--json").require_ok())
        assert {one["digest"] for one in listed} == {digest, pulled["digest"]}
        explained = site.run("explain", f"{UPSTREAM}/demo:1.2.3").require_ok()
        assert digest in explained
        migrated = site.run("migrate", "--json").require_ok()
        assert json.loads(migrated) == {"catalog": str(site.url), "migrated": []}
        told = explained + migrated + server.log
        assert "@ss" not in told
        assert "%40ss" not in told
    assert Counter(paths_of(repo)) == Counter([*COLD, "/other-0.1.0.tgz"])


def test_an_empty_database_is_migrated_by_whoever_comes_first(
    tmp_path: Path, postgres: Cluster, repo: HelmRepo
) -> None:
    url = postgres.create("template0")
    try:
        sites = Sites(tmp_path, url, repo)
        with sites.make("one").serve(workers=2) as one, sites.make("two").serve(workers=2) as two:
            assert digest_at(one) == digest_at(two)
            assert one.wait_for("listening")["migrated"]
            assert two.wait_for("listening")["migrated"] == []
    finally:
        postgres.drop(url)


@pytest.mark.parametrize("gateways", [1, 2])
def test_two_hundred_cold_pulls_at_once_are_one_index_and_one_archive(
    site: PostgresSite, repo: HelmRepo, gateways: int
) -> None:
    """Four processes in all: those of one gateway, or of two that share a data directory."""
    repo.faults_of(ARCHIVE).silent = True

    def let_go() -> None:
        repo.faults_of(ARCHIVE).silent = False
        repo.release()

    with serving(site, gateways) as servers:
        answers = ask_all_together(servers, MANIFEST, let_go)
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert paths_of(repo) == COLD
        assert [server.get(BLOB).content for server in servers] == [DEMO] * gateways
        assert paths_of(repo) == COLD


def test_two_hundred_who_fail_together_are_one_try_and_the_next_one_tries_again(
    site: PostgresSite, repo: HelmRepo
) -> None:
    faults = repo.faults_of("index.yaml")
    faults.silent, faults.status = True, 500

    def let_go() -> None:
        eventually(lambda: are_at_rest(servers[0]), PATIENCE_SECONDS)  # who comes later is a next one
        faults.silent = False
        repo.release()

    with serving(site, 1) as servers:
        answers = ask_all_together(servers, MANIFEST, let_go)
        assert {answer.status_code for answer in answers} == {503}
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        assert paths_of(repo) == ["/index.yaml"]
        faults.status = None
        assert digest_at(servers[0]).startswith("sha256:")


def test_what_one_gateway_pulled_another_on_its_database_serves_and_fetches_only_the_blobs(
    sites: Sites, repo: HelmRepo
) -> None:
    with sites.make("one").serve() as one, sites.make("two").serve() as two:
        digest = digest_at(one)
        assert paths_of(repo) == COLD
        answer = two.get(MANIFEST)
        assert (answer.headers["x-cache"], answer.headers["docker-content-digest"]) == ("hit", digest)
        assert two.get(MANIFEST.replace("1.2.3", digest)).content == answer.content
        assert paths_of(repo) == COLD
        for path in parts_of(answer):
            assert two.get(path).content == one.get(path).content
            assert two.get(path).headers["x-cache"] == "hit"
        assert repo.count_of(ARCHIVE) == 2
        assert digest_at(two, OTHER_MANIFEST) == digest_at(one, OTHER_MANIFEST)
        assert repo.count_of("index.yaml") == 2  # the other's index is a blob too
        repo.go_down()
        assert two.get(BLOB).content == DEMO


def test_blobs_that_another_gateway_has_and_nobody_else_are_an_outage_until_upstream_is_back(
    sites: Sites, repo: HelmRepo
) -> None:
    with sites.make("one").serve() as one:
        digest_at(one)
        repo.go_down()
        with sites.make("two").serve() as two:
            digest_at(two)
            answer = two.get(BLOB)
            assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
            assert one.get(BLOB).content == DEMO
            repo.come_up()
            eventually(lambda: two.get(BLOB).content == DEMO, 30.0)


def test_gateways_with_data_directories_of_their_own_make_one_manifest_when_both_are_asked_at_once(
    sites: Sites, repo: HelmRepo
) -> None:
    repo.faults_of(ARCHIVE).silent = True

    def let_go() -> None:
        repo.faults_of(ARCHIVE).silent = False
        repo.release()

    with sites.make("one").serve(workers=2) as one, sites.make("two").serve(workers=2) as two:
        answers = ask_all_together([one, two], MANIFEST, let_go)
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert repo.count_of(ARCHIVE) == 1
        assert repo.count_of("index.yaml") <= 2
        assert one.get(BLOB).content == two.get(BLOB).content == DEMO
        assert repo.count_of(ARCHIVE) == 2


def test_a_change_in_one_gateway_is_seen_by_the_memory_of_another_within_a_second(
    sites: Sites, repo: HelmRepo
) -> None:
    """They share their rules too; the other one, offline, learns of it by nothing else."""
    policy = "{recheck_for: 0s, fresh_for: 0s, drift: follow}"
    with sites.make("one", policy).serve() as one, sites.make("two", policy).serve("--offline") as two:
        before = digest_at(one)
        for _ in range(3):
            assert digest_at(two) == before
        for path, content in repository_of(REPUBLISHED, OTHER).items():
            repo.put(path, content)
        after = digest_at(one)
        assert after != before
        eventually(lambda: digest_at(two) == after, within_seconds=1.0)


def test_offline_what_is_held_is_served_and_nobody_is_dialled(site: PostgresSite, repo: HelmRepo) -> None:
    with site.serve() as server:
        digest = digest_at(server)
    with site.serve("--offline", workers=2) as server:
        assert digest_at(server) == digest
        assert server.get(BLOB).content == DEMO
        assert server.get(f"/v2/{UPSTREAM}/demo/tags/list").json()["tags"] == ["1.2.3"]
        assert server.get("/v2/_catalog").json()["repositories"] == [f"{UPSTREAM}/demo"]
        cold = server.get(OTHER_MANIFEST)
        assert cold.status_code == 404
        assert "offline" in cold.json()["errors"][0]["message"]
    assert paths_of(repo) == COLD


@contextmanager
def serving(site: PostgresSite, gateways: int) -> Iterator[list[Server]]:
    """So many gateways on one data directory, with four processes in all."""
    with ExitStack() as stack:
        yield [stack.enter_context(site.serve(workers=4 // gateways)) for _ in range(gateways)]


def ask_all_together(
    servers: Sequence[Server], path: str, let_go: Callable[[], None]
) -> list[httpx.Response]:
    """Two hundred clients of all the servers together; ``let_go`` is called when all are connected."""
    share = CLIENTS // len(servers)
    here = Barrier(len(servers), let_go)

    def meet() -> None:
        here.wait(PATIENCE_SECONDS)

    with ThreadPoolExecutor(len(servers)) as threads:
        asked = [threads.submit(ask_together, server, [path] * share, meet) for server in servers]
        return [answer for one in asked for answer in one.result()]


def are_at_rest(server: Server) -> bool:
    """Whether its workers have nothing left to do but to look for a lock now and then."""
    before = cpu_seconds(server)
    Event().wait(0.2)
    return cpu_seconds(server) - before < 0.04


def cpu_seconds(server: Server) -> float:
    return sum(times.user + times.system for times in (one.cpu_times() for one in server.workers()))


def parts_of(manifest: httpx.Response) -> list[str]:
    """Where the blobs lie that a manifest names."""
    told = manifest.json()
    return [f"/v2/{UPSTREAM}/demo/blobs/{part['digest']}" for part in (told["config"], *told["layers"])]
