"""threats.md 1d, U16 to U18: upstreams that refuse, limit, break or fall silent, and what they deleted."""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.composed import composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.messages import Faults
from tests.fakes.registry import FakeRegistry
from tests.outages import AUTHORITY, DOWN, LIMITED, OUTAGES, UNKNOWN_NAME, FailingDns, Outage
from tests.threats import (
    APP,
    DUE_AT_ONCE,
    HOST,
    IMAGE,
    LAYER,
    NAME,
    SIGNED,
    TAG,
    blob_path,
    receive,
    registry_rules,
    serving,
    settings_of,
    told,
)

pytestmark = pytest.mark.slow  # many small tests, seconds together

DENIED = (403, "DENIED", None)
UNKNOWN_TAG = (404, "MANIFEST_UNKNOWN", None)
OPENED = {**SIGNED, "access": "anonymous"}  # signed in, and open to all: the rules say so
CHART = make_chart("demo", "1.0.0")


@pytest.mark.anyio
@pytest.mark.parametrize("is_signed", [False, True], ids=["anonymous", "signed in"])
@pytest.mark.parametrize("status", [401, 403])
async def test_u16_a_refusal_upstream_never_hides_what_is_held(
    status: int, is_signed: bool, tmp_path: Path
) -> None:
    with FakeRegistry() as registry:
        IMAGE.push_to(registry, APP, TAG)
        more = {"fresh_for": "0s", "missing_for": "0s", **(OPENED if is_signed else {})}
        async with serving(tmp_path, registry_rules(registry.origin, **more)) as gateway:
            await gateway.manifest(NAME, TAG)
            registry.faults.status = status
            _require_stale(await gateway.manifest(NAME, TAG))
            cold = await gateway.manifest(f"{HOST}/team/other", TAG)
            assert told(cold) == (DENIED if is_signed else UNKNOWN_NAME), cold.text
            registry.faults.status = None
            again = await gateway.manifest(NAME, TAG)
            assert (again.status_code, again.headers["x-cache"]) == (200, "hit")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [401, 403])
async def test_u16_where_nothing_is_configured_the_next_source_is_asked(status: int, tmp_path: Path) -> None:
    with HelmRepo(repository_of(CHART)) as repo:
        repo.faults_of("v2/demo/manifests/1.0.0").status = status
        rules = f"upstreams:\n{upstream(repo.url, HOST, chain='[registry, helm]')}"
        async with composed(tmp_path, rules) as gateway:
            answer = await gateway.manifest(f"{HOST}/demo", "1.0.0")
            assert (answer.status_code, answer.headers["x-cache-source"]) == (200, "helm")


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["down", "refused", "silent"])
async def test_u16_a_token_that_is_not_to_be_had_does_not_hide_what_is_held(
    fault: str, tmp_path: Path
) -> None:
    """HEAD asks whether the tag moved; its 401 wants a token, and nobody gives one."""
    settings = settings_of(tmp_path, upstream_timeout_seconds=0.2 if fault == "silent" else 15.0)
    with FakeRegistry(auth="bearer") as registry:
        IMAGE.push_to(registry, APP, TAG)
        rules = f"defaults: {{{DUE_AT_ONCE}}}\n{registry_rules(registry.origin)}"
        async with serving(tmp_path, rules, settings=settings) as gateway:
            await gateway.manifest(NAME, TAG)
            registry.revoke_tokens()
            faults = registry.faults_of_tokens()
            faults.status = {"down": 500, "refused": 401}.get(fault)
            faults.silent = fault == "silent"
            _require_stale(await gateway.manifest(NAME, TAG))
            head = await gateway.client.head(f"/v2/{NAME}/manifests/{TAG}")
            assert (head.status_code, head.headers["docker-content-digest"]) == (200, str(IMAGE.digest))


def _require_stale(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["x-cache"], answer.content) == (200, "stale", IMAGE.manifest)
    assert int(answer.headers["age"]) >= 0


def _rules(origin: str) -> str:
    keys = {"ca_file": "ca.pem", "missing_for": "0s"}
    return f"defaults: {{{DUE_AT_ONCE}}}\n{registry_rules(origin, **keys)}"


