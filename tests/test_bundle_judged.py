"""A bundle is held against what it says of itself: every fault is told, and nothing is taken."""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import pytest

from gateway.bundle import BundledContent, Contents
from gateway.bundle_import import ImportOptions
from gateway.oci.postgres_url import PostgresUrl
from tests.bundle_house import (
    APP,
    MADE_AT,
    Artifact,
    Bundle,
    ImportHouse,
    app,
    blob_name,
    chart,
    digest_of,
    import_house,
    tar_of,
    with_contents,
)

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

OTHER = "charts.example.test/other"
REPLACING = ImportOptions(replaces=True)
DRY = ImportOptions(is_dry=True)
WITH_RULES = ImportOptions(applies_rules=True)


@pytest.fixture
async def house(tmp_path: Path, database: PostgresUrl | None) -> AsyncIterator[ImportHouse]:
    async with import_house(tmp_path, database) as house:
        yield house


@pytest.fixture
async def sqlite_house(tmp_path: Path) -> AsyncIterator[ImportHouse]:
    async with import_house(tmp_path) as house:
        yield house


async def test_a_flipped_bit_a_missing_config_and_an_orphan_are_all_told_and_nothing_is_taken(
    house: ImportHouse,
) -> None:
    one, other = chart("app", "1.0.0", os.urandom(5 << 20)), chart("app", "2.0.0")
    files = Bundle().add(APP, {"1.0.0": one, "2.0.0": other}).files()
    layer = blob_name(digest_of(one.blobs[1]))
    files[layer] = bytes([files[layer][0] ^ 1]) + files[layer][1:]
    del files[blob_name(digest_of(other.blobs[0]))]
    files[blob_name(digest_of(b"an orphan"))] = b"an orphan"
    faults = "\n".join(await house.refused(tar_of(files.items())))
    assert f"{layer} has other content than its name says" in faults
    assert f"{digest_of(other.blobs[0])} is missing" in faults
    assert f"{digest_of(b'an orphan')} belongs to nothing" in faults
    assert faults == "\n".join(await house.refused(tar_of(files.items()), DRY))


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
async def test_a_layout_that_lacks_a_part_is_refused(sqlite_house: ImportHouse, name: str) -> None:
    files = app("1.0.0").files()
    del files[name]
    assert f"{name} is missing" in await sqlite_house.refused(tar_of(files.items()))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("oci-layout", b"{}", "oci-layout cannot be read"),
        ("oci-layout", b'{"imageLayoutVersion":"2.0.0"}', "its layout is '2.0.0'"),
        ("index.json", b"[" * 100_000, "index.json cannot be read"),
        ("index.json", b'{"x":' * 100_000, "index.json cannot be read"),
        ("index.json", b"\xff", "index.json cannot be read"),
        ("index.json", b'{"manifests":[]}', "no gateway made"),
        (
            "index.json",
            b'{"manifests":[{"digest":"x","artifactType":"application/vnd.chart-gateway.bundle.v1"}]}',
            "malformed digest",
        ),
    ],
)
async def test_json_that_is_not_what_it_must_be_is_refused(
    sqlite_house: ImportHouse, name: str, content: bytes, told: str
) -> None:
    faults = await sqlite_house.refused(tar_of((app("1.0.0").files() | {name: content}).items()))
    assert told in "\n".join(faults)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"digest": digest_of(b"nothing")}, "not in its list of contents"),
        ({"tag": "../x"}, "is no tag"),
        ({"tag": "a" * 129}, "is no tag"),
        ({"source": "evil"}, "is no source"),
        ({"variant": "x" * 256}, "is no version, variant or name"),
        ({"version": "1\n2"}, "is no version, variant or name"),
        ({"upstream_digest": "md5:1"}, "is no digest"),
        ({"kept_at": 1e308, "confirmed_at": -1e308}, ""),
    ],
)
async def test_a_tag_that_is_out_of_bounds_is_refused(
    sqlite_house: ImportHouse, change: Mapping[str, object], told: str
) -> None:
    bundle = app("1.0.0")
    [target] = bundle.targets
    rows = [msgspec.structs.replace(target.tags[0], **change)]
    content = with_contents(bundle, targets=[msgspec.structs.replace(target, tags=rows)])
    if told:
        assert told in "\n".join(await sqlite_house.refused(content))
    else:
        assert (await sqlite_house.take(content)).tags[0].row.kept_at == MADE_AT + 3600.0


async def test_names_and_targets_that_are_none_are_refused(sqlite_house: ImportHouse) -> None:
    for change in ({"target": "../x"}, {"target": "a" * 256}, {"names": ["A/../b"]}):
        bundle = app("1.0.0")
        bundle.targets = [msgspec.structs.replace(bundle.targets[0], **change)]
        assert "is no repository name" in "\n".join(
            await sqlite_house.refused(with_contents(bundle))
        ) or "at most 255" in "\n".join(await sqlite_house.refused(with_contents(bundle)))
    bundle = app("1.0.0")
    twice = [bundle.targets[0], bundle.targets[0]]
    assert "is there twice" in "\n".join(await sqlite_house.refused(with_contents(bundle, targets=twice)))


@pytest.mark.parametrize(
    ("homes", "told"), [({"a\n": ["1"]}, "is no version, variant or name"), ({"a": ["../x"]}, "is no tag")]
)
async def test_tags_that_stay_under_names_that_are_none_are_refused(
    sqlite_house: ImportHouse, homes: Mapping[str, list[str]], told: str
) -> None:
    bundle = app("1.0.0")
    bundle.targets = [msgspec.structs.replace(bundle.targets[0], homes=homes)]
    assert told in "\n".join(await sqlite_house.refused(with_contents(bundle)))


async def test_what_is_listed_otherwise_than_it_is_is_refused(sqlite_house: ImportHouse) -> None:
    bundle = app("1.0.0")
    listed = bundle.contents
    larger = [msgspec.structs.replace(one, size_bytes=one.size_bytes + 1) for one in listed]
    assert "and should have" in "\n".join(await sqlite_house.refused(with_contents(bundle, contents=larger)))
    twice = [*listed, listed[0]]
    assert "is listed twice" in "\n".join(await sqlite_house.refused(with_contents(bundle, contents=twice)))
    index = [
        msgspec.structs.replace(listed[0], media_type="application/vnd.oci.image.index.v1+json"),
        *listed[1:],
    ]
    assert "and came as" in "\n".join(await sqlite_house.refused(with_contents(bundle, contents=index)))
    loose = [*listed, BundledContent(digest_of(b"x"), 1)]
    files = bundle.files(Contents(1, "1.0", MADE_AT, None, bundle.targets, loose))
    files[blob_name(digest_of(b"x"))] = b"x"
    assert "nothing that is brought names it" in "\n".join(await sqlite_house.refused(tar_of(files.items())))


async def test_a_format_of_days_to_come_is_refused_with_a_word(sqlite_house: ImportHouse) -> None:
    bundle = app("1.0.0")
    bundle.format = 2
    assert "take a newer one" in "\n".join(await sqlite_house.refused(bundle.tar()))


async def test_what_a_bundle_claims_to_be_a_manifest_is_no_reason_to_read_much_of_it(
    sqlite_house: ImportHouse,
) -> None:
    huge = Artifact(b"{" + bytes(5 << 20), ())
    assert "too large" in "\n".join(await sqlite_house.refused(Bundle().add(APP, {"1": huge}).tar()))
