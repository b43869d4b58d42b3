"""What clients ask over the data port is what the desk says was served, with its bytes, rules and targets."""

from pathlib import Path

import pytest

from gateway.activity_seen import Outcome
from gateway.event_tap import EventTap
from gateway.logs import configure_logs
from gateway.oci.digest import Digest
from gateway.settings_values import LogFormat, LogLevel
from gateway.store.activity_book import ActivityBook
from tests.composed import FakeDns, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.messages import Faults
from tests.fakes.registry import FakeRegistry
from tests.lies import LyingRegistry
from tests.threats import APP, HOST, IMAGE, LAYER, NAME, TAG, blob_path, receive, registry_rules, serving

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

CHARTS = "charts.example.test"


async def totals(book: ActivityBook) -> dict[tuple[str, str], tuple[int, int]]:
    return {(row.outcome, row.source): (row.requests, row.sent_bytes) for row in await book.served(0, 0)}


async def test_a_pull_is_counted_with_its_rule_its_target_and_its_bytes(tmp_path: Path) -> None:
    with HelmRepo(repository_of(make_chart("demo", "1.0.0"))) as repo:
        rules = (
            f"upstreams:\n{upstream(repo.url, CHARTS)}"
            f"rules:\n  - {{repository: 'apps/*', rewrite: {CHARTS}/$1}}\n"
            "  - {repository: 'closed/**', deny: not here}\n"
        )
        async with serving(tmp_path, rules) as at:
            first = await at.manifest("apps/demo", "1.0.0")
            await at.manifest("apps/demo", "1.0.0")
            assert (await at.client.head("/v2/apps/demo/manifests/1.0.0")).status_code == 200
            digest = first.json()["layers"][0]["digest"]
            layer = await at.client.get(f"/v2/apps/demo/blobs/{digest}")
            assert (await at.manifest("apps/demo", "9.9.9")).status_code == 404
            assert (await at.manifest("closed/demo", "1.0.0")).status_code == 403
            tags = await at.client.get("/v2/apps/demo/tags/list")
            assert (await at.client.get("/v2/")).status_code == 200
            await at.gateway.recorder.flush()
            book = ActivityBook(at.gateway.storage.engines)
            found = await totals(book)
            size, cache = len(first.content), tags.headers["x-cache"]
            assert found[Outcome.NOT_FOUND, ""] == (1, 0)
            assert found[Outcome.DENIED, ""] == (1, 0)
            assert sum(requests for requests, _ in found.values()) == 7
            assert sum(sent for _, sent in found.values()) == 2 * size + len(layer.content) + len(
                tags.content
            )
            assert found[cache, "helm"][0] >= 1
            (pull,) = await book.newest_pulls(9)
            assert (pull.name, pull.reference, pull.target) == ("apps/demo", "1.0.0", f"{CHARTS}/demo")
            assert (pull.pulls, pull.outcome) == (3, "hit")
            apps, closed = at.gateway.switch.in_force.rule_set.rules
            hits = await book.hits([apps.key, closed.key])
            assert (hits[apps.key].hits, hits[closed.key].hits) == (4, 1)


async def test_of_a_blob_that_is_cut_off_or_read_in_part_what_was_sent_counts(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        IMAGE.push_to(registry, APP, TAG)
        async with serving(tmp_path, registry_rules(registry.origin)) as at:
            await at.manifest(NAME, TAG)
            await receive(at, blob_path())
            await at.gateway.recorder.flush()
            book = ActivityBook(at.gateway.storage.engines)
            before = sum(sent for _, sent in (await totals(book)).values())
            part = await receive(at, blob_path(), {"range": "bytes=0-999"})
            assert part.status == 206
            await at.gateway.recorder.flush()
            after = sum(sent for _, sent in (await totals(book)).values())
            assert before >= len(LAYER)
            assert 1000 <= after - before <= 1002  # the end of a range waits for that of the blob
            assert (await totals(book))[Outcome.MISS, "registry"][0] == 2


async def test_an_upstream_that_lies_is_in_the_log_for_the_desk(tmp_path: Path) -> None:
    tap = EventTap()
    configure_logs(LogLevel.ERROR, LogFormat.JSON, tap=tap)
    with LyingRegistry() as registry:
        IMAGE.push_to(registry, APP, TAG)
        registry.faults = Faults(html=True)
        async with serving(tmp_path, registry_rules(registry.origin)) as at:
            assert (await at.manifest(NAME, TAG)).status_code == 502
    kinds = {noted.kind: noted for noted in tap.taken()}
    assert kinds["upstream_corrupt"].subject == f"{HOST}/{APP}"
    assert kinds["upstream_corrupt"].detail.startswith("registry: ")


async def test_a_rule_set_that_denies_a_host_is_an_event_with_its_reason(tmp_path: Path) -> None:
    tap = EventTap()
    configure_logs(LogLevel.ERROR, LogFormat.JSON, tap=tap)
    async with serving(
        tmp_path, f"upstreams:\n  {CHARTS}: {{deny: ask the platform team}}\n", FakeDns()
    ) as at:
        assert (await at.manifest(f"{CHARTS}/demo", str(Digest.of(b"x")))).status_code == 403
    (noted,) = [one for one in tap.taken() if one.kind == "denied"]
    assert noted.detail.endswith("ask the platform team")
    assert noted.subject.startswith(f"/v2/{CHARTS}/demo/manifests/")
