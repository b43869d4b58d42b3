"""Signatures over index.json: what is made here OpenSSL checks, and what OpenSSL makes is checked here."""

import base64
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.bundle_signing import KeyUnusable, SignatureWrong, sign, verify
from tests.conftest import missing

pytestmark = pytest.mark.slow

INDEX = b'{"schemaVersion":2,"manifests":[]}'
KINDS = {
    "ed25519": ("-algorithm", "ed25519"),
    "p256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
}
OTHERS = {"rsa": ("-algorithm", "RSA"), "p384": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")}


@dataclass(frozen=True, slots=True)
class Keys:
    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "index.json").write_bytes(INDEX)

    @property
    def private(self) -> bytes:
        return (self.folder / "key.pem").read_bytes()

    @property
    def public(self) -> bytes:
        return (self.folder / "key.pub").read_bytes()

    def openssl(self, *arguments: str) -> str:
        program = shutil.which("openssl") or missing("no openssl")
        done = subprocess.run(
            [program, *arguments], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout

    def make(self, kind: Sequence[str]) -> "Keys":
        self.openssl("genpkey", *kind, "-out", "key.pem")
        self.openssl("pkey", "-in", "key.pem", "-pubout", "-out", "key.pub")
        return self


@pytest.fixture(params=KINDS)
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> Keys:
    return Keys(tmp_path).make(KINDS[request.param])


def signing_of(keys: Keys) -> tuple[str, ...]:
    """How OpenSSL signs with a key: Ed25519 takes the bytes, ECDSA their SHA-256."""
    return (
        ("pkeyutl", "-rawin")
        if b"ED25519" in keys.openssl("pkey", "-in", "key.pem", "-text").upper().encode()
        else (
            "pkeyutl",
            "-rawin",
            "-digest",
            "sha256",
        )
    )


def test_what_is_signed_here_is_checked_here_and_by_openssl(keys: Keys) -> None:
    signature = sign(keys.private, INDEX)
    verify(keys.public, INDEX, f"{signature}\n")
    (keys.folder / "index.sig").write_bytes(base64.b64decode(signature))
    told = keys.openssl(
        *signing_of(keys),
        "-verify",
        "-pubin",
        "-inkey",
        "key.pub",
        "-in",
        "index.json",
        "-sigfile",
        "index.sig",
    )
    assert "Verified Successfully" in told


def test_what_openssl_signs_is_checked_here(keys: Keys) -> None:
    keys.openssl(*signing_of(keys), "-sign", "-inkey", "key.pem", "-in", "index.json", "-out", "index.sig")
    verify(keys.public, INDEX, base64.encodebytes((keys.folder / "index.sig").read_bytes()).decode())


def test_another_index_key_or_signature_is_refused(keys: Keys, tmp_path: Path) -> None:
    signature = sign(keys.private, INDEX)
    (tmp_path / "other").mkdir()
    other = Keys(tmp_path / "other").make(KINDS["ed25519"])
    for key, index, text in [
        (keys.public, INDEX + b" ", signature),
        (other.public, INDEX, signature),
        (keys.public, INDEX, sign(other.private, INDEX)),
        (keys.public, INDEX, signature[:-8]),
        (keys.public, INDEX, "no signature"),
        (keys.public, INDEX, ""),
    ]:
        with pytest.raises(SignatureWrong, match="not of this key, or not over"):
            verify(key, index, text)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_kinds_of_keys_are_refused(tmp_path: Path, kind: str) -> None:
    keys = Keys(tmp_path).make(OTHERS[kind])
    with pytest.raises(KeyUnusable, match="expected one of Ed25519 or ECDSA P-256"):
        sign(keys.private, INDEX)
    with pytest.raises(KeyUnusable, match="expected one of Ed25519 or ECDSA P-256"):
        verify(keys.public, INDEX, "AAAA")


def test_what_is_no_key_or_needs_a_password_is_refused(keys: Keys) -> None:
    keys.openssl("pkey", "-in", "key.pem", "-aes256", "-passout", "pass:secret", "-out", "locked.pem")
    for wrong in (b"", b"no key", keys.public, (keys.folder / "locked.pem").read_bytes()):
        with pytest.raises(KeyUnusable, match="cannot be read"):
            sign(wrong, INDEX)
    for wrong in (b"", b"no key", keys.private):
        with pytest.raises(KeyUnusable, match="cannot be read"):
            verify(wrong, INDEX, "AAAA")
