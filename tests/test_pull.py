"""What is served: by what is held, how old it is, and how upstream answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.outcomes import Corrupt, Denied, Missing, MissingName, Outcome, Unavailable, UnknownHost
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.pull import SEARCHED_VERSIONS, Cache, Deadlines, Parts, Puller
from gateway.rules.model import Policy
from gateway.rules.route import Route, Variant
from gateway.store.blobs import MemoryBlobs, OpenBlob
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.memory import Memory
from gateway.store.rows import TagRow
from tests.fakes.source import FakeSource, layer_of, manifest_of
from tests.sources.helm_parts import Clock, open_catalog

DEMO = Repository.parse("charts.example.test/demo")
OTHER = Repository.parse("charts.example.test/other")
POLICY = Policy()
RECHECK = POLICY.recheck_for_seconds
DOWN = Unavailable("down", 7)
QUICK = Deadlines(stale_seconds=0.01, cold_seconds=0.02)


class CountingCatalog(Catalog):
    """Tells when so many have looked a tag up."""

    def __init__(self, engines: Engines, generation: LocalGeneration) -> None:
        super().__init__(engines, generation)
        self.looked_up = 0

    async def find_tag(self, target: Target, variant: str, tag: str) -> TagRow | None:
        row = await super().find_tag(target, variant, tag)
        self.looked_up += 1
        return row


class LateBlobs(MemoryBlobs):
    """Has not yet, the next few times it is asked, what it has a moment later."""

    late_times = 0

    async def open(self, digest: Digest) -> OpenBlob | None:
        if self.late_times:
            self.late_times -= 1
            return None
        return await super().open(digest)


@dataclass(slots=True)
class House:
    """A puller, and the places it looks at."""

    source: FakeSource
    blobs: LateBlobs
    clock: Clock
    catalog: CountingCatalog
    puller: Puller
    folder: Path

    async def pull(self, tag: str = "1.0.0", name: Repository = DEMO) -> tuple[Cache, Digest]:
        pulled = await self.puller.manifest(name, Tag(tag))
        return pulled.cache, pulled.manifest.digest

    async def is_confirmed(self) -> bool:
        return any(held.row.confirmed_at == self.clock.seconds for held in await self.catalog.held())

    async def all_have_looked(self) -> bool:
        await asyncio.sleep(0)
        return self.catalog.looked_up == 200

    async def code(self, reference: str | Digest = "1.0.0", name: Repository = DEMO) -> ErrorCode:
        """Pull, and return the code of the refusal."""
        with pytest.raises(OciError) as caught:
            await self.puller.manifest(name, Tag(reference) if isinstance(reference, str) else reference)
        return caught.value.code


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await check():
            pass


def route_of(name: Repository) -> Route:
    return Route(name, Target(name), Variant.PLAIN, None, POLICY)


@asynccontextmanager
async def house(
    folder: Path, *, before: House | None = None, offline: str = "", deadlines: Deadlines | None = None
) -> AsyncIterator[House]:
    """Open a puller on ``folder``; ``before`` is the one that ran there until a restart."""
    engines = open_catalog(folder)
    generation = LocalGeneration()
    catalog = CountingCatalog(engines, generation)
    clock = before.clock if before else Clock()
    blobs = before.blobs if before else LateBlobs()
    source = before.source if before else FakeSource(blobs, {"1.0.0": layer_of("1.0.0")})
    puller = Puller(
        Parts(
            route_of=route_of,
            source=source,
            catalog=catalog,
            blobs=blobs,
            memory=Memory(1 << 20, generation),
            now=clock,
            is_offline=bool(offline),
            deadlines=deadlines or Deadlines(),
        )
    )
    try:
        yield House(source, blobs, clock, catalog, puller, folder)
    finally:
        await puller.drain()
        engines.dispose()


FIRST = manifest_of(layer_of("1.0.0")).digest


@pytest.mark.anyio
async def test_what_is_held_and_fresh_asks_nobody_also_after_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path) as first:
        assert await first.pull() == (Cache.MISS, FIRST)
        first.clock.advance(RECHECK - 1)
        assert await first.pull() == (Cache.HIT, FIRST)
    async with house(tmp_path, before=first) as second:
        assert await second.pull() == (Cache.HIT, FIRST)
        assert (second.source.asked, second.source.fetched) == (["1.0.0"], ["1.0.0"])


@pytest.mark.anyio
async def test_what_is_due_is_confirmed_without_a_download(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.clock.advance(RECHECK)
        pulled = await at.puller.manifest(DEMO, Tag("1.0.0"))
        assert (pulled.cache, pulled.confirmed_at) == (Cache.HIT, at.clock.seconds)
        assert await at.pull() == (Cache.HIT, FIRST)
        assert (at.source.asked, at.source.fetched) == (["1.0.0"] * 2, ["1.0.0"])


@pytest.mark.anyio
async def test_a_clock_that_was_set_back_makes_nothing_fresh(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.clock.advance(-1000)
        await at.pull()
        assert len(at.source.asked) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    "failure", [DOWN, Corrupt("wrong"), Denied("no"), UnknownHost("nobody"), OSError("bug")]
)
async def test_what_is_held_is_served_stale_whatever_fails(failure: Exception, tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.clock.advance(RECHECK)
        at.source.failure = failure
        confirmed_at = at.clock.seconds - RECHECK
        for _ in range(2):
            pulled = await at.puller.manifest(DEMO, Tag("1.0.0"))
            assert (pulled.cache, pulled.manifest.digest) == (Cache.STALE, FIRST)
            assert pulled.confirmed_at == confirmed_at
        at.source.failure = None
        assert await at.pull() == (Cache.HIT, FIRST)


@pytest.mark.anyio
async def test_an_index_that_speaks_from_memory_confirms_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.clock.advance(RECHECK)
        at.source.stale_because = DOWN
        assert await at.pull() == (Cache.STALE, FIRST)
        at.source.layers["2.0.0"] = layer_of("2.0.0")
        assert (await at.pull("2.0.0"))[0] is Cache.MISS  # what it knows it may still give


@pytest.mark.anyio
@pytest.mark.parametrize("failure", [Missing("gone"), MissingName("gone")])
async def test_what_upstream_deleted_is_kept(failure: Outcome, tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.clock.advance(RECHECK)
        at.source.failure = failure
        assert await at.pull() == (Cache.HIT, FIRST)
        assert await at.pull() == (Cache.HIT, FIRST)
        assert len(at.source.asked) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("failure", "code", "retry_after"),
    [
        (DOWN, ErrorCode.UNAVAILABLE, 7),
        (Unavailable("down"), ErrorCode.UNAVAILABLE, 5),
        (Unavailable("slow down", 9, is_rate_limited=True), ErrorCode.TOOMANYREQUESTS, 9),
        (Corrupt("wrong"), ErrorCode.UNKNOWN, None),
        (Denied("no"), ErrorCode.DENIED, None),
        (Missing("no"), ErrorCode.MANIFEST_UNKNOWN, None),
        (MissingName("no"), ErrorCode.NAME_UNKNOWN, None),
        (UnknownHost("no"), ErrorCode.NAME_UNKNOWN, None),
    ],
)
async def test_with_nothing_held_a_failure_is_told(
    failure: Outcome, code: ErrorCode, retry_after: int | None, tmp_path: Path
) -> None:
    async with house(tmp_path) as at:
        at.source.failure = failure
        for ask in (at.puller.manifest(DEMO, Tag("1.0.0")), at.puller.manifest(DEMO, FIRST)):
            with pytest.raises(OciError) as caught:
                await ask
            assert (caught.value.code, caught.value.retry_after_seconds) == (code, retry_after)
        assert not await at.catalog.held()


@pytest.mark.anyio
async def test_only_that_nobody_has_it_is_remembered_and_not_for_long(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        for _ in range(3):
            assert await at.code("9.9.9") is ErrorCode.MANIFEST_UNKNOWN
        assert at.source.asked == ["9.9.9"]
        at.clock.advance(POLICY.missing_for_seconds)
        at.source.layers["9.9.9"] = layer_of("9.9.9")
        assert (await at.pull("9.9.9"))[0] is Cache.MISS
        at.source.failure = DOWN
        for _ in range(2):
            assert await at.code("8.8.8") is ErrorCode.UNAVAILABLE
        assert at.source.asked == ["9.9.9", "9.9.9", "8.8.8", "8.8.8"]


@pytest.mark.anyio
async def test_a_remembered_refusal_does_not_grow_as_it_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        depths = []
        for _ in range(20):
            with pytest.raises(OciError) as caught:
                await at.puller.manifest(DEMO, Tag("9.9.9"))
            depths.append(len(caught.traceback))
        assert len(set(depths[1:])) == 1


@pytest.mark.anyio
async def test_with_a_stale_copy_at_hand_a_silent_upstream_holds_nobody_for_long(tmp_path: Path) -> None:
    async with house(tmp_path) as before:
        await before.pull()
    async with house(tmp_path, before=before, deadlines=QUICK) as at:
        at.clock.advance(RECHECK)
        at.source.gate = asyncio.Event()
        assert await at.pull() == (Cache.STALE, FIRST)
        at.source.gate.set()  # the flight went on behind, and confirms
        await until(at.is_confirmed)
        assert await at.pull() == (Cache.HIT, FIRST)
        assert len(at.source.asked) == 2


@pytest.mark.anyio
async def test_with_nothing_held_a_silent_upstream_is_an_outage_and_its_answer_is_not_lost(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, deadlines=QUICK) as at:
        at.source.gate = asyncio.Event()
        for reference in ("1.0.0", Digest.of(b"never seen")):
            with pytest.raises(OciError) as caught:
                await at.puller.manifest(DEMO, Tag(reference) if isinstance(reference, str) else reference)
            assert caught.value.code is ErrorCode.UNAVAILABLE
            assert caught.value.retry_after_seconds == 5
        at.source.gate.set()
        await until(at.is_confirmed)
        assert await at.pull() == (Cache.HIT, FIRST)
        assert at.source.asked == ["1.0.0", "newest"]


def test_the_published_deadlines_are_two_and_a_half_and_thirty_seconds() -> None:
    assert (Deadlines().stale_seconds, Deadlines().cold_seconds) == (2.5, 30.0)


@pytest.mark.anyio
async def test_two_hundred_who_ask_at_once_cost_upstream_one_question(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        results = await asyncio.gather(*[at.pull() for _ in range(200)])
        assert [cache for cache, _ in results].count(Cache.JOINED) == 199
        assert {digest for _, digest in results} == {FIRST}
        assert at.source.fetched == ["1.0.0"]


@pytest.mark.anyio
async def test_two_hundred_who_fail_at_once_cost_one_question_and_the_next_one_tries_again(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as at:
        at.source.failure, at.source.gate = DOWN, asyncio.Event()
        asked = [asyncio.create_task(at.code()) for _ in range(200)]
        await until(at.all_have_looked)
        at.source.gate.set()
        assert set(await asyncio.gather(*asked)) == {ErrorCode.UNAVAILABLE}
        assert len(at.source.asked) == 1
        at.source.failure = None
        assert await at.pull() == (Cache.MISS, FIRST)


@pytest.mark.anyio
async def test_both_spellings_of_a_version_are_one_manifest_and_one_download(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        assert await at.pull("1.0.0") == (Cache.MISS, FIRST)
        assert (await at.pull("v1.0.0"))[1] == FIRST
        assert await at.pull("v1.0.0") == (Cache.HIT, FIRST)
        assert at.source.fetched == ["1.0.0"]
        assert await at.puller.tags(DEMO) == ["1.0.0"]


DRIFTED = layer_of("1.0.0", "republished")


@pytest.mark.anyio
async def test_an_exact_version_whose_content_changed_stays_what_it_was_under_every_spelling(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.source.layers["1.0.0"] = DRIFTED
        at.clock.advance(RECHECK)
        assert await at.pull() == (Cache.HIT, FIRST)
        assert (await at.pull("v1.0.0"))[1] == FIRST
        rows = {held.row.tag: held.row.seen_digest for held in await at.catalog.held()}
        assert rows == {"1.0.0": Digest.of(DRIFTED), "v1.0.0": Digest.of(DRIFTED)}
        assert at.source.fetched == ["1.0.0"]


@pytest.mark.anyio
async def test_what_a_version_changed_to_is_there_by_digest_and_never_takes_its_tag(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.source.layers["1.0.0"] = DRIFTED
        wanted = manifest_of(DRIFTED)
        pulled = await at.puller.manifest(DEMO, wanted.digest)
        assert pulled.manifest.content == wanted.content
        await _read(at, Digest.of(DRIFTED))
        assert await at.pull() == (Cache.HIT, FIRST)
        assert await at.code(Digest.of(b"another")) is ErrorCode.MANIFEST_UNKNOWN
        assert at.source.fetched == ["1.0.0", "1.0.0"]  # what was kept beside is not fetched again
    async with house(tmp_path, before=at) as after:
        assert await after.pull() == (Cache.HIT, FIRST)


def _versions(count: int) -> dict[str, bytes]:
    return {f"1.0.{number}": layer_of(f"1.0.{number}") for number in range(count)}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("position", "is_found"), [(1, True), (SEARCHED_VERSIONS, True), (SEARCHED_VERSIONS + 1, False)]
)
async def test_a_digest_never_seen_is_looked_for_among_the_newest_25(
    position: int, is_found: bool, tmp_path: Path
) -> None:
    async with house(tmp_path) as at:
        at.source.layers = _versions(40)
        version = f"1.0.{40 - position}"
        wanted = manifest_of(at.source.layers[version])
        if is_found:
            pulled = await at.puller.manifest(DEMO, wanted.digest)
            assert (pulled.manifest, pulled.cache) == (wanted, Cache.MISS)
            assert (await at.puller.manifest(DEMO, wanted.digest)).cache is Cache.HIT
            assert await at.pull(version) == (Cache.HIT, wanted.digest)
        else:
            assert await at.code(wanted.digest) is ErrorCode.MANIFEST_UNKNOWN
            assert await at.code(wanted.digest) is ErrorCode.MANIFEST_UNKNOWN
        assert len(at.source.fetched) == min(position, SEARCHED_VERSIONS)
        assert at.source.asked.count("newest") == 1


@pytest.mark.anyio
async def test_many_digests_are_looked_for_in_one_flight_each_version_once(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        at.source.layers = _versions(10)
        wanted = [manifest_of(layer).digest for layer in at.source.layers.values()]
        pulled = await asyncio.gather(*[at.puller.manifest(DEMO, digest) for digest in wanted])
        assert [one.manifest.digest for one in pulled] == wanted
        assert sorted(at.source.fetched) == sorted(at.source.layers)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("failure", "code"),
    [(Corrupt("wrong"), ErrorCode.MANIFEST_UNKNOWN), (DOWN, ErrorCode.UNAVAILABLE)],
)
async def test_a_version_that_cannot_be_had_does_not_end_the_search_and_an_outage_is_no_absence(
    failure: Outcome, code: ErrorCode, tmp_path: Path
) -> None:
    async with house(tmp_path) as at:
        at.source.layers = _versions(3)
        at.source.spoiled = {"1.0.2": failure}
        wanted = manifest_of(at.source.layers["1.0.0"]).digest
        assert (await at.puller.manifest(DEMO, wanted)).manifest.digest == wanted
        assert await at.code(Digest.of(b"nobody's")) is code


@pytest.mark.anyio
async def test_offline_what_is_held_is_served_and_nobody_is_asked(tmp_path: Path) -> None:
    async with house(tmp_path) as online:
        await online.pull()
    online.source.asked.clear()
    online.clock.advance(10 * RECHECK)
    async with house(tmp_path, before=online, offline="yes") as at:
        assert await at.pull() == (Cache.HIT, FIRST)
        assert await at.pull("v1.0.0") == (Cache.HIT, FIRST)
        assert (await at.puller.manifest(DEMO, FIRST)).cache is Cache.HIT
        assert await _read(at, Digest.of(layer_of("1.0.0"))) == layer_of("1.0.0")
        assert await at.puller.tags(DEMO) == ["1.0.0"]
        assert await at.code("2.0.0") is ErrorCode.MANIFEST_UNKNOWN
        assert await at.code(Digest.of(b"never seen")) is ErrorCode.MANIFEST_UNKNOWN
        with pytest.raises(OciError) as caught:
            await at.puller.tags(OTHER)
        assert caught.value.code is ErrorCode.NAME_UNKNOWN
        assert at.source.asked == []


@pytest.mark.anyio
async def test_tags_are_what_upstream_has_and_what_is_held(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.source.layers = {"v2.0.0": b"x", "2.1.0+build.5": b"y"}
        assert await at.puller.tags(DEMO) == ["1.0.0", "2.0.0", "2.1.0_build.5"]
        at.source.failure = DOWN
        assert await at.puller.tags(DEMO) == ["1.0.0"]
        with pytest.raises(OciError) as caught:
            await at.puller.tags(OTHER)
        assert caught.value.code is ErrorCode.UNAVAILABLE
        at.source.failure = MissingName("no")
        with pytest.raises(OciError) as caught:
            await at.puller.tags(OTHER)
        assert caught.value.code is ErrorCode.NAME_UNKNOWN


async def _read(at: House, digest: Digest, name: Repository = DEMO) -> bytes:
    blob: OpenBlob = await at.puller.blob(name, digest)
    try:
        return await blob.read(0, blob.size)
    finally:
        blob.close()


LAYER = Digest.of(layer_of("1.0.0"))


@pytest.mark.anyio
@pytest.mark.parametrize("digest", [LAYER, FIRST], ids=["layer", "manifest"])
async def test_what_one_repository_delivered_is_never_served_by_another(
    digest: Digest, tmp_path: Path
) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.source.layers = {}
        assert await at.code(FIRST, OTHER) is ErrorCode.MANIFEST_UNKNOWN
        for ask in (at.puller.blob, at.puller.describe_blob):
            with pytest.raises(OciError) as caught:
                await ask(OTHER, digest)
            assert caught.value.code is ErrorCode.BLOB_UNKNOWN
        assert await at.puller.referrers(OTHER, FIRST) == []


@pytest.mark.anyio
async def test_a_blob_that_nobody_named_is_not_looked_for(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        for number in range(20):
            with pytest.raises(OciError) as caught:
                await at.puller.blob(DEMO, Digest.of(b"%d" % number))
            assert caught.value.code is ErrorCode.BLOB_UNKNOWN
        assert at.source.asked == []


@pytest.mark.anyio
async def test_a_blob_whose_bytes_are_gone_is_fetched_again_once_for_all_who_ask(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        await at.blobs.delete(LAYER)
        contents = await asyncio.gather(*[_read(at, LAYER) for _ in range(20)])
        assert set(contents) == {layer_of("1.0.0")}
        assert at.source.fetched == ["1.0.0", "1.0.0"]


@pytest.mark.anyio
async def test_a_blob_that_another_brought_back_meanwhile_is_not_fetched_again(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.blobs.late_times = 1
        assert await _read(at, LAYER) == layer_of("1.0.0")
        assert at.source.fetched == ["1.0.0"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("layers", "failure", "code"),
    [
        ({}, None, ErrorCode.BLOB_UNKNOWN),
        ({"1.0.0": DRIFTED}, None, ErrorCode.UNKNOWN),
        ({"1.0.0": layer_of("1.0.0")}, DOWN, ErrorCode.UNAVAILABLE),
    ],
)
async def test_a_blob_whose_bytes_are_gone_and_cannot_be_had_is_told(
    layers: dict[str, bytes], failure: Outcome | None, code: ErrorCode, tmp_path: Path
) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        await at.blobs.delete(LAYER)
        at.source.layers, at.source.failure = layers, failure
        with pytest.raises(OciError) as caught:
            await at.puller.blob(DEMO, LAYER)
        assert caught.value.code is code


@pytest.mark.anyio
async def test_a_blob_is_described_from_its_manifest(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        await at.blobs.delete(LAYER)
        descriptor = await at.puller.describe_blob(DEMO, LAYER)
        assert (descriptor.digest, descriptor.size) == (LAYER, len(layer_of("1.0.0")))
        assert at.source.asked == ["1.0.0"]


@pytest.mark.anyio
async def test_the_names_are_those_that_clients_asked_for_and_got(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        assert await at.puller.repositories() == []
        await at.code("9.9.9", OTHER)
        await at.pull()
        assert await at.puller.repositories() == [DEMO.name]
