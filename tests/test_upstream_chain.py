"""threats.md 1f, P3, P4, P5 and P11: several sources of one name, what changes there, and circles."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.media_types import OCI_MANIFEST
from gateway.oci.urls import HttpUrl
from tests.composed import Composed, FakeDns, upstream
from tests.fakes.chart_proxy import FakeChartProxy, converted
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI, helm_artifact
from tests.fakes.messages import Faults
from tests.fakes.registry import FakeRegistry
from tests.threats import (
    DUE_AT_ONCE,
    HOST,
    Told,
    claimed_port,
    registry_line,
    registry_rules,
    serving,
    settings_of,
    told,
)

pytestmark = pytest.mark.slow  # live servers, seconds together

PROXY = "proxy.example.test"
NAME = f"{HOST}/demo"
TAG = "1.0.0"
OLD = make_chart("demo", TAG, {"values.yaml": b"old"})
NEW = make_chart("demo", TAG, {"values.yaml": b"new"})
OTHER = make_chart("demo", "2.0.0")
AT_REGISTRY, AT_HELM = f"/v2/demo/manifests/{TAG}", "/index.yaml"
NO_NAME, NO_TAG, DOWN = (
    (404, "NAME_UNKNOWN", None),
    (404, "MANIFEST_UNKNOWN", None),
    (503, "UNAVAILABLE", "unavailable"),
)
FAULTS: Mapping[str, Mapping[str, object]] = {
    "404": {"status": 404},
    "5xx": {"status": 500},
    "timeout": {"silent": True},
}


def faults(word: str) -> Faults:
    return Faults(**FAULTS[word])  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Cell:
    """What the first source does, what the Helm repository does, and what is told where nothing is held."""

    first: str
    helm: str
    told: Told

    def serving(self, folder: Path, rules: str) -> AbstractAsyncContextManager[Composed]:
        """A gateway that does not wait long for an upstream that will be silent."""
        is_silent = "timeout" in (self.first, self.helm)
        settings = settings_of(folder, upstream_timeout_seconds=0.2) if is_silent else None
        return serving(folder, rules, settings=settings)


REGISTRY_AND_HELM = [
    Cell("404", "404", NO_TAG),  # an answer that says less would be «no such name», which nobody said
    *(Cell(first, "404", DOWN) for first in ("5xx", "timeout")),
    *(Cell(first, helm, DOWN) for first in FAULTS for helm in ("5xx", "timeout")),
]
PROXY_AND_HELM = [
    *(Cell(first, "404", NO_NAME) for first in ("5xx", "timeout")),  # it speaks for the same index
    Cell("404", "404", NO_TAG),
    *(Cell(first, helm, DOWN) for first in FAULTS for helm in ("5xx", "timeout")),
]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "cell", [pytest.param(cell, id=f"P3 {cell.first} x {cell.helm}") for cell in REGISTRY_AND_HELM]
)
async def test_only_a_definite_answer_of_registry_and_helm_is_absence(cell: Cell, tmp_path: Path) -> None:
    rules = f"defaults: {{{DUE_AT_ONCE}}}\nupstreams:\n"
    keys = {"chain": "[registry, helm]", "missing_for": "0s"}
    with HelmRepo(repository_of(OLD)) as repo:
        rules += upstream(repo.url, HOST, **keys)
        async with serving(tmp_path / "warm", rules) as gateway:
            assert (await gateway.manifest(NAME, TAG)).status_code == 200
        repo.faults_at.update({AT_REGISTRY: faults(cell.first), AT_HELM: faults(cell.helm)})
        async with cell.serving(tmp_path / "warm", rules) as gateway:
            await _require_old(gateway)
        async with cell.serving(tmp_path / "cold", rules) as gateway:
            cold = await gateway.manifest(NAME, TAG)
            assert told(cold) == cell.told, cold.text
        repo.faults_at.clear()
        async with serving(tmp_path / "cold", rules) as gateway:
            assert (await gateway.manifest(NAME, TAG)).status_code == 200
        repo.release()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "cell", [pytest.param(cell, id=f"P3 {cell.first} x {cell.helm}") for cell in PROXY_AND_HELM]
)
async def test_only_a_definite_answer_of_proxy_and_helm_is_absence(cell: Cell, tmp_path: Path) -> None:
    """And where the Helm repository has it, or has it not, that is so whatever the proxy does."""
    with HelmRepo(repository_of(OLD)) as repo, FakeRegistry() as proxy:
        keys = {"kind": "helm", "chartproxy": PROXY, "missing_for": "0s"}
        rules = f"upstreams:\n{upstream(repo.url, HOST, **keys)}{registry_line(proxy.origin, PROXY)}"
        proxy.faults = faults(cell.first)
        async with cell.serving(tmp_path / "index", rules) as gateway:
            assert told(await gateway.manifest(NAME, "9.9.9")) == NO_TAG
        async with cell.serving(tmp_path / "cold", rules) as gateway:
            repo.faults_at[AT_HELM] = faults(cell.helm)
            cold = await gateway.manifest(NAME, TAG)
            assert told(cold) == cell.told, cold.text
            before = await gateway.stored()
            assert not before.rows
        repo.faults_at.clear()
        async with cell.serving(tmp_path / "cold", rules) as gateway:
            answer = await gateway.manifest(NAME, TAG)
            assert (answer.status_code, answer.headers["x-cache-source"]) == (200, "helm")
        repo.release()
        proxy.release()


async def _require_old(gateway: Composed) -> None:
    held = await gateway.manifest(NAME, TAG)
    assert (held.status_code, held.headers["x-cache"]) == (200, "stale")
    assert str(Digest.of(OLD)) in held.text


@pytest.mark.anyio
@pytest.mark.parametrize("policy", ["keep", "follow"])
@pytest.mark.parametrize("kind", ["registry", "helm"])
async def test_p4_a_version_whose_chart_changed_upstream(
    kind: str, policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kept, it is told, and the new one is there by its digest."""
    rules = f"defaults: {{{DUE_AT_ONCE}, drift: {policy}, missing_for: 0s}}\n"
    with FakeRegistry() as registry, HelmRepo(repository_of(OLD)) as repo:
        helm_artifact(OLD).push_to(registry, "demo", TAG)
        origin = registry.origin if kind == "registry" else repo.url
        async with serving(tmp_path, rules + registry_rules(origin, kind=kind)) as gateway:
            first = await gateway.manifest(NAME, TAG)
            assert str(Digest.of(OLD)) in first.text
            helm_artifact(NEW).push_to(registry, "demo", TAG)
            for path, content in repository_of(NEW).items():
                repo.put(path, content)
            new = (
                helm_artifact(NEW).digest
                if kind == "registry"
                else converted(repository_of(NEW), "demo")[TAG].manifest_digest
            )
            by_tag = [await gateway.manifest(NAME, TAG) for _ in range(2)]
            digests = {answer.headers["docker-content-digest"] for answer in by_tag}
            assert digests == {first.headers["docker-content-digest"] if policy == "keep" else str(new)}
            by_digest = await gateway.manifest(NAME, str(new))
            assert Digest.of(by_digest.content) == new
            layer = await gateway.client.get(f"/v2/{NAME}/blobs/{Digest.of(NEW)}")
            assert layer.content == NEW
            old = await gateway.client.get(f"/v2/{NAME}/manifests/{first.headers['docker-content-digest']}")
            assert old.content == first.content
    assert (" drift " in capsys.readouterr().out) == (policy == "keep")


