"""threats.md 1d, U1 to U3 and U7 to U10: what the table of wrong bytes does not say."""

import gzip
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.media_types import (
    HELM_CONFIG,
    OCI_MANIFEST,
)
from tests.composed import Composed, FakeDns, composed, upstream
from tests.fakes.charts import repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.lies import (
    ARTIFACT,
    BOMB,
    BOTH,
    CHAIN,
    CHART,
    CONFIG,
    DEEP,
    FLIPPED,
    LAYER,
    MIB,
    OTHER,
    Arrange,
    LyingRegistry,
    blob_says,
    dumped,
    page_everywhere,
    says,
    tags_say,
)
from tests.threats import HOST, IMAGE, registry_line, registry_rules, told

pytestmark = pytest.mark.slow  # many small tests, seconds together


EVIL = "evil.example.org"


@pytest.fixture(scope="module")
def registry() -> Iterator[LyingRegistry]:
    with LyingRegistry() as registry:
        yield registry


@pytest.fixture
async def gateway(registry: LyingRegistry, tmp_path: Path) -> AsyncIterator[Composed]:
    async with composed(tmp_path, registry_rules(registry.origin, missing_for="0s")) as gateway:
        yield gateway


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["chart proxy", "oci:// in an index"])
async def test_u1_u8_the_same_holds_for_every_way_to_a_registry(
    form: str, registry: LyingRegistry, tmp_path: Path
) -> None:
    """What a chart proxy, or a registry that an index names, sends is read by the same lines."""
    proxied = f"charts.example.test/{'x' if form == 'chart proxy' else 'oci'}/app"
    name = proxied if form == "chart proxy" else "lies/app"
    ARTIFACT.push_to(registry, name, "1.0.0")
    index = f"apiVersion: v1\nentries:\n  app:\n  - name: app\n    version: 1.0.0\n    urls: [oci://{HOST}/lies/app]\n"
    files = {} if form == "chart proxy" else {"oci/index.yaml": index.encode()}
    with HelmRepo(files) as repo:
        chain = "[chartproxy]" if form == "chart proxy" else "[helm]"
        rules = (
            "upstreams:\n"
            f"{registry_line(registry.origin, trusted_by='[charts.example.test]', missing_for='0s')}"
            f"{upstream(repo.url, 'charts.example.test', chain=chain, chartproxy=HOST, missing_for='0s')}"
        )
        async with composed(tmp_path, rules) as gateway:
            before = await gateway.stored()
            for arrange, reason in (
                (says(dumped(BOTH)), "manifest_invalid"),
                (blob_says(LAYER, FLIPPED), "digest_mismatch"),
                (says(DEEP), "manifest_invalid"),
            ):
                arrange(registry, name)
                answer = await gateway.manifest(proxied, "1.0.0")
                assert told(answer) == (502, "UNKNOWN", reason), answer.text
                assert await gateway.stored() == before
                registry.be_honest()
            assert (await gateway.manifest(proxied, "1.0.0")).content == ARTIFACT.manifest


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", [LAYER, CONFIG], ids=["layer", "config"])
async def test_u1_not_even_the_honest_part_of_a_refused_chart_stays(
    wrong: Digest, registry: LyingRegistry, gateway: Composed
) -> None:
    name = f"parts-{wrong.hex[:8]}/app"
    ARTIFACT.push_to(registry, name, "1.0.0")
    registry.put_wrong_blob(name, wrong, bytes(len(CHART) if wrong == LAYER else len(ARTIFACT.blobs[0])))
    registry.faults_of_blob(name, wrong).slow_seconds = 0.1  # the other part is there first
    before = await gateway.stored()
    assert told(await gateway.manifest(f"{HOST}/{name}", "1.0.0")) == (502, "UNKNOWN", "digest_mismatch")
    assert await gateway.stored() == before


@pytest.mark.anyio
async def test_u2_a_digest_is_never_looked_for_elsewhere_once_wrong_bytes_came(
    registry: LyingRegistry, tmp_path: Path
) -> None:
    ARTIFACT.push_to(registry, "pinned/app", "1.0.0")
    says(OTHER.manifest, reference=ARTIFACT.digest)(registry, "pinned/app")
    with HelmRepo(repository_of(CHART)) as repo:
        key = f"{HOST}/pinned"
        rules = f"upstreams:\n{upstream(registry.origin, HOST, chain='[registry, helm]')}"
        rules += upstream(repo.url, "charts.example.test")
        async with composed(tmp_path, rules) as gateway:
            answer = await gateway.manifest(f"{key}/app", str(ARTIFACT.digest))
            assert told(answer) == (502, "UNKNOWN", "digest_mismatch")
            assert repo.count() == 0
            assert registry.count("/pinned/index.yaml") == 0
    registry.be_honest()


@pytest.mark.anyio
async def test_u3_what_is_stored_is_what_came_whatever_the_header_says(
    registry: LyingRegistry, tmp_path: Path
) -> None:
    IMAGE.push_to(registry, "told/app", "1.0.0")
    says(IMAGE.manifest, Docker_Content_Digest=str(OTHER.digest))(registry, "told/app")
    async with composed(tmp_path, registry_rules(registry.origin)) as gateway:
        answer = await gateway.manifest(f"{HOST}/told/app", "1.0.0")
        assert answer.headers["docker-content-digest"] == str(IMAGE.digest)
        registry.go_down()
        assert (await gateway.manifest(f"{HOST}/told/app", str(IMAGE.digest))).content == IMAGE.manifest
        assert told(await gateway.manifest(f"{HOST}/told/app", str(OTHER.digest)))[0] in (404, 503)
    registry.come_up()
    registry.be_honest()


