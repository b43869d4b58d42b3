"""What a purge leaves: nothing of what it was for, and everything that somebody else needs."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest, parse_manifest
from gateway.oci.media_types import OCI_IMAGE_INDEX
from gateway.oci.target import Target
from gateway.store import tables
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.pins import Pin, PinBook
from gateway.store.purge_rows import Doom, Purge, PurgeBook
from gateway.store.rows import KeptManifest, TagList
from tests.store.samples import NAME, OTHER, TARGET, Sample, retagged, sample

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # many, and each on both databases


class Places:
    """A catalog, and the book that forgets what is in it."""

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.generation = LocalGeneration()
        self.catalog = Catalog(engines, self.generation)
        self.book = PurgeBook(engines, self.generation)

    async def keep(self, *made: Sample) -> None:
        for one in made:
            await self.catalog.keep(str(one.row.target), one.row, one.kept)

    async def purge(
        self, reference: str | None, *targets: Target, unpins: str = "", rehearses: str = ""
    ) -> Purge:
        doom = Doom(targets or (TARGET,), reference, bool(unpins))
        return await (self.book.foretell(doom) if rehearses else self.book.purge(doom))

    def counts(self) -> dict[str, int]:
        """How many rows there are in each table that is not empty, but for names."""
        with self.engines.reader.connect() as connection:
            counted = {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in tables.metadata.sorted_tables
                if table is not tables.repositories
            }
        return {name: count for name, count in counted.items() if count}


@pytest.fixture
def at(engines: Engines) -> Places:
    return Places(engines)


def index_of(*parts: Sample, target: Target = TARGET, tag: str = "all") -> Sample:
    named = [
        f'{{"mediaType":"{one.kept.manifest.media_type}","digest":"{one.digest}","size":9}}' for one in parts
    ]
    content = (
        f'{{"schemaVersion":2,"mediaType":"{OCI_IMAGE_INDEX}","manifests":[{",".join(named)}]}}'.encode()
    )
    manifest = Manifest.of(content, OCI_IMAGE_INDEX)
    row = replace(parts[0].row, tag=tag, version=tag, is_exact=False, digest=manifest.digest, target=target)
    kept = KeptManifest(manifest, parse_manifest(content, OCI_IMAGE_INDEX), {})
    return Sample(row, kept, parts[0].config, parts[0].layer)


def digests(purge: Purge) -> Sequence[Digest]:
    return [digest for digest, _ in purge.blobs]


async def test_nothing_of_a_tag_stays_and_its_blobs_are_named(at: Places) -> None:
    made = sample()
    await at.keep(made)
    await at.catalog.keep_tag_target(NAME, "1.2.3", TARGET, 1.0)
    done = await at.purge("1.2.3")
    assert at.counts() == {}
    assert [(one.tag, one.digest) for one in done.tags] == [("1.2.3", made.digest)]
    assert (done.manifests, set(digests(done))) == ([made.digest], {made.config, made.layer})
    assert sum(size for _, size in done.blobs) == sum(made.kept.sizes.values())
    assert done.names == [NAME]


async def test_a_rehearsal_tells_the_same_and_forgets_nothing(at: Places) -> None:
    await at.keep(sample())
    before, generation = at.counts(), at.generation.current()
    told = await at.purge("1.2.3", rehearses="yes")
    assert (at.counts(), at.generation.current()) == (before, generation)
    assert await at.purge("1.2.3") == told


async def test_everybody_learns_of_a_purge_also_of_what_was_not_held(at: Places) -> None:
    generation = at.generation.current()
    done = await at.purge("9.9.9")
    assert done.is_empty
    assert at.generation.current() > generation


async def test_what_another_tag_shares_stays(at: Places) -> None:
    first, second = sample("1.0.0"), sample("2.0.0")
    assert first.config == second.config
    await at.keep(first, second)
    done = await at.purge("1.0.0")
    assert digests(done) == [first.layer]
    assert await at.catalog.find_right(TARGET, second.config) is not None
    assert await at.catalog.find_manifest(TARGET, second.digest) is not None
    assert at.counts() == {"blobs": 2, "manifest_edges": 2, "manifests": 1, "rights": 3, "tags": 1}


async def test_what_another_target_has_stays_its_own(at: Places) -> None:
    here, there = sample(), sample(target=OTHER)
    await at.keep(here, there)
    done = await at.purge("1.2.3")
    assert (done.manifests, done.blobs) == ([], [])
    assert await at.catalog.find_manifest(TARGET, here.digest) is None
    assert await at.catalog.find_right(TARGET, here.layer) is None
    assert await at.catalog.find_manifest(OTHER, here.digest) is not None
    assert await at.catalog.find_right(OTHER, here.layer) is not None


async def test_a_tag_goes_in_every_variant_and_from_every_source(at: Places) -> None:
    made = sample()
    await at.keep(made)
    for row in (replace(made.row, variant="provenance"), replace(made.row, source="registry")):
        await at.catalog.keep(NAME, row, made.kept)
    assert {one.variant for one in (await at.purge("1.2.3")).tags} == {"plain", "provenance"}
    assert at.counts() == {}


@pytest.mark.parametrize("asked", ["1.2.3", "v1.2.3"])
async def test_an_exact_version_goes_under_every_spelling(at: Places, asked: str) -> None:
    made = sample()
    await at.keep(made)
    await at.catalog.keep_tag(NAME, retagged(made, "v1.2.3"))
    assert [one.tag for one in (await at.purge(asked)).tags] == ["1.2.3", "v1.2.3"]
    assert at.counts() == {}


async def test_a_version_is_found_by_a_spelling_that_is_not_held(at: Places) -> None:
    await at.keep(sample())
    assert [one.tag for one in (await at.purge("v1.2.3")).tags] == ["1.2.3"]


async def test_an_image_index_goes_with_its_parts_and_what_refers_to_them(at: Places) -> None:
    first, second = sample("1.0.0", content=b"a"), sample("2.0.0", content=b"b")
    whole = index_of(first, second)
    signature = sample("3.0.0", subject=whole.digest, content=b"s")
    for part in (first, second, signature):
        await at.catalog.keep_untagged(part.row, part.kept)
    await at.keep(whole)
    done = await at.purge("all")
    assert at.counts() == {}
    assert len(done.manifests) == 4
    assert len(done.blobs) == 6


async def test_a_part_that_a_staying_index_names_stays_with_all_below_it(at: Places) -> None:
    part = sample("1.0.0")
    await at.keep(part, index_of(part))
    assert (await at.purge("1.0.0")).manifests == []
    assert await at.catalog.find_right(TARGET, part.layer) is not None
    assert (await at.purge("all")).manifests != []
    assert at.counts() == {}


async def test_a_digest_goes_whatever_names_it_and_every_tag_of_it(at: Places) -> None:
    part = sample("1.0.0")
    whole = index_of(part)
    await at.keep(part, whole)
    await at.catalog.keep_tag(NAME, retagged(part, "one"))
    done = await at.purge(str(part.digest))
    assert [one.tag for one in done.tags] == ["1.0.0", "one"]
    assert done.manifests == [part.digest]
    assert await at.catalog.find_manifest(TARGET, whole.digest) is not None
    assert at.counts() == {"manifest_edges": 1, "manifests": 1, "rights": 1, "tags": 1}


async def test_all_of_a_target_goes_and_nothing_of_the_next(at: Places) -> None:
    there = sample(target=OTHER, content=b"there")
    await at.keep(*(sample(f"1.0.{patch}") for patch in range(3)), there)
    await at.catalog.keep_untagged(sample("9.0.0").row, sample("9.0.0").kept)
    await at.catalog.keep_tag_list(TARGET, "plain", TagList("helm", ("1.0.0",), 1.0))
    await at.catalog.keep_tag_target(NAME, "1.0.0", TARGET, 1.0)
    done = await at.purge(None)
    assert (len(done.tags), len(done.manifests), len(done.blobs)) == (3, 4, 5)
    assert at.counts() == {"blobs": 2, "manifest_edges": 2, "manifests": 1, "rights": 3, "tags": 1}
    assert await at.catalog.find_tags(OTHER, "plain", there.row.tag) == [there.row]


async def test_several_targets_go_together(at: Places) -> None:
    await at.keep(sample(), sample(target=OTHER))
    done = await at.purge("1.2.3", TARGET, OTHER)
    assert [one.target for one in done.tags] == [OTHER, TARGET]
    assert len(done.manifests) == 1
    assert at.counts() == {}


@pytest.mark.parametrize("asked", ["tag", "digest", "all"])
async def test_what_is_pinned_stays_unless_its_pin_goes_too(at: Places, asked: str) -> None:
    made = sample()
    await at.keep(made, sample("2.0.0"))
    pins = PinBook(at.engines)
    pinned = str(made.digest) if asked == "digest" else "1.2.3"
    await pins.make(Pin(TARGET, pinned, NAME, 1.0))
    before = at.counts()
    reference = None if asked == "all" else "1.2.3"
    refused = await at.purge(reference)
    assert (refused.is_refused, [pin.reference for pin in refused.pinned]) == (True, [pinned])
    assert at.counts() == before
    done = await at.purge(reference, unpins="yes")
    assert (done.is_refused, len(done.pinned)) == (False, 1)
    assert await pins.list_all() == []
    assert await at.catalog.find_tags(TARGET, "plain", "1.2.3") == []


async def test_a_pin_of_something_else_is_in_nobodys_way(at: Places) -> None:
    await at.keep(sample(), sample("2.0.0"))
    await PinBook(at.engines).make(Pin(TARGET, "2.0.0", NAME, 1.0))
    assert not (await at.purge("1.2.3")).is_refused


async def test_an_index_of_a_repository_stays(at: Places) -> None:
    made = sample()
    await at.keep(made)
    with at.engines.writing() as connection:
        values = {"url": "https://x.test/index.yaml", "digest": str(made.layer)}
        connection.execute(tables.helm_indexes.insert().values(**values, confirmed_at=1.0, forced_at=0.0))
    assert digests(await at.purge("1.2.3")) == [made.config]


async def test_a_blob_that_comes_after_the_purge_earns_no_right(at: Places) -> None:
    made = sample()
    await at.keep(made)
    await at.purge("1.2.3")
    await at.catalog.keep_blob(TARGET, "plain", made.layer, 7, "helm", 1.0)
    assert at.counts() == {}


async def test_where_a_name_led_is_known_after_all_of_it_is_gone(at: Places) -> None:
    await at.keep(sample())
    await at.purge(None)
    assert await at.book.targets_of(NAME) == [TARGET]
    assert await at.catalog.names() == []