@pytest.mark.anyio
async def test_p4_any_other_tag_is_what_it_is_upstream(tmp_path: Path) -> None:
    """Also one that looks like a version: an image is no chart."""
    with FakeRegistry() as registry:
        async with serving(
            tmp_path, f"defaults: {{{DUE_AT_ONCE}}}\n{registry_rules(registry.origin)}"
        ) as gateway:
            for content in (b"one", b"two"):
                image = OCI.image(content)
                for tag in ("latest", TAG):
                    image.push_to(registry, "demo", tag)
                    answer = await gateway.manifest(NAME, tag)
                    assert answer.headers["docker-content-digest"] == str(image.digest)


@pytest.mark.anyio
async def test_p4_wrong_bytes_under_a_held_tag_change_nothing(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        image = OCI.image(b"one")
        image.push_to(registry, "demo", TAG)
        async with serving(
            tmp_path, f"defaults: {{{DUE_AT_ONCE}}}\n{registry_rules(registry.origin)}"
        ) as gateway:
            await gateway.manifest(NAME, TAG)
            before = await gateway.stored()
            registry.push("demo", TAG, b'{"schemaVersion": 2, "layers": [], "manifests": []}', OCI_MANIFEST)
            held = await gateway.manifest(NAME, TAG)
            assert (held.headers["x-cache"], held.content) == ("stale", image.manifest)
            assert await gateway.stored() == before


@pytest.mark.anyio
async def test_p5_another_source_with_the_same_layer_changes_no_manifest(tmp_path: Path) -> None:
    """The proxy described the chart in its own way; when it is gone, its manifest is still the one."""
    files = repository_of(OLD)
    own = converted(files, "demo")[TAG]
    described = own.manifest.replace(b'"schemaVersion":2', b'"schemaVersion": 2', 1)
    with HelmRepo(files) as repo, FakeChartProxy({}) as proxy:
        name = f"{HOST}/demo"
        proxy.put_blob(name, own.config)
        proxy.put_blob(name, OLD)
        given = proxy.push(name, TAG, described, OCI_MANIFEST)
        assert given != own.manifest_digest
        keys = {"kind": "helm", "chartproxy": PROXY}
        rules = f"defaults: {{{DUE_AT_ONCE}}}\nupstreams:\n{upstream(repo.url, HOST, **keys)}"
        rules += registry_line(proxy.origin, PROXY)
        async with serving(tmp_path, rules) as gateway:
            first = await gateway.manifest(NAME, TAG)
            assert (first.headers["x-cache-source"], first.content) == ("chartproxy", described)
        proxy.go_down()
        async with serving(tmp_path, rules) as gateway:
            for _ in range(3):
                answer = await gateway.manifest(NAME, TAG)
                assert answer.content == described
            assert (await gateway.manifest(NAME, str(given))).content == described
        assert repo.count_of("demo-1.0.0.tgz") == 0


def _via(*gateways: str) -> dict[str, str]:
    return {"Via": ", ".join(f"1.1 chart-gateway-{gateway}" for gateway in gateways)}


@pytest.mark.anyio
async def test_p11_a_request_that_was_here_before_is_refused(tmp_path: Path) -> None:
    others = [f"{number:016x}" for number in range(4)]
    with FakeRegistry() as registry:
        OCI.image(b"one").push_to(registry, "demo", TAG)
        async with serving(tmp_path, registry_rules(registry.origin)) as gateway:
            own = gateway.gateway.instance_id
            path = f"/v2/{NAME}/manifests/{TAG}"
            for via in (_via(own), _via(others[0], own, others[1]), _via(*others)):
                refused = await gateway.client.get(path, headers=via)
                assert told(refused) == (502, "UNKNOWN", "loop"), via
            assert registry.count() == 0
            assert (await gateway.client.get(path, headers=_via(*others[:3]))).status_code == 200
            vias = {one.headers["via"] for one in registry.requests}
            assert vias == {_via(*others[:3], own)["Via"]}


@pytest.mark.anyio
async def test_p11_two_gateways_that_are_each_others_chart_proxy(tmp_path: Path) -> None:
    """The circle is found at once, and who has the Helm repository converts."""
    with HelmRepo(repository_of(OLD)) as repo, ExitStack() as claims:
        sockets = [claims.enter_context(claimed_port()) for _ in range(2)]
        urls = [f"http://127.0.0.1:{claim.getsockname()[1]}" for claim in sockets]
        async with AsyncExitStack() as stack:
            gateways = []
            for own, other in ((0, 1), (1, 0)):
                keys = {"kind": "helm", "chartproxy": PROXY}
                rules = f"upstreams:\n{upstream(repo.url, HOST, **keys)}"
                rules += upstream(urls[other], PROXY, kind="chartproxy")
                running = serving(tmp_path / str(own), rules, claim=sockets[own])
                gateways.append(await stack.enter_async_context(running))
            async with asyncio.timeout(3):
                answers = [await gateway.manifest(NAME, TAG) for gateway in gateways]
        own_digest = str(converted(repository_of(OLD), "demo")[TAG].manifest_digest)
        assert [told(answer) for answer in answers] == [(200, None, None)] * 2
        assert {answer.headers["docker-content-digest"] for answer in answers} == {own_digest}
        assert repo.count_of("demo-1.0.0.tgz") == 1


@pytest.mark.anyio
async def test_p11_a_source_that_is_ourselves_by_name_is_not_even_asked(tmp_path: Path) -> None:
    dns = FakeDns()
    settings = settings_of(tmp_path, public_url=HttpUrl("https", PROXY, 443, "/"))
    with HelmRepo(repository_of(OLD)) as repo, FakeRegistry() as proxy:
        keys = {"kind": "helm", "chartproxy": PROXY}
        rules = f"upstreams:\n{upstream(repo.url, HOST, **keys)}{registry_line(proxy.origin, PROXY)}"
        async with serving(tmp_path, rules, dns, settings=settings) as gateway:
            answer = await gateway.manifest(NAME, TAG)
            assert (answer.status_code, answer.headers["x-cache-source"]) == (200, "helm")
        assert proxy.count() == 0
