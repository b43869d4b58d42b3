"""Values written as YAML are read as they were, by every parser."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.helm.document import Plain, Value, parse_document
from gateway.helm.yaml_text import after_colon, plain_key

pytestmark = pytest.mark.slow

_TEXTS = st.text(max_size=10) | st.sampled_from(
    ("true", "1.10", "it's", "- x", "~", "2021-01-01", "\u2028", "\x85")
)
_VALUES: st.SearchStrategy[Value] = st.recursive(
    _TEXTS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(_VALUES)
def test_what_is_written_is_read_again(value: Value) -> None:
    text = f"a:{after_colon({'b': [value, value]}, 2)}\n"
    assert parse_document(text.encode()) == {"a": {"b": [value, value]}}
    assert yaml.safe_load(text) == {"a": {"b": [value, value]}}


def test_numbers_and_flags_are_written_as_such() -> None:
    assert yaml.safe_load("a:" + after_colon([1, 1.5, True, None, {}, []], 0)) == {
        "a": [1, 1.5, True, None, {}, []]
    }


def test_what_looks_like_an_anchor_is_written_so_that_it_does_not() -> None:
    assert after_colon("this &that", 0) == r' "this \u0026that"'


def test_half_a_character_is_written_as_one_that_is_not_known() -> None:
    assert yaml.safe_load("a:" + after_colon("x\ud800y", 0)) == {"a": "x\ufffdy"}


@pytest.mark.parametrize("text", ["1.10", "true", "-5", "-.inf", "0x1F", "1e3", "on"])
def test_what_was_written_without_quotes_and_may_be_no_text_stays_so(text: str) -> None:
    assert after_colon(Plain(text), 0) == f" {text}"


@pytest.mark.parametrize("text", ["it's so", "a: b", "-", "2021-01-01 10:00", "a:"])
def test_what_can_only_be_a_text_is_quoted(text: str) -> None:
    assert yaml.safe_load("a:" + after_colon(Plain(text), 0)) == {"a": text}


@pytest.mark.parametrize("name", ["argo-cd", "x.y_z", "k8s", "artifacthub.io/changes", "appVersion"])
def test_a_key_that_is_a_text_to_every_parser_has_no_quotes(name: str) -> None:
    assert plain_key(name) == name


@pytest.mark.parametrize(
    "name", ["yes", "true", "null", "1.5", "1e5", "a b", "", "y", "0x1F", "1_000", "NULL", "Off", "0x1_F"]
)
def test_a_key_that_may_be_none_has(name: str) -> None:
    assert yaml.safe_load(f"{plain_key(name)}: x") == {name: "x"}
