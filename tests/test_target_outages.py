"""Two targets on the network: what befalls the first never makes the second's bytes its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.composed import Composed
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.messages import Faults
from tests.threats import Told, serving, settings_of, told

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

NAME = "prom/redis"
OURS, THEIRS = (make_chart("redis", "1.0.0", {"who": who}) for who in (b"ours", b"theirs"))
HAS, ABSENT, BROKEN, SILENT, LIMITED = "has it", "404", "500", "silence", "429"
FAULTS = {
    HAS: Faults(),
    ABSENT: Faults(status=404),
    BROKEN: Faults(status=500),
    SILENT: Faults(silent=True),
    LIMITED: Faults(status=429),
}
SERVED: Told = (200, None, None)
NOWHERE: Told = (404, "NAME_UNKNOWN", None)
DOWN: Told = (503, "UNAVAILABLE", "unavailable")


@pytest.fixture
def first() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(THEIRS)) as repo:
        yield repo
        repo.release()


@pytest.fixture
def second() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(OURS)) as repo:
        yield repo
        repo.release()


@asynccontextmanager
async def gateway(folder: Path, first: str, second: str, more: str = "") -> AsyncIterator[Composed]:
    rules = f"""
defaults: {{missing_for: 0s{more}}}
upstreams:
  first.example.test: {{kind: helm, url: '{first}', allow_private: true}}
  second.example.test: {{kind: helm, url: '{second}', allow_private: true}}
rules:
  - {{repository: "prom/*", rewrite: [first.example.test/$1, second.example.test/$1]}}
"""
    settings = settings_of(folder, upstream_timeout_seconds=0.3)
    async with serving(folder, rules, settings=settings) as at:
        yield at


async def chart(at: Composed, answer: httpx.Response) -> bytes:
    """The archive that a manifest names."""
    digest = answer.json()["layers"][0]["digest"]
    return (await at.client.get(f"/v2/{NAME}/blobs/{digest}")).content


@pytest.mark.parametrize(
    "case",
    [
        (ABSENT, HAS, SERVED),
        (ABSENT, ABSENT, NOWHERE),
        (ABSENT, BROKEN, DOWN),
        (ABSENT, SILENT, DOWN),
        *((fault, what, DOWN) for fault in (BROKEN, SILENT) for what in (HAS, ABSENT, BROKEN)),
        (LIMITED, HAS, (429, "TOOMANYREQUESTS", None)),
    ],
)
async def test_only_a_404_of_the_first_leads_on_to_the_second(
    first: HelmRepo, second: HelmRepo, tmp_path: Path, case: tuple[str, str, Told]
) -> None:
    at_first, at_second, expected = case
    first.faults, second.faults = FAULTS[at_first], FAULTS[at_second]
    async with gateway(tmp_path, first.url, second.url) as at:
        answer = await at.manifest(NAME, "1.0.0")
        assert told(answer) == expected
        if expected is SERVED:
            assert await chart(at, answer) == OURS
        assert bool(second.requests) is (at_first == ABSENT)


@pytest.mark.parametrize("fault", [BROKEN, SILENT, LIMITED, ABSENT])
async def test_a_tag_is_served_stale_while_its_home_fails_and_the_first_has_it(
    first: HelmRepo, second: HelmRepo, tmp_path: Path, fault: str
) -> None:
    theirs = first.url
    first.faults = FAULTS[ABSENT]
    async with gateway(tmp_path, theirs, second.url, ", fresh_for: 0s, recheck_for: 0s") as at:
        assert await chart(at, await at.manifest(NAME, "1.0.0")) == OURS
        first.faults, second.faults = FAULTS[HAS], FAULTS[fault]
        answer = await at.manifest(NAME, "1.0.0")
        assert (answer.headers["x-cache"], await chart(at, answer)) == ("stale", OURS)


async def test_a_host_that_does_not_resolve_never_leads_on(second: HelmRepo, tmp_path: Path) -> None:
    async with gateway(tmp_path, "https://nowhere.example.test", second.url) as at:
        answer = await at.manifest(NAME, "1.0.0")
        assert told(answer) == NOWHERE
        assert second.requests == []


async def test_wrong_bytes_of_the_first_never_lead_on(
    first: HelmRepo, second: HelmRepo, tmp_path: Path
) -> None:
    first.faults_of("redis-1.0.0.tgz").wrong_bytes = True
    async with gateway(tmp_path, first.url, second.url) as at:
        assert told(await at.manifest(NAME, "1.0.0")) == (502, "UNKNOWN", "digest_mismatch")
        assert second.requests == []


async def test_a_list_is_whole_or_refused(first: HelmRepo, second: HelmRepo, tmp_path: Path) -> None:
    async with gateway(tmp_path, first.url, second.url) as at:
        first.faults = FAULTS[BROKEN]
        assert told(await at.client.get(f"/v2/{NAME}/tags/list")) == DOWN
        first.faults = FAULTS[ABSENT]
        listed = await at.client.get(f"/v2/{NAME}/tags/list")
        assert listed.json() == {"name": NAME, "tags": ["1.0.0"]}
