"""threats.md 1d as one table, U1 to U3, U5 and U7 to U11: what a registry may send, and what clients get."""

import gzip
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.media_types import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_IMAGE_INDEX,
    OCI_MANIFEST,
)
from tests.composed import Composed, composed
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
    PAGE,
    Arrange,
    LyingRegistry,
    blob_says,
    dumped,
    manifest,
    page_everywhere,
    says,
    sized,
    tags_say,
    twice,
    with_size,
)
from tests.threats import HOST, registry_rules, told

pytestmark = pytest.mark.slow  # many small tests, seconds together


@dataclass(frozen=True, slots=True)
class Row:
    """What a registry says instead of the truth, what is asked then, and the answer.

    ``asks`` is below the repository's own path. Nothing is kept unless ``status`` is 200.
    """

    id: str
    arrange: Arrange
    asks: str
    status: int
    code: str | None = None
    reason: str | None = None


BY_TAG = "manifests/1.0.0"
BY_DIGEST = f"manifests/{ARTIFACT.digest}"
TAGS = "tags/list"
good = partial(Row, asks=BY_TAG, status=200)
refused = partial(Row, asks=BY_TAG, status=502, code="UNKNOWN")
invalid = partial(refused, reason="manifest_invalid")
mismatch = partial(refused, reason="digest_mismatch")
too_large = partial(refused, reason="too_large")
no_tags = partial(refused, asks=TAGS, reason="tags_invalid")

_INDEX = {"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": []}


DIGESTS = [
    refused("U1 one byte of the layer is another", blob_says(LAYER, FLIPPED), reason="digest_mismatch"),
    refused(
        "U1 one byte of the config",
        blob_says(CONFIG, b"{" * len(ARTIFACT.blobs[0])),
        reason="digest_mismatch",
    ),
    mismatch(
        "U2 B where A is asked for, and the header says A",
        says(OTHER.manifest, reference=ARTIFACT.digest, Docker_Content_Digest=str(ARTIFACT.digest)),
        asks=BY_DIGEST,
    ),
    mismatch(
        "U2 A with a blank behind it", says(manifest() + b" ", reference=ARTIFACT.digest), asks=BY_DIGEST
    ),
    good("U3 the header says another digest", says(manifest(), Docker_Content_Digest=str(OTHER.digest))),
    good("U3 the header says no digest", says(manifest(), Docker_Content_Digest="sha256:x")),
    refused("U3 size 10, and 11 bytes", sized(len(CHART) - 1), reason="size_mismatch"),
    refused("U3 size 11, and 10 bytes", sized(len(CHART) + 1), reason="size_mismatch"),
    refused("U5 206 unasked", blob_says(LAYER, CHART, 206), reason="unexpected_status"),
    refused(
        "U5 206 unasked, with a range",
        blob_says(LAYER, CHART, 206, Content_Range=f"bytes 0-{len(CHART) - 1}/{len(CHART)}"),
        reason="unexpected_status",
    ),
    refused("U5 206 for a manifest", says(manifest(), "x/y"), reason="manifest_invalid"),
    refused("U5 203", blob_says(LAYER, CHART, 203), reason="unexpected_status"),
]
PACKED = [
    refused(
        "U7 three layers of gzip on a manifest",
        says(CHAIN, Content_Encoding="gzip, gzip, gzip"),
        reason="corrupt",
    ),
    refused(
        "U7 three layers of gzip on a blob",
        blob_says(LAYER, CHAIN, Content_Encoding="gzip, gzip, gzip"),
        reason="bad_encoding",
    ),
    refused(
        "U7 one layer of gzip on a blob",
        blob_says(LAYER, gzip.compress(CHART), Content_Encoding="gzip"),
        reason="bad_encoding",
    ),
    too_large("U7 one layer with fifty MiB in it", says(BOMB, Content_Encoding="gzip")),
    too_large("U7 one layer on a list of tags", tags_say(BOMB, Content_Encoding="gzip"), asks=TAGS),
    refused("U7 another coding", says(manifest(), Content_Encoding="br"), reason="corrupt"),
    refused("U7 gzip that is none", says(manifest(), Content_Encoding="gzip"), reason="bad_encoding"),
    refused(
        "U7 gzip without its end",
        says(gzip.compress(manifest())[:-9], Content_Encoding="gzip"),
        reason="truncated",
    ),
]
CONFUSED = [
    invalid("U8 layers and manifests", says(dumped(BOTH))),
    invalid("U8 the same as an index", says(dumped(BOTH, {"mediaType": OCI_IMAGE_INDEX}), OCI_IMAGE_INDEX)),
    invalid(
        "U8 the same without a mediaType", says(dumped({"schemaVersion": 2, "layers": [], "manifests": []}))
    ),
    invalid("U8 a manifest with manifests", says(manifest(manifests=[]))),
    invalid(
        "U8 an index with a config",
        says(dumped(_INDEX, {"config": ARTIFACT.members["config"]}), OCI_IMAGE_INDEX),
    ),
    invalid("U8 an index with layers", says(dumped(_INDEX, {"layers": []}), OCI_IMAGE_INDEX)),
    invalid("U8 an index with Layers", says(dumped(_INDEX, {"Layers": []}), OCI_IMAGE_INDEX)),
    invalid("U8 a manifest that came as an index", says(manifest(), OCI_IMAGE_INDEX)),
    invalid("U8 an index that came as a manifest", says(dumped(_INDEX))),
    invalid("U8 an OCI manifest that came as Docker's", says(manifest(), DOCKER_MANIFEST)),
    invalid(
        "U8 a Docker list that came as an index",
        says(dumped(_INDEX, {"mediaType": DOCKER_MANIFEST_LIST}), OCI_IMAGE_INDEX),
    ),
    invalid("U8 two layers", says(twice("layers", "[]"))),
    invalid("U8 two media types", says(twice("mediaType", f'"{OCI_IMAGE_INDEX}"'))),
    invalid("U8 Layers beside layers", says(manifest(Layers=[]))),
    good(
        "U8 the type is the document's where the header tells nothing",
        says(manifest(), "application/octet-stream"),
    ),
]
PAGES = [
    invalid("U9 for a tag", page_everywhere),
    mismatch("U9 for a digest", page_everywhere, asks=BY_DIGEST),
    no_tags("U9 for the tags", page_everywhere),
    refused("U9 for a blob", blob_says(LAYER, PAGE, Content_Type="text/html"), reason="size_mismatch"),
]
DEEP_MEMBER = DEEP + b"]" * len(DEEP) + b"}"
SIZES = ("9" * 5000, "1e400", "-1", "true", "NaN", "Infinity", "1.0", '"1"', "null", "9" * 20)
JSON = [
    invalid("U11 200,000 brackets", says(DEEP)),
    invalid("U11 200,000 brackets in a member", says(manifest()[:-1] + b', "x": ' + DEEP_MEMBER)),
    *(invalid(f"U11 size {text[:8]}", says(with_size(text))) for text in SIZES),
    invalid("U11 no UTF-8", says(manifest().replace(b"app", b"\xff"))),
    invalid("U11 UTF-16", says(manifest().decode().encode("utf-16"))),
    invalid("U11 an empty body", says(b"")),
    invalid("U11 no object", says(b"[]")),
    too_large("U11 a byte more than 4 MiB", says(manifest().ljust(4 * MIB + 1))),
    no_tags("U11 200,000 brackets in the tags", tags_say(DEEP)),
    no_tags("U11 tags that are no list", tags_say(b'{"tags": {"a": 1}}')),
]
ROWS = [*DIGESTS, *PACKED, *CONFUSED, *PAGES, *JSON]


