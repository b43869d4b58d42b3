"""Signatures of bundles, over the bytes of index.json, as ``openssl`` and ``cosign`` make and check them.

``cryptography`` is imported where a key is used: it takes 9 MB, in workers too, and few ever sign.
"""

import base64
import binascii
from typing import Final

_EXPECTED: Final = "expected one of Ed25519 or ECDSA P-256, in PEM"


class SignatureWrong(Exception):
    """The signature is not one of this key over this index.json."""


class KeyUnusable(SignatureWrong):
    """A key cannot be read, or is of a kind that nothing is signed with here."""


def sign(key_pem: bytes, index: bytes) -> str:
    """Base64 of the signature by a private key without a password; raise KeyUnusable."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"the key cannot be read: {_EXPECTED}, without a password") from error
    match key:
        case Ed25519PrivateKey():
            signature = key.sign(index)
        case EllipticCurvePrivateKey(curve=SECP256R1()):
            signature = key.sign(index, ECDSA(SHA256()))
        case _:
            raise KeyUnusable(f"the key is of another kind: {_EXPECTED}")
    return base64.b64encode(signature).decode()


def verify(public_key_pem: bytes, index: bytes, signature: str) -> None:
    """Raise SignatureWrong, or KeyUnusable."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(public_key_pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"the public key cannot be read: {_EXPECTED}") from error
    try:
        content = base64.b64decode("".join(signature.split()), validate=True)
        match key:
            case Ed25519PublicKey():
                key.verify(content, index)
            case EllipticCurvePublicKey(curve=SECP256R1()):
                key.verify(content, index, ECDSA(SHA256()))
            case _:
                raise KeyUnusable(f"the public key is of another kind: {_EXPECTED}")
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise SignatureWrong("the signature is not of this key, or not over this index.json") from error
