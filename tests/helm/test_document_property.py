"""YAML that emitters write is read as it was meant, and what is read of any bytes is only text."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.helm.document import DocumentError, Plain, Value, parse_document
from gateway.helm.lock import parse_lock

pytestmark = pytest.mark.slow

_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
_VALUES = st.recursive(
    st.none() | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(value=_VALUES, width=st.sampled_from((10, 80, 10_000)), is_flow=st.booleans())
def test_what_an_emitter_writes_is_read_back(value: Value, width: int, *, is_flow: bool) -> None:
    text = yaml.safe_dump(value, width=width, default_flow_style=is_flow, allow_unicode=True)
    assert parse_document(text.encode()) == value


@given(value=_VALUES)
def test_all_json_is_yaml(value: Value) -> None:
    assert parse_document(json.dumps(value, ensure_ascii=False).encode()) == value


@given(
    content=st.binary(max_size=60)
    | st.text(alphabet=" \n-:?[]{},&*!|>'\"%@`#ab1~<\t", max_size=60).map(str.encode)
)
def test_any_bytes_are_a_document_or_refused(content: bytes) -> None:
    try:
        value = parse_document(content)
    except DocumentError:
        return
    assert _is_plain(value)


def _is_plain(value: Value) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or type(value) in {str, Plain}


@given(
    locked=st.lists(st.tuples(_TEXTS, _TEXTS), max_size=3),
    digest=st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
)
def test_a_lock_is_read_back(locked: list[tuple[str, str]], digest: str) -> None:
    dependencies = [{"name": name, "repository": url} for name, url in locked]
    text = json.dumps({"dependencies": dependencies, "digest": digest}, ensure_ascii=False)
    document = parse_document(text.encode())
    lock = parse_lock(document, "Chart.lock")
    assert [(one.name, one.repository) for one in lock.dependencies] == locked
    assert lock.digest == digest