@pytest.fixture(scope="module")
def registry() -> Iterator[LyingRegistry]:
    with LyingRegistry() as registry:
        yield registry


@pytest.fixture
async def gateway(registry: LyingRegistry, tmp_path: Path) -> AsyncIterator[Composed]:
    async with composed(tmp_path, registry_rules(registry.origin, missing_for="0s")) as gateway:
        yield gateway


@pytest.mark.anyio
@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ROWS])
async def test_what_a_registry_sends(row: Row, registry: LyingRegistry, gateway: Composed) -> None:
    name = f"row{ROWS.index(row)}/app"
    ARTIFACT.push_to(registry, name, "1.0.0")
    row.arrange(registry, name)
    before = await gateway.stored()
    gateway.dns.asked.clear()
    answer = await gateway.client.get(f"/v2/{HOST}/{name}/{row.asks}")
    assert told(answer) == (row.status, row.code, row.reason), answer.text
    assert (await gateway.stored() == before) == (row.status != 200)
    assert set(gateway.dns.asked) <= {"127.0.0.1"}
    registry.be_honest()
    await _require_the_truth(gateway, name)


async def _require_the_truth(gateway: Composed, name: str) -> None:
    """With an honest registry, what was refused is there, byte for byte."""
    answer = await gateway.manifest(f"{HOST}/{name}", str(ARTIFACT.digest))
    assert (answer.status_code, answer.content) == (200, ARTIFACT.manifest)
    by_tag = await gateway.manifest(f"{HOST}/{name}", "1.0.0")
    told_digest = by_tag.headers["docker-content-digest"]
    assert told_digest == str(Digest.of(by_tag.content))
    assert by_tag.headers["content-type"] == OCI_MANIFEST
    assert (await gateway.client.get(f"/v2/{HOST}/{name}/blobs/{LAYER}")).content == CHART