@pytest.mark.anyio
async def test_u7_bombs_take_no_memory(registry: LyingRegistry, gateway: Composed) -> None:
    ARTIFACT.push_to(registry, "bombs/app", "1.0.0")
    for content, coding in ((CHAIN, "gzip, gzip, gzip"), (BOMB, "gzip")):
        says(content, Content_Encoding=coding)(registry, "bombs/app")
        tracemalloc.start()
        answer = await gateway.manifest(f"{HOST}/bombs/app", "1.0.0")
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.status_code == 502
        assert peak_bytes < 32 * MIB
    registry.be_honest()


@pytest.mark.anyio
@pytest.mark.parametrize("coding", ["gzip, gzip, gzip", "gzip"])
async def test_u7_an_index_that_is_a_bomb_is_refused(coding: str, tmp_path: Path) -> None:
    with HelmRepo({"index.yaml": CHAIN if "," in coding else gzip.compress(bytes(140 * MIB), 9)}) as repo:
        repo.faults_of("index.yaml").headers = {"Content-Encoding": coding}
        rules = f"upstreams:\n{upstream(repo.url, HOST, kind='helm', missing_for='0s')}"
        async with composed(tmp_path, rules) as gateway:
            before = await gateway.stored()
            answer = await gateway.manifest(f"{HOST}/app", "1.0.0")
            assert told(answer) == (502, "UNKNOWN", "corrupt" if "," in coding else "too_large"), answer.text
            assert await gateway.stored() == before
            for path, content in repository_of(CHART).items():
                repo.put(path, content)
            repo.faults_at.clear()
            assert (await gateway.manifest(f"{HOST}/app", "1.0.0")).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "answer"), [("helm", (502, "UNKNOWN", "index_invalid")), ("auto", (404, "NAME_UNKNOWN", None))]
)
async def test_u9_a_host_that_has_a_page_for_everything(
    kind: str, answer: tuple[int, str, str | None], tmp_path: Path
) -> None:
    """Where nobody said what it is, it is neither a registry nor a Helm repository."""
    with HelmRepo() as repo:
        repo.faults.html = True
        async with composed(tmp_path, f"upstreams:\n{upstream(repo.url, HOST, kind=kind)}") as gateway:
            before = await gateway.stored()
            assert told(await gateway.manifest(f"{HOST}/app", "1.0.0")) == answer
            assert await gateway.stored() == before


@pytest.mark.anyio
@pytest.mark.parametrize("is_held", [True, False])
async def test_u10_urls_and_data_of_a_descriptor_are_never_followed(
    is_held: bool, registry: LyingRegistry, tmp_path: Path
) -> None:
    foreign = b"what evil has"
    described = {
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "digest": str(Digest.of(foreign)),
        "size": len(foreign),
        "urls": [f"https://{EVIL}/", "http://169.254.169.254/"],
        "data": "d2hhdCBldmlsIGhhcw==",
    }
    name = f"foreign/{is_held}".lower()
    hostile = IMAGE.changed(layers=[described])
    registry.push(name, "1.0.0", hostile.manifest, OCI_MANIFEST)
    if is_held:
        registry.put_blob(name, foreign)
    dns = FakeDns({EVIL: ["93.184.216.34"]})
    async with composed(tmp_path, registry_rules(registry.origin), dns) as gateway:
        assert (await gateway.manifest(f"{HOST}/{name}", "1.0.0")).content == hostile.manifest
        answer = await gateway.client.get(f"/v2/{HOST}/{name}/blobs/{Digest.of(foreign)}")
        assert told(answer) == ((200, None, None) if is_held else (404, "BLOB_UNKNOWN", None))
        assert answer.content == foreign or not is_held
        assert set(dns.asked) == {"127.0.0.1"}


def test_the_media_types_of_the_rows_are_those_of_a_chart() -> None:
    assert HELM_CONFIG.encode() in ARTIFACT.manifest
    assert len(CHAIN) < 1000


TOLD = [
    pytest.param(says(dumped(BOTH)), "manifests/1.0.0", id="no manifest"),
    pytest.param(
        says(OTHER.manifest, reference=ARTIFACT.digest),
        f"manifests/{ARTIFACT.digest}",
        id="a digest",
    ),
    pytest.param(blob_says(LAYER, FLIPPED), "manifests/1.0.0", id="a blob's digest"),
    pytest.param(blob_says(LAYER, CHART, 404), "manifests/1.0.0", id="no blob"),
    pytest.param(blob_says(LAYER, CHART, 500), "manifests/1.0.0", id="an outage"),
    pytest.param(says(b"", Content_Encoding="br"), "manifests/1.0.0", id="a coding"),
    pytest.param(page_everywhere, "tags/list", id="tags"),
    pytest.param(tags_say(b"{}", Link='<http://x/>; rel="next"'), "tags/list", id="a next page elsewhere"),
    pytest.param(blob_says(LAYER, b"", 302, Location="http://[::1"), "manifests/1.0.0", id="a redirect"),
    pytest.param(blob_says(LAYER, b"", 401), "manifests/1.0.0", id="a refusal"),
    pytest.param(
        blob_says(LAYER, b"", 401, WWW_Authenticate="?"),
        "manifests/1.0.0",
        id="a challenge",
    ),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("arrange", "asks"), TOLD)
async def test_u15_what_is_told_names_the_host_as_clients_know_it(
    arrange: Arrange, asks: str, registry: LyingRegistry, gateway: Composed
) -> None:
    """Where a private upstream is really dialled is for the log, and not for clients."""
    ARTIFACT.push_to(registry, "told/app", "1.0.0")
    arrange(registry, "told/app")
    answer = await gateway.client.get(f"/v2/{HOST}/told/app/{asks}")
    registry.be_honest()
    assert answer.status_code >= 400
    assert f"127.0.0.1:{registry.port}" not in answer.text
