"""Rules are swapped while requests run: each is asked by its own, over what all of them share."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from gateway.oci.digest import Digest
from gateway.oci.outcomes import Corrupt, Denied, Missing, Unavailable
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.route import Errand
from gateway.sources.credentials import Secrets
from gateway.sources.http import Http, HttpLimits
from gateway.sources.upstreams import Upstreams
from tests.composed import upstream
from tests.fakes.charts import dump_index, index_entry, make_chart
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry
from tests.sources.asking import HOME, asking, errand_to, fetched, outcome_of
from tests.sources.helm_parts import helm_parts
from tests.sources.raw_server import RawServer, Say, answer, raw_server, saying
from tests.sources.registry_parts import NAME, SIGNED, registry_at, registry_parts

pytestmark = pytest.mark.slow  # real sockets, seconds together

TARGET = "charts.example.test/demo"
SECRETS = Secrets({"GATEWAY_SECRET_ONE": "one", "GATEWAY_SECRET_TWO": "two"})
DENIED = "  charts.example.test: {deny: 'not any more'}\n"


def rules_of(*lines: str) -> RuleSet:
    """Rules with these lines below ``upstreams:``."""
    return load_rules(f"version: 1\nupstreams:\n{''.join(lines)}")


def errand_by(*lines: str) -> Errand:
    return errand_to(TARGET, rules_of(*lines))


def signed_by(name: str) -> dict[str, str]:
    return {"token_env": f"GATEWAY_SECRET_{name}"}


def _tokens(server: RawServer) -> list[str | None]:
    return [server.headers(number).get("authorization") for number in range(len(server.heads))]


@pytest.mark.anyio
async def test_each_errand_is_dialled_as_its_own_rules_say_however_many_run_at_once() -> None:
    everybody = asyncio.Barrier(40)

    async def together(_target: str, say: Say) -> None:
        await everybody.wait()
        await say(answer(b"good"))

    async with (
        raw_server(together) as first,
        raw_server(together) as second,
        asking(HttpLimits(concurrency=40), Upstreams(SECRETS)) as http,
    ):
        one = errand_by(upstream(first.origin, **signed_by("ONE")))
        two = errand_by(upstream(second.origin, **signed_by("TWO")))
        closed = errand_by(DENIED)
        offline = Errand(one.target, load_rules("version: 1\negress: {mode: offline}"))
        asked = [outcome_of(http, HOME, errand) for errand in (one, two, closed, offline) * 20]
        outcomes = await asyncio.gather(*asked)
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), Denied, Unavailable] * 20
    assert _tokens(first) == ["Bearer one"] * 20
    assert _tokens(second) == ["Bearer two"] * 20


@pytest.mark.anyio
async def test_a_redirect_is_judged_by_the_rules_that_the_errand_began_under() -> None:
    async with raw_server(saying(answer(b"good"))) as beyond:
        moved = answer(b"", f"Location: {beyond.origin}/y", status=302)
        async with raw_server(saying(moved)) as server, asking(directory=Upstreams(SECRETS)) as http:
            own = upstream(server.origin)
            trusted_by = {"trusted_by": "[charts.example.test]"}
            trusting = upstream(beyond.origin, "b.example", **trusted_by, **signed_by("TWO"))
            denying = upstream(beyond.origin, "b.example", deny="'not there'")
            assert await fetched(http, HOME, errand=errand_by(own, trusting)) == b"good"
            assert isinstance(await outcome_of(http, HOME, errand_by(own, denying)), Denied)
            assert isinstance(await outcome_of(http, HOME, errand_by(own)), Corrupt)
    assert _tokens(beyond) == ["Bearer two"]


@pytest.mark.anyio
async def test_who_failed_under_other_rules_is_left_alone_under_these_too() -> None:
    async with (
        raw_server(saying(answer(status=500))) as server,
        asking(directory=Upstreams(SECRETS)) as http,
    ):
        before, after = (errand_by(upstream(server.origin, **more)) for more in ({}, signed_by("ONE")))
        for _ in range(3):
            assert isinstance(await outcome_of(http, HOME, before), Unavailable)
        assert http.is_troubled(HOME, after)
        paused = await outcome_of(http, HOME, after)
        assert not http.is_troubled(HOME, errand_by(DENIED))
    assert isinstance(paused, Unavailable)
    assert paused.retry_after_seconds is not None
    assert len(server.heads) == 3


@pytest.mark.anyio
async def test_the_places_of_an_origin_are_shared_by_all_rules() -> None:
    gate, arrived = asyncio.Event(), asyncio.Semaphore(0)

    async def held_back(_target: str, say: Say) -> None:
        arrived.release()
        await gate.wait()
        await say(answer(b"good"))

    async with (
        raw_server(held_back) as server,
        asking(HttpLimits(concurrency=2), Upstreams(SECRETS)) as http,
    ):
        errands = [errand_by(upstream(server.origin)) for _ in range(6)]
        asked = [asyncio.create_task(fetched(http, HOME, errand=errand)) for errand in errands]
        await arrived.acquire()
        await arrived.acquire()
        gate.set()
        assert await asyncio.gather(*asked) == [b"good"] * 6
    assert server.most_at_once == 2


@pytest.mark.anyio
async def test_a_kept_connection_serves_errands_of_all_rules() -> None:
    with HelmRepo({"x": b"good"}) as repo:
        async with asking(directory=Upstreams(SECRETS)) as http:
            for name in ("ONE", "TWO", "ONE"):
                await _read(http, errand_by(upstream(repo.url, **signed_by(name))))
    assert [request.headers["authorization"] for request in repo.requests] == [
        "Bearer one",
        "Bearer two",
        "Bearer one",
    ]
    assert repo.connection_count == 1


async def _read(http: Http, errand: Errand) -> None:
    assert await fetched(http, HOME, errand=errand) == b"good"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry(auth="bearer") as fake:
        OCI.image(10).push_to(fake, NAME, "1")
        yield fake


@pytest.mark.anyio
async def test_a_token_that_other_rules_had_the_credentials_for_is_not_used(registry: FakeRegistry) -> None:
    registry.issuer.private_names = {NAME}
    async with registry_parts(registry_at(registry.origin, **SIGNED)) as parts:
        signed_in = parts.route()
        anonymous = parts.route_by(rules_of(registry_at(registry.origin)))
        assert signed_in.target == anonymous.target
        await parts.registry.find(signed_in, "1")
        with pytest.raises(Missing):
            await parts.registry.find(anonymous, "1")
        asked_before = registry.count("/token")
        await parts.registry.find(signed_in, "1")
        assert registry.count("/token") == asked_before  # theirs is still at hand


@pytest.mark.anyio
async def test_who_waits_for_a_token_at_once_gets_the_one_of_its_own_rules(registry: FakeRegistry) -> None:
    registry.issuer.private_names = {NAME}
    registry.faults_of_tokens().silent = True
    wrong = registry_at(registry.origin, **{**SIGNED, "password_env": "GATEWAY_SECRET_USER"})
    async with registry_parts(registry_at(registry.origin, **SIGNED)) as parts:
        routes = (parts.route(), parts.route_by(rules_of(wrong)))
        asked = [asyncio.create_task(parts.registry.find(route, "1")) for route in routes]
        await anyio.to_thread.run_sync(registry.wait_for_requests, 4)
        registry.release()
        found, refused = await asyncio.gather(*asked, return_exceptions=True)
    assert not isinstance(found, BaseException)
    assert isinstance(refused, Denied)


@pytest.mark.anyio
async def test_tokens_that_are_kept_keep_no_rules_alive(registry: FakeRegistry) -> None:
    line = registry_at(registry.origin)
    async with registry_parts(line) as parts:
        held = []
        for _ in range(30):
            route = parts.route_by(rules_of(line))
            held.append(weakref.ref(route.rules.rules))
            await parts.registry.find(route, "1")
        del route
        gc.collect()
        assert sum(one() is not None for one in held) < 10
    assert registry.count("/token") == 30


@pytest.mark.anyio
async def test_a_chart_on_its_way_by_other_rules_is_not_had_where_these_deny_it(tmp_path: Path) -> None:
    chart = make_chart("demo", "1.0.0")
    with HelmRepo({}, prefix="charts") as repo, HelmRepo({"demo.tgz": chart}) as cdn:
        entry = index_entry(chart, "x", urls=["https://cdn.example.test/demo.tgz"])
        repo.put("index.yaml", dump_index({"demo": [entry]}))
        open_cdn = upstream(cdn.url, "cdn.example.test", trusted_by="[charts.example.test]")
        async with helm_parts(tmp_path, repo.url, more_upstreams=open_cdn) as parts:
            before = await parts.source.find(parts.route(), "1.0.0")
            closed_cdn = rules_of(upstream(repo.url), "  cdn.example.test: {deny: 'not any more'}\n")
            after = await parts.source.find(parts.route(rules=closed_cdn), "1.0.0")
            cdn.faults.silent = True
            running = asyncio.create_task(before.fetch())
            await anyio.to_thread.run_sync(cdn.wait_for_requests, 1)
            with pytest.raises(Denied, match="not any more"):
                await after.fetch()
            cdn.release()
            assert Digest.of(chart) in (await running).sizes
