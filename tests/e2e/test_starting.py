"""The gateway starts quickly and small, or says in a line what keeps it from starting."""

import socket
from collections.abc import Callable, Mapping

import pytest

from tests.e2e.gateway_process import Site

pytestmark = pytest.mark.e2e

Record = Callable[[str, object], None]

WRONG_RULES = """\
version: 1
defaults: {fresh_for: soon}
upstreams:
  charts.example.test: {url: "ftp://example.test/", allow_privat: true}
"""


def test_it_answers_soon_after_its_start(site: Site, record_property: Record) -> None:
    with site.serve() as first:
        record_property("seconds_to_ready_on_a_new_directory", first.seconds_to_ready)
    with site.serve(workers=2) as again:
        record_property("seconds_to_ready", again.seconds_to_ready)
    assert first.seconds_to_ready < 5.0  # 1.5 s on a quiet machine: `make bench` says how long exactly
    assert again.seconds_to_ready < 5.0


def test_an_idle_worker_is_small(site: Site, record_property: Record) -> None:
    with site.serve() as server:
        assert server.get("/v2/").status_code == 200
        (worker,) = server.workers()
        record_property("worker_rss_bytes", worker.memory_info().rss)
        assert worker.memory_info().rss < 90e6


def test_a_port_that_is_taken_is_told_in_a_line(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = site.run("serve", "--port", str(port))
    assert (ran.code, ran.output) == (1, "")
    assert ran.errors == (
        f"gateway: cannot listen on 127.0.0.1:{port}: Address already in use "
        "(--port takes another, 0 a free one)\n"
    )


def test_every_mistake_in_the_rules_is_told_with_its_place(site: Site) -> None:
    site.write_rules(WRONG_RULES)
    ran = site.run("serve", "--port", "0")
    assert ran.code == 1
    assert "Traceback" not in ran.errors
    for place, word in (("rules.yaml:2:", "fresh_for"), ("rules.yaml:4:", "url"), ("allow_private", "mean")):
        assert any(place in line and word in line for line in ran.errors.splitlines()), ran.errors


@pytest.mark.parametrize(
    ("flags", "environment", "named"),
    [
        (("--port", "http"), {}, "--port"),
        (("--workers", "0"), {}, "--workers"),
        (("--prot", "1"), {}, "--prot"),
        ((), {"GATEWAY_PROT": "9000"}, "GATEWAY_PROT"),
        ((), {"GATEWAY_UPSTREAM_TIMEOUT": "soon"}, "GATEWAY_UPSTREAM_TIMEOUT"),
        (("--config", "absent.yaml"), {}, "absent.yaml"),
    ],
)
def test_a_wrong_setting_is_wrong_usage_and_named(
    site: Site, flags: tuple[str, ...], environment: Mapping[str, str], named: str
) -> None:
    ran = site.run("serve", *flags, environment=environment)
    assert ran.code == 2
    assert named in ran.errors
    assert "Traceback" not in ran.errors


def test_wrong_settings_are_told_all_at_once(site: Site) -> None:
    ran = site.run("serve", "--port", "http", environment={"GATEWAY_WORKERS": "none"})
    assert ran.code == 2
    assert "--port" in ran.errors
    assert "GATEWAY_WORKERS" in ran.errors


def test_what_kubernetes_injects_for_a_service_of_our_name_does_no_harm(site: Site) -> None:
    injected = {"GATEWAY_PORT": "tcp://10.0.0.1:9000", "GATEWAY_SERVICE_HOST": "10.0.0.1"}
    with site.serve(environment=injected) as server:
        assert {event["name"] for event in server.events("setting_ignored")} == set(injected)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--rules", "absent.yaml"), "there is no rules file absent.yaml"),
        (("--data-dir", "rules.yaml/data"), "the data directory rules.yaml/data cannot be used"),
        (
            ("--database-url", "sqlite:///absent/x.db"),
            "the catalog absent/x.db cannot be used: unable to open",
        ),
        (("--database-url", "sqlite:///rules.yaml"), "the catalog rules.yaml cannot be used: file is not a"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_a_line(site: Site, flags: tuple[str, ...], told: str) -> None:
    site.write_rules("version: 1\n")
    ran = site.run("serve", "--port", "0", *flags)
    assert ran.code == 1
    assert ran.errors.startswith(f"gateway: {told}")
    assert ran.errors.count("\n") == 1
