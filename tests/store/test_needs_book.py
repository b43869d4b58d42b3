"""What charts need is remembered by their manifests, as long as these are held."""

import pytest
from sqlalchemy import delete

from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.needs_book import NeedsBook
from gateway.store.tables import chart_needs, manifests, tags
from tests.store.samples import NAME, sample

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # each on both databases

MADE, NEWER = sample(), sample("1.2.4")
FIRST, SECOND = MADE.row.digest, NEWER.row.digest


async def test_what_was_kept_is_found_the_latest_word_alone(engines: Engines) -> None:
    catalog, book = Catalog(engines, LocalGeneration()), NeedsBook(engines, 1)
    await catalog.keep(NAME, MADE.row, MADE.kept)
    await catalog.keep(NAME, NEWER.row, NEWER.kept)
    await book.keep(FIRST, "one")
    await book.keep(FIRST, "two")
    assert await book.of([FIRST, SECOND]) == {FIRST: "two"}
    assert await NeedsBook(engines, 2).of([FIRST]) == {}


async def test_it_goes_with_its_manifest_and_does_not_come_without(engines: Engines) -> None:
    catalog, book = Catalog(engines, LocalGeneration()), NeedsBook(engines, 1)
    await catalog.keep(NAME, MADE.row, MADE.kept)
    await book.keep(FIRST, "one")
    engines.write(lambda connection: connection.execute(delete(tags)))
    engines.write(lambda connection: connection.execute(delete(manifests)))
    assert await book.of([FIRST]) == {}
    await book.keep(FIRST, "one")
    assert await book.of([FIRST]) == {}


async def test_what_the_database_refuses_is_as_good_as_not_known(engines: Engines) -> None:
    engines.write(chart_needs.drop)
    book = NeedsBook(engines, 1)
    await book.keep(FIRST, "one")
    assert await book.of([FIRST]) == {}
