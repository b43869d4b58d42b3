"""An upstream asked on purpose: by a pull's guard, credentials and limits, answered in one word (S11)."""

import ssl
from pathlib import Path

import pytest
import trustme

from gateway.sources.upstream_check import CheckResult
from tests.composed import FakeDns, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.registry import FakeRegistry
from tests.fakes.server import FakeServer
from tests.fakes.tokens import Credentials
from tests.threats import SIGNED, serving, settings_of

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

HOST = "charts.example.test"
INSIDE = "inside.example.test"


async def result_of(folder: Path, rules: str, place: str = HOST, dns: FakeDns | None = None) -> CheckResult:
    names = dns or FakeDns()
    async with serving(folder, rules, names, settings=settings_of(folder)) as at:
        check = at.gateway.sources.check
        return (await check.test(at.gateway.switch.in_force.rule_set, place)).result


def rules_for(server: FakeServer, **more: str) -> str:
    return f"upstreams:\n{upstream(server.origin, HOST, **more)}"


async def test_a_helm_repository_with_an_index_answers(tmp_path: Path) -> None:
    with HelmRepo(repository_of(make_chart("demo", "1.0.0"))) as repo:
        assert await result_of(tmp_path, rules_for(repo)) is CheckResult.OK
        assert (
            await result_of(tmp_path, rules_for(repo, kind="helm"), f"{HOST}/deeper") is CheckResult.NOT_FOUND
        )
        assert repo.count("/index.yaml", "GET") == 1


async def test_a_registry_answers_also_where_it_wants_everybody_to_sign_in(tmp_path: Path) -> None:
    with FakeRegistry() as open_to_all, FakeRegistry(auth="bearer") as closed:
        assert await result_of(tmp_path, rules_for(open_to_all)) is CheckResult.OK
        assert await result_of(tmp_path, rules_for(closed)) is CheckResult.OK


@pytest.mark.parametrize("auth", ["basic", "bearer"])
async def test_credentials_are_tried_and_wrong_ones_are_told(tmp_path: Path, auth: str) -> None:
    with FakeRegistry(auth="basic" if auth == "basic" else "bearer") as registry:
        rules = rules_for(registry, kind="registry", **SIGNED)
        registry.issuer.account = Credentials("robot", "s3cret")
        assert await result_of(tmp_path, rules) is CheckResult.OK
        registry.issuer.account = Credentials("robot", "another")
        assert await result_of(tmp_path, rules) is CheckResult.UNAUTHORIZED


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("html", CheckResult.WRONG_ANSWER),
        ("429", CheckResult.RATE_LIMITED),
        ("500", CheckResult.WRONG_ANSWER),
        ("403", CheckResult.UNAUTHORIZED),
        ("reset", CheckResult.UNREACHABLE),
    ],
)
async def test_what_goes_wrong_is_one_word(tmp_path: Path, fault: str, expected: CheckResult) -> None:
    with HelmRepo(repository_of(make_chart("demo", "1.0.0"))) as repo:
        repo.faults.html, repo.faults.reset = fault == "html", fault == "reset"
        repo.faults.status = int(fault) if fault.isdigit() else None
        assert await result_of(tmp_path, rules_for(repo, kind="helm")) is expected


async def test_a_certificate_that_nobody_trusts_is_told(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with HelmRepo({}, tls=context) as repo:
        assert await result_of(tmp_path, rules_for(repo)) is CheckResult.TLS


async def test_who_is_down_is_unreachable(tmp_path: Path) -> None:
    with HelmRepo({}) as repo:
        rules = rules_for(repo)
        repo.go_down()
        assert await result_of(tmp_path, rules) is CheckResult.UNREACHABLE


async def test_a_name_inside_answers_as_one_that_is_not_there(tmp_path: Path) -> None:
    with HelmRepo({}) as repo:
        dns = FakeDns({INSIDE: ["127.0.0.1"]})
        rules = f"upstreams:\n  {INSIDE}: {{url: 'https://{INSIDE}:{repo.port}'}}\n"
        inside = [
            await result_of(tmp_path, rules, place, dns) for place in (INSIDE, "127.0.0.1:5432", "[::1]")
        ]
        nowhere = await result_of(tmp_path, "rules: []", "nowhere.example.test", dns)
        assert {*inside, nowhere} == {CheckResult.UNRESOLVED}
        assert repo.connection_count == 0


async def test_what_the_rules_close_is_not_asked(tmp_path: Path) -> None:
    with HelmRepo({}) as repo:
        denied = rules_for(repo, deny="not here")
        assert await result_of(tmp_path, denied) is CheckResult.REFUSED
        offline = f"egress: {{mode: offline}}\n{rules_for(repo)}"
        assert await result_of(tmp_path, offline) is CheckResult.REFUSED
        assert repo.connection_count == 0


async def test_a_rule_that_leads_the_name_elsewhere_does_not_lead_the_test(tmp_path: Path) -> None:
    with HelmRepo(repository_of(make_chart("demo", "1.0.0"))) as repo:
        rules = f"{rules_for(repo)}rules:\n  - {{repository: '**', deny: nothing}}\n"
        assert await result_of(tmp_path, rules) is CheckResult.OK
