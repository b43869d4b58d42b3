"""What is asked of a bundle before it is taken: a signature, and a word before its rules are in force."""

import io
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.bundle_checks import BundleRefused
from gateway.bundle_import import ImportOptions
from gateway.bundle_signing import sign
from gateway.oci.postgres_url import PostgresUrl
from gateway.store.revisions import RevisionOrigin
from tests.bundle_house import (
    APP,
    TAKEN,
    Bundle,
    ImportHouse,
    app,
    chart,
    import_house,
    tar_of,
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


def _key_pair() -> tuple[bytes, bytes]:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), public


async def test_only_what_is_signed_with_the_key_is_taken_where_one_is_asked_for(
    sqlite_house: ImportHouse,
) -> None:
    (key, public), (_, other) = _key_pair(), _key_pair()
    bundle = app("1.0.0")
    signed = sign(key, bundle.files()["index.json"])
    options = ImportOptions(public_key=public, signature=signed)
    for wrong in (replace(options, signature=None), replace(options, public_key=other)):
        await sqlite_house.refused(bundle.tar(), wrong)
    await sqlite_house.refused(app("2.0.0").tar(), options)
    backwards = tar_of(reversed(app("2.0.0").files().items()))
    await sqlite_house.refused(backwards, options)
    sqlite_house.importer.key.write_bytes(other)
    await sqlite_house.refused(bundle.tar(), options)
    sqlite_house.importer.key.write_bytes(public)
    await sqlite_house.refused(bundle.tar())
    await sqlite_house.take(bundle.tar(), ImportOptions(signature=signed))


async def test_a_wrong_signature_is_seen_before_anything_is_read(sqlite_house: ImportHouse) -> None:
    stream = io.BytesIO(Bundle().add(APP, {"1": chart("app", "1", os.urandom(30 << 20))}).tar())
    (key, _), (_, other) = _key_pair(), _key_pair()
    with pytest.raises(BundleRefused):
        await sqlite_house.importer.import_(
            stream, ImportOptions(public_key=other, signature=sign(key, b"something"))
        )
    assert stream.tell() < 4 << 20


RULES = b"version: 1\ndefaults: {fresh_for: 2h}\n"


async def test_rules_are_shown_and_applied_only_when_that_is_asked_for(house: ImportHouse) -> None:
    bundle = app("1.0.0")
    bundle.rules = RULES
    for options in (TAKEN, DRY, replace(WITH_RULES, is_dry=True)):
        rules = (await house.take(bundle.tar(), options)).rules
        assert rules is not None
        assert "+defaults: {fresh_for: 2h}" in rules.difference
        assert (rules.revision, rules.failure) == (None, None)
    rules = (await house.take(bundle.tar(), replace(WITH_RULES, actor="ann"))).rules
    assert rules is not None
    assert rules.revision == 2
    made = house.desk.find(2)
    assert made is not None
    assert (made.content, made.head.origin, made.head.author) == (RULES, RevisionOrigin.IMPORT, "ann")
    again = (await house.take(bundle.tar(), WITH_RULES)).rules
    assert again is not None
    assert (again.difference, again.revision) == ("", None)


@pytest.mark.parametrize(
    "rules",
    [
        b"version: 1\nnonsense: true\n",
        b"version: 1\nupstreams: {a.example.test: {token_env: TOKEN}}\n",
        "version: 1\nupstreams: {a.example.test: {token_env: ••••••}}\n".encode(),
        b"\x00[[[",
    ],
)
async def test_rules_that_cannot_be_used_here_are_told_and_the_content_stays(
    sqlite_house: ImportHouse, rules: bytes
) -> None:
    bundle = app("1.0.0")
    bundle.rules = rules
    report = await sqlite_house.take(bundle.tar(), WITH_RULES)
    assert report.rules is not None
    assert report.rules.failure
    assert report.is_failure
    assert await sqlite_house.held("1.0.0")
    assert sqlite_house.desk.newest_number() == 1


async def test_rules_are_not_applied_where_they_are_edited_in_the_file_alone(tmp_path: Path) -> None:
    origins = frozenset({RevisionOrigin.FILE, RevisionOrigin.ROLLBACK})
    async with import_house(tmp_path, origins=origins) as house:
        bundle = app("1.0.0")
        bundle.rules = RULES
        report = await house.take(bundle.tar(), WITH_RULES)
    assert report.rules is not None
    assert "RULES_EDITED_IN" in (report.rules.failure or "")


async def test_rules_hold_also_over_a_file_that_no_server_has_taken_in_yet(sqlite_house: ImportHouse) -> None:
    bundle = app("1.0.0")
    bundle.rules = RULES
    sqlite_house.desk.file.path.write_bytes(b"version: 1\ndefaults: {fresh_for: 1h}\n")
    looked = (await sqlite_house.take(bundle.tar(), TAKEN)).rules
    assert looked is not None
    assert "-defaults: {fresh_for: 1h}" in looked.difference
    assert sqlite_house.desk.newest_number() == 1
    assert await sqlite_house.take(bundle.tar(), WITH_RULES)
    assert sqlite_house.desk.start().revision == 3
    made = sqlite_house.desk.find(3)
    assert made is not None
    assert made.content == RULES
