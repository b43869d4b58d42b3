"""The commands work on the data directory, also beside a running server; mistakes are told in words."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.gateway_process import Server, Site
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.e2e

UPSTREAM = "charts.example.test/stable"
DEMO = make_chart("demo", "1.2.3", {"values.yaml": b"a: 1\n"})
BUILD = make_chart("demo", "1.0.0+build.5")
COMMANDS = ("serve", "demo", "pull", "explain", "list", "rules", "migrate")


@pytest.fixture
def repo(site: Site) -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(DEMO, BUILD, make_chart("demo", "2.0.0-rc.1"))) as repo:
        site.point_at({UPSTREAM: repo})
        yield repo


@pytest.fixture
def server(site: Site, repo: HelmRepo) -> Iterator[Server]:
    with site.serve() as server:
        yield server


def test_pull_writes_the_archive_that_upstream_has(site: Site, repo: HelmRepo) -> None:
    output = site.run("pull", f"{UPSTREAM}/demo:1.2.3", "-d", "charts").require_ok()
    assert (site.folder / "charts" / "demo-1.2.3.tgz").read_bytes() == DEMO
    pulled, digest, cache, wrote = output.splitlines()
    assert pulled == f"Pulled: {UPSTREAM}/demo:1.2.3"
    assert digest.startswith("Digest: sha256:")
    assert cache == "Cache:  miss"
    assert wrote == "Wrote:  charts/demo-1.2.3.tgz"


def test_pull_tells_facts_as_json(site: Site, repo: HelmRepo) -> None:
    first = json.loads(site.run("pull", f"{UPSTREAM}/demo:1.2.3", "--json").require_ok())
    assert (first["cache"], first["files"]) == ("miss", [])
    again = json.loads(site.run("pull", f"{UPSTREAM}/demo@{first['digest']}", "--json").require_ok())
    assert (again["cache"], again["digest"]) == ("hit", first["digest"])
    assert len(repo.requests) == 2


@pytest.mark.parametrize(
    ("reference", "tag"),
    [
        (f"{UPSTREAM}/demo", "1.2.3"),
        (f"oci://localhost:9000/{UPSTREAM}/demo", "1.2.3"),
        (f"oci://localhost:9000/{UPSTREAM}/demo:v1.2.3", "v1.2.3"),
        (f"{UPSTREAM}/demo:1.0.0_build.5", "1.0.0_build.5"),
        (f"{UPSTREAM}/demo:2.0.0-rc.1", "2.0.0-rc.1"),
    ],
)
def test_pull_understands_what_people_write(site: Site, repo: HelmRepo, reference: str, tag: str) -> None:
    told = json.loads(site.run("pull", reference, "--json").require_ok())
    assert told["pulled"] == f"{UPSTREAM}/demo:{tag}"


def test_what_a_command_pulled_is_served_by_the_server_beside_it(
    site: Site, repo: HelmRepo, server: Server
) -> None:
    told = json.loads(site.run("pull", f"{UPSTREAM}/demo:1.2.3", "--json").require_ok())
    asked_count = len(repo.requests)
    answer = server.get(f"/v2/{UPSTREAM}/demo/manifests/1.2.3")
    assert (answer.headers["x-cache"], answer.headers["docker-content-digest"]) == ("hit", told["digest"])
    assert len(repo.requests) == asked_count


def test_what_a_server_pulled_is_there_for_commands_beside_it(
    site: Site, repo: HelmRepo, server: Server
) -> None:
    digest = server.get(f"/v2/{UPSTREAM}/demo/manifests/1.2.3").headers["docker-content-digest"]
    repo.go_down()
    site.run("pull", f"{UPSTREAM}/demo:1.2.3", "-d", "charts").require_ok()
    assert (site.folder / "charts" / "demo-1.2.3.tgz").read_bytes() == DEMO
    assert digest in site.run("list").require_ok()


def test_list_tells_what_is_held(site: Site, repo: HelmRepo) -> None:
    nothing = site.run("list")
    assert (nothing.require_ok(), nothing.errors) == ("", "nothing is held in data\n")
    assert json.loads(site.run("list", "--json").require_ok()) == []
    pulled = json.loads(site.run("pull", f"{UPSTREAM}/demo:1.2.3", "--json").require_ok())
    (line,) = site.run("list").require_ok().splitlines()
    name, digest, size, *rest = line.split("\t")
    assert (name, digest, rest) == (f"{UPSTREAM}/demo:1.2.3", pulled["digest"], ["helm", "plain"])
    (told,) = json.loads(site.run("list", "--json").require_ok())
    assert (told["tag"], told["digest"], told["size_bytes"]) == ("1.2.3", digest, int(size))
    assert told["variant"] == "plain"
    assert told["origin"] == f"{repo.url}/demo-1.2.3.tgz"
    assert told["size_bytes"] > len(DEMO)


def test_explain_asks_nobody_and_tells_target_chain_and_what_is_held(site: Site, repo: HelmRepo) -> None:
    text = site.run("explain", f"{UPSTREAM}/demo").require_ok()
    assert "rules     there are none: the name is its own target" in text
    assert f"target    {UPSTREAM}/demo" in text
    assert f"upstream  {UPSTREAM} (line 4): kind helm, may lie on a private network, anonymous" in text
    assert "policy    built in: fresh_for 5m, recheck_for 1d, stale_for forever, missing_for 30s" in text
    assert "access" not in text
    assert f"asks      1. helm  {repo.url}/index.yaml" in text
    assert "cached    nothing of it" in text
    assert repo.requests == []
    digest = json.loads(site.run("pull", f"{UPSTREAM}/demo:1.2.3", "--json").require_ok())["digest"]
    (told,) = json.loads(site.run("explain", f"{UPSTREAM}/demo:v1.2.3", "--json").require_ok())["targets"]
    assert told["upstream"] == UPSTREAM
    assert [(one["source"], one["asks"]) for one in told["chain"]] == [("helm", [f"{repo.url}/index.yaml"])]
    assert [(held["digest"], held["is_fresh"]) for held in told["held"]] == [(digest, True)]
    assert digest in site.run("explain", f"{UPSTREAM}/demo:1.2.3").require_ok()


def test_explain_says_who_is_not_answered_and_when_nobody_is_asked(site: Site) -> None:
    site.write_rules("version: 1\nupstreams: {charts.corp.example: {access: private}}\n")
    private = site.run("explain", "charts.corp.example/demo", "--offline").require_ok()
    assert "access    private: a client that has not signed in is answered 401" in private
    assert "asks      nobody: offline" in private
    told = site.run("explain", "charts.other.example/demo").require_ok()
    assert (
        "upstream  charts.other.example, of which rules.yaml says nothing: https, anonymous, public" in told
    )
    assert "asks      1. registry  https://charts.other.example/v2/demo" in told
    assert "                       if it is a registry: that is found out first" in told
    assert "          2. helm      https://charts.other.example/index.yaml" in told


def test_the_demo_says_its_steps_and_nothing_else(site: Site) -> None:
    ran = site.run("demo", "--port", "0", "--once")
    assert "4. it is back" in ran.require_ok()
    assert ran.errors == ""


def test_migrate_makes_a_catalog_and_leaves_one_that_is_there(site: Site) -> None:
    first = json.loads(site.run("migrate", "--json").require_ok())
    assert first["migrated"]
    assert (site.folder / first["catalog"]).is_file()
    assert json.loads(site.run("migrate", "--json").require_ok())["migrated"] == []
    assert site.run("migrate").require_ok() == f"{first['catalog']}: up to date\n"


def test_offline_what_is_held_is_pulled_and_nothing_else_is_asked_for(site: Site, repo: HelmRepo) -> None:
    site.run("pull", f"{UPSTREAM}/demo:1.2.3").require_ok()
    asked_count = len(repo.requests)
    for reference in (f"{UPSTREAM}/demo", f"{UPSTREAM}/demo:v1.2.3", f"{UPSTREAM}/demo:1.2.3"):
        site.run("pull", "--offline", reference, "-d", "charts").require_ok()
    assert (site.folder / "charts" / "demo-1.2.3.tgz").read_bytes() == DEMO
    ran = site.run("pull", f"{UPSTREAM}/demo:1.0.0_build.5", "--offline")
    assert (ran.code, ran.output) == (1, "")
    assert ran.errors == f"gateway: offline, and {UPSTREAM}/demo:1.0.0_build.5 is not held\n"
    assert len(repo.requests) == asked_count


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (f"{UPSTREAM}/demo:9.9.9", "has no version 9.9.9 of demo"),
        (f"{UPSTREAM}/absent:1.0.0", "has no chart absent"),
        (f"{UPSTREAM}/demo@sha256:{'0' * 64}", "none of the newest"),
        (f"{UPSTREAM}/demo@sha256:abc", "sha256:abc"),
        ("UPPER/case:1", "UPPER"),
        ("nowhere/demo:1.0.0", "nowhere"),
        ("charts.other.test/demo:1.0.0", "charts.other.test"),
        ("", ""),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_in_a_line(
    site: Site, repo: HelmRepo, reference: str, told: str
) -> None:
    ran = site.run("pull", reference)
    assert (ran.code, ran.output) == (1, "")
    last = ran.errors.splitlines()[-1]
    assert last.startswith("gateway: ")
    assert told in last
    assert "Traceback" not in ran.errors


def test_a_folder_that_cannot_be_written_is_told_in_a_line(site: Site, repo: HelmRepo) -> None:
    ran = site.run("pull", f"{UPSTREAM}/demo:1.2.3", "-d", "rules.yaml/charts")
    assert ran.code == 1
    assert ran.errors.splitlines()[-1] == (
        "gateway: rules.yaml/charts/demo-1.2.3.tgz cannot be written: Not a directory"
    )
    assert "Traceback" not in ran.errors


@pytest.mark.parametrize(
    "arguments", [(), ("pull",), ("explain",), ("brew",), ("list", "--yaml"), ("pull", "a", "b")]
)
def test_wrong_usage_is_exit_code_2(site: Site, arguments: tuple[str, ...]) -> None:
    ran = site.run(*arguments)
    assert ran.code == 2
    assert "Usage: gateway" in ran.errors


def test_every_command_helps(site: Site) -> None:
    told = site.run("--help").require_ok()
    assert site.run("-h").require_ok() == told
    for command in COMMANDS:
        assert f"\n  {command} " in told
        assert site.run(command, "-h").require_ok().startswith(f"Usage: gateway {command} ")


def test_it_tells_its_version(site: Site) -> None:
    assert site.run("--version").require_ok().startswith("gateway, version ")
