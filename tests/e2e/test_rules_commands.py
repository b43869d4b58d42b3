"""``gateway rules`` and ``gateway explain`` beside a running server, and what they leave alone."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.gateway_process import Server, Site, eventually

pytestmark = pytest.mark.e2e

SHORT = 'version: 1\nrules:\n- {name: short, repository: "a/*", rewrite: one.example.test/$1}\n'
OTHER = SHORT.replace("one", "two")
SECRET = "upstreams: {three.example.test: {token_env: GATEWAY_SECRET_TOKEN}}\n"
IN_TIME_SECONDS = 5.0  # two are promised; the machine may be busy


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    site.write_rules(SHORT + SECRET)
    with site.serve(environment={"GATEWAY_SECRET_TOKEN": "x"}) as server:
        yield server


def in_force(server: Server) -> int:
    revision: int = server.get("/readyz").json()["rules"]["revision"]
    return revision


def test_a_rollback_is_followed_by_the_server_beside_it(site: Site, server: Server) -> None:
    site.write_rules(OTHER)
    eventually(lambda: in_force(server) == 2, IN_TIME_SECONDS)
    ran = site.run("rules", "rollback", "1", environment={"GATEWAY_SECRET_TOKEN": "x"})
    assert ran.require_ok() == "revision 3 is in force, with the rules of revision 1\n"
    assert (
        ran.errors == "the file rules.yaml stays as it is; once it changes, what it says is in force again\n"
    )
    eventually(lambda: in_force(server) == 3, IN_TIME_SECONDS)
    again = site.run("rules", "rollback", "1", environment={"GATEWAY_SECRET_TOKEN": "x"})
    assert again.require_ok() == "revision 3 is in force already, with the rules of revision 1\n"
    told = json.loads(
        site.run("explain", "a/x", "--json", environment={"GATEWAY_SECRET_TOKEN": "x"}).require_ok()
    )
    assert told["targets"][0]["target"] == "one.example.test/x"


def test_what_only_reads_needs_no_secrets(site: Site, server: Server) -> None:
    assert site.run("rules", "show").require_ok() == SHORT + SECRET
    assert site.run("rules", "history").require_ok().startswith("1\tin force\tfile\tfile rules.yaml\t")
    assert site.run("rules", "check", "rules.yaml").require_ok() == "1 rule, 1 upstream, no tests\n"


def test_what_the_server_could_not_use_is_refused_with_the_mistake(site: Site, server: Server) -> None:
    site.write_rules(OTHER)
    eventually(lambda: in_force(server) == 2, IN_TIME_SECONDS)
    ran = site.run("rules", "rollback", "1")
    assert (ran.code, ran.output) == (1, "")
    assert ran.errors.startswith("gateway: revision 1:4:")
    assert "GATEWAY_SECRET_TOKEN is not set" in ran.errors
    looked_up = site.run("rules", "check", "rules.yaml", "--secrets")
    assert looked_up.require_ok() == "1 rule, no upstreams, no tests\n"


def test_secrets_are_looked_up_where_that_is_asked_for(site: Site) -> None:
    site.write_rules(SHORT + SECRET)
    ran = site.run("rules", "check", "rules.yaml", "--secrets")
    assert ran.code == 1
    assert "GATEWAY_SECRET_TOKEN is not set" in ran.output
    assert ran.output.endswith("\n1 error\n")
    site.run(
        "rules", "check", "rules.yaml", "--secrets", environment={"GATEWAY_SECRET_TOKEN": "x"}
    ).require_ok()


@pytest.mark.parametrize(
    "arguments",
    [
        ("rules", "check", "rules.yaml"),
        ("rules", "show"),
        ("rules", "history"),
        ("rules", "rollback", "1"),
        ("explain", "a/x:1.0.0", "--host", "charts.corp.test"),
    ],
)
def test_who_only_looks_leaves_no_data_directory_behind(site: Site, arguments: tuple[str, ...]) -> None:
    site.write_rules(SHORT)
    site.run(*arguments)
    assert not site.data_dir.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("check", "absent.yaml"), "absent.yaml cannot be read: No such file or directory"),
        (("check", "."), ". cannot be read: Is a directory"),
        (
            ("show",),
            "there is no revision of the rules yet: `gateway serve` makes the first one of the rules file",
        ),
        (("rollback", "7"), "there is no revision of the rules yet"),
        (("show", "--data-dir", "rules.yaml"), "the data directory rules.yaml cannot be used: "),
    ],
)
def test_a_mistake_is_told_in_a_line(site: Site, arguments: tuple[str, ...], told: str) -> None:
    site.write_rules(SHORT)
    ran = site.run("rules", *arguments)
    assert (ran.code, ran.output) == (1, "")
    assert ran.errors.startswith(f"gateway: {told}")
    assert ran.errors.count("\n") == 1


def test_a_refused_name_is_explained_and_that_is_no_failure(site: Site) -> None:
    site.write_rules(SHORT)
    text = site.run("explain", "redis").require_ok()
    assert text.splitlines()[-2].startswith("refused   NAME_UNKNOWN (404): no rule matches redis")
    told = json.loads(site.run("explain", "redis", "--json").require_ok())
    assert (told["refusal"]["status"], told["targets"], told["rule"]) == (404, [], None)