@pytest.mark.anyio
@pytest.mark.parametrize("outage", [pytest.param(outage, id=f"U17 {outage.id}") for outage in OUTAGES])
async def test_an_outage_is_never_taken_for_absence(outage: Outage, tmp_path: Path) -> None:
    """What is held is served, stale; for the rest clients are told to come again, and then they get it."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    settings = settings_of(tmp_path, upstream_timeout_seconds=0.2 if outage.is_silent else 15.0)
    dns = FailingDns(failures=outage.dns)
    with FakeRegistry() as registry:
        for name in (APP, "team/cold"):
            IMAGE.push_to(registry, name, TAG)
        async with serving(tmp_path, _rules(registry.origin)) as gateway:
            await gateway.manifest(NAME, TAG)
            before = await gateway.stored()
        async with outage.fault(registry) as origin:
            async with serving(tmp_path, _rules(origin), dns, settings=settings) as gateway:
                _require_stale(await gateway.manifest(NAME, TAG))
            async with serving(tmp_path, _rules(origin), dns, settings=settings) as gateway:
                cold = await gateway.manifest(f"{HOST}/team/cold", TAG)
                assert told(cold) == outage.cold, cold.text
                assert cold.headers.get("retry-after") == outage.retry_after
                assert await gateway.stored() == before
        registry.faults = Faults()
        async with serving(tmp_path, _rules(registry.origin)) as gateway:
            assert (await gateway.manifest(f"{HOST}/team/cold", TAG)).content == IMAGE.manifest


BLOB_OUTAGES = [pytest.param(number, id=f"U17 {number}") for number in (429, 500, 503)]


@pytest.mark.anyio
@pytest.mark.parametrize("number", BLOB_OUTAGES)
async def test_an_outage_of_a_blob_is_never_taken_for_absence(number: int, tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        IMAGE.push_to(registry, APP, TAG)
        async with serving(tmp_path, registry_rules(registry.origin)) as gateway:
            await gateway.manifest(NAME, TAG)
            faults = registry.faults_at.setdefault(blob_path(name=APP), Faults())
            faults.status = number
            refused = await gateway.client.get(blob_path())
            assert told(refused) == (LIMITED if number == 429 else DOWN), refused.text
            assert "retry-after" in refused.headers
            faults.status = None
            assert (await receive(gateway, blob_path())).content == LAYER


@pytest.mark.anyio
async def test_u17_an_open_breaker_is_503_for_the_cold_and_stale_for_the_warm(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        IMAGE.push_to(registry, APP, TAG)
        async with serving(tmp_path, _rules_without_ca(registry.origin)) as gateway:
            await gateway.manifest(NAME, TAG)
            registry.faults.status = 500
            for number in range(4):
                await gateway.manifest(f"{HOST}/team/cold{number}", TAG)
            asked_before = registry.count()
            cold = await gateway.manifest(f"{HOST}/team/another", TAG)
            assert told(cold) == DOWN
            assert 1 <= int(cold.headers["retry-after"]) <= 15
            _require_stale(await gateway.manifest(NAME, TAG))
            assert registry.count() == asked_before


def _rules_without_ca(origin: str) -> str:
    return f"defaults: {{{DUE_AT_ONCE}}}\n{registry_rules(origin)}"


@pytest.mark.anyio
async def test_u17_a_host_that_swallows_questions_for_a_registry_is_a_helm_repository_all_the_same(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path, upstream_timeout_seconds=0.3)
    with HelmRepo(repository_of(CHART)) as repo:
        repo.faults_of("v2/").silent = True
        async with serving(tmp_path, f"upstreams:\n{upstream(repo.url, HOST)}", settings=settings) as gateway:
            answer = await gateway.manifest(f"{HOST}/demo", "1.0.0")
            repo.release()
            assert (answer.status_code, answer.headers["x-cache-source"]) == (200, "helm"), answer.text


@pytest.mark.anyio
@pytest.mark.parametrize("policy", ["keep", "drop"])
async def test_u18_a_tag_that_upstream_deleted(policy: str, tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        IMAGE.push_to(registry, APP, TAG)
        rules = f"defaults: {{{DUE_AT_ONCE}, deleted: {policy}, missing_for: 0s}}\n"
        async with serving(tmp_path, rules + registry_rules(registry.origin)) as gateway:
            await gateway.manifest(NAME, TAG)
            registry.delete_tag(APP, TAG)
            for _ in range(2):
                answer = await gateway.manifest(NAME, TAG)
                if policy == "keep":
                    _require_stale(answer)
                else:
                    assert told(answer) == UNKNOWN_TAG
            by_digest = await gateway.manifest(NAME, str(IMAGE.digest))
            assert by_digest.content == IMAGE.manifest
            IMAGE.push_to(registry, APP, TAG)
            back = await gateway.manifest(NAME, TAG)
            assert (back.status_code, back.content) == (200, IMAGE.manifest)


@pytest.mark.anyio
async def test_u18_an_outage_after_the_deletion_brings_nothing_back_and_takes_nothing_away(
    tmp_path: Path,
) -> None:
    with FakeRegistry() as registry:
        IMAGE.push_to(registry, APP, TAG)
        async with serving(tmp_path, _rules_without_ca(registry.origin)) as gateway:
            await gateway.manifest(NAME, TAG)
            registry.delete_tag(APP, TAG)
            await gateway.manifest(NAME, TAG)
            registry.faults.status = 500
            _require_stale(await gateway.manifest(NAME, TAG))


@pytest.mark.anyio
async def test_u18_that_nobody_has_it_is_remembered_only_where_nothing_is_held(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        IMAGE.push_to(registry, APP, TAG)
        async with serving(tmp_path, _rules_without_ca(registry.origin)) as gateway:
            answers = [await gateway.manifest(NAME, "2.0.0") for _ in range(5)]
            assert {told(answer) for answer in answers} == {UNKNOWN_TAG}
            asked = registry.count_of_manifest(APP, "2.0.0", None)
            assert asked <= 2  # one pull: HEAD, and GET where that does not tell
            await gateway.manifest(NAME, TAG)
            registry.delete_tag(APP, TAG)
            _require_stale(await gateway.manifest(NAME, TAG))
            IMAGE.push_to(registry, APP, "2.0.0")
            assert told(await gateway.manifest(NAME, "2.0.0")) == UNKNOWN_TAG
        async with serving(tmp_path, _rules_without_ca(registry.origin)) as gateway:
            assert (await gateway.manifest(NAME, "2.0.0")).status_code == 200  # it is in no catalog


@pytest.mark.anyio
async def test_u18_versions_that_a_fresh_index_has_not_force_one_refresh_together(tmp_path: Path) -> None:
    with HelmRepo(repository_of(CHART)) as repo:
        async with serving(tmp_path, f"upstreams:\n{upstream(repo.url, HOST, kind='helm')}") as gateway:
            assert (await gateway.manifest(f"{HOST}/demo", "1.0.0")).status_code == 200
            assert repo.count_of("index.yaml") == 1
            answers: list[httpx.Response] = []
            for batch in range(3):
                asking = (gateway.manifest(f"{HOST}/demo", f"{batch}.{minor}.9") for minor in range(10))
                answers += await asyncio.gather(*asking)
            assert {told(answer) for answer in answers} == {UNKNOWN_TAG}
            assert repo.count_of("index.yaml") == 2
