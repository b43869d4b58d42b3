"""More is asked for than can be fetched: the whole gateway, with clients of many addresses."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from anyio import to_thread
from sqlalchemy import func, select

from gateway.app import create_app
from gateway.new_hosts import NewHosts
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.rules.model import Policy, SourceName
from gateway.rules.route import PLAIN, Route
from gateway.store.engine import Engines
from gateway.store.tables import metadata
from tests.composed import Composed, composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI
from tests.fakes.messages import Faults
from tests.fakes.registry import FakeRegistry
from tests.sources.helm_parts import Clock
from tests.web.live import App, Reply, ask_app

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # a thousand requests

WARM = b"/v2/charts.example.test/demo/manifests/1.2.3"
STRANGER, OTHER = "192.0.2.1", "192.0.2.2"


def cold(number: int) -> bytes:
    return b"/v2/cold.example.test/team/app-%d/manifests/1.0" % number


def rules(repo: HelmRepo, registry: FakeRegistry) -> str:
    return (
        "upstreams:\n"
        + upstream(repo.url, "charts.example.test", kind="helm")
        + upstream(registry.origin, "cold.example.test", kind="registry")
    )


def rows(engines: Engines) -> Mapping[str, int]:
    with engines.reader.connect() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


async def ask_all(app: App, paths: Sequence[bytes], client: str) -> list["asyncio.Task[Reply]"]:
    return [asyncio.create_task(ask_app(app, "GET", path, client=client)) for path in paths]


async def answered(asked: Sequence["asyncio.Task[Reply]"], count: int) -> Counter[int]:
    """What those were told that have an answer, once so many have."""
    waiting: set[asyncio.Task[Reply]] = set(asked)
    while len(asked) - len(waiting) < count:
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    return Counter(task.result().status for task in asked if task.done())


@pytest.fixture
def repo() -> HelmRepo:
    return HelmRepo(repository_of(make_chart("demo", "1.2.3")))


async def end(at: Composed, registry: FakeRegistry, asked: Sequence["asyncio.Task[Reply]"]) -> None:
    """Let upstream fail for all that wait for it, now and from now on."""
    registry.faults, registry.faults_at = Faults(status=500), {}
    await to_thread.run_sync(registry.release)
    await asyncio.gather(*asked)
    await at.gateway.puller.drain()


async def test_of_a_strangers_thousand_names_few_are_asked_for_and_few_wait(
    tmp_path: Path, repo: HelmRepo
) -> None:
    with repo, FakeRegistry() as registry:
        OCI.image(1000).push_to(registry, "team/app", "1.0")
        held_back = [f"/v2/team/app-{number}/manifests/1.0" for number in range(1000)]
        registry.faults_at = dict.fromkeys(held_back, Faults(silent=True))
        async with composed(tmp_path, rules(repo, registry)) as at:
            app = create_app(at.gateway)
            assert (await ask_app(app, "GET", WARM, client=OTHER)).status == 200
            asked = await ask_all(app, [cold(number) for number in range(1000)], STRANGER)
            assert await answered(asked, 1000 - 8 - 256) == {429: 1000 - 8 - 256}
            refused = next(task.result() for task in asked if task.done())
            assert (refused.code, refused.header("retry-after")) == ("TOOMANYREQUESTS", "5")
            await to_thread.run_sync(registry.wait_for_requests, 8)
            pulled = await ask_app(app, "GET", b"/v2/cold.example.test/team/app/manifests/1.0", client=OTHER)
            warm = await ask_app(app, "GET", WARM, client=STRANGER)
            assert (pulled.status, warm.status) == (200, 200)
            assert len({request.path for request in registry.requests} & set(held_back)) == 8
            await end(at, registry, asked)


async def test_a_name_that_leads_to_nothing_leaves_nothing(tmp_path: Path, repo: HelmRepo) -> None:
    with repo, FakeRegistry() as registry:
        several = (
            "rules:\n- repository: several/*\n  rewrite:\n"
            "  - cold.example.test/$1\n  - charts.example.test/$1\n"
        )
        OCI.image(1000).push_to(registry, "team/app", "1.0")
        async with composed(tmp_path, rules(repo, registry) + several) as at:
            app = create_app(at.gateway)
            for path in (
                WARM,
                b"/v2/cold.example.test/team/app/manifests/1.0",
            ):  # what a host is, is learnt once
                assert (await ask_app(app, "GET", path)).status == 200
            before = rows(at.gateway.storage.engines)
            digest = "sha256:" + "0" * 64
            for number in range(5):
                for name in ("cold.example.test/team", "charts.example.test", "several"):
                    for asks in ("manifests/1.0", f"manifests/{digest}", f"blobs/{digest}", "tags/list"):
                        path = f"/v2/{name}/invented-{number}/{asks}".encode()
                        assert (await ask_app(app, "GET", path)).status == 404
            assert rows(at.gateway.storage.engines) == before
            assert not list((tmp_path / "blobs").rglob("*.partial"))


async def test_what_is_held_is_served_by_a_gateway_that_can_begin_nothing(
    tmp_path: Path, repo: HelmRepo
) -> None:
    with repo, FakeRegistry() as registry:
        registry.faults = Faults(silent=True)
        async with composed(tmp_path, rules(repo, registry)) as at:
            app = create_app(at.gateway)
            warm = await ask_app(app, "GET", WARM)
            asked = [
                task
                for number in range(1600)
                for task in await ask_all(app, [cold(number)], f"10.1.{number // 200}.{1 + number % 200}")
            ]
            assert (await answered(asked, 100))[429] == 100
            assert (await ask_app(app, "GET", cold(9999), client=STRANGER)).status == 429
            assert (await ask_app(app, "GET", WARM, client=STRANGER)).body == warm.body
            layer = json.loads(warm.body)["layers"][0]["digest"].encode()
            blob = WARM.partition(b"manifests")[0] + b"blobs/" + layer
            assert (await ask_app(app, "GET", blob, client=STRANGER)).status == 200
            await end(at, registry, asked)


async def test_who_comes_when_too_many_clients_are_counted_is_counted_with_all_who_do() -> None:
    new_hosts = NewHosts(None, Clock(), 30.0)

    def waits(client: str, number: int) -> float:
        target = Target(Repository.parse(f"h{number}.example.net/x"))
        route = Route(target.repository, target, PLAIN, None, Policy(), (SourceName.HELM,))
        return new_hosts.wait_seconds(route, client)

    assert {waits(f"client-{number}", number) for number in range(10_048)} == {0.0, *range(1, 30)}
