"""JSON as Go writes it, and descriptors in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.decoding import parse_json
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [True, None]}, b'{"b":1,"a":[true,null]}'),
        ("<a>&", b'"\\u003ca\\u003e\\u0026"'),
        ("\u2028\u2029", b'"\\u2028\\u2029"'),
        ("\b\f\n\t\x01", b'"\\b\\f\\n\\t\\u0001"'),
        ("é\U0001f600", '"é\U0001f600"'.encode()),
        ("\x7f", b'"\x7f"'),
    ],
)
def test_json_is_written_as_go_writes_it(value: object, expected: bytes) -> None:
    assert dump_compact(value) == expected


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        dump_compact(float("nan"))


def test_a_descriptor_is_written_in_the_order_of_the_specification() -> None:
    digest = Digest.of(b"x")
    plain = Descriptor("a/b", digest, 1)
    assert list(plain.to_json()) == ["mediaType", "digest", "size"]
    full = Descriptor("a/b", digest, 1, {"z": "1", "a": "2"}, "c/d")
    assert json.dumps(full.to_json()["annotations"]) == '{"a": "2", "z": "1"}'
    assert list(full.to_json()) == ["mediaType", "digest", "size", "annotations", "artifactType"]


@given(st.dictionaries(st.text(), st.text() | st.integers(-(2**63), 2**63) | st.booleans() | st.none()))
def test_what_is_written_reads_back(value: dict[str, str | int | bool | None]) -> None:
    assert parse_json(dump_compact(value), 1_000_000) == value
