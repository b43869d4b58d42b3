"""Scalars are changed in place: whatever the style of a YAML text, nothing else of it changes."""

import codecs
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.helm.document import DocumentError, Plain, parse_document
from gateway.helm.scalar_edits import Path, with_scalars

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

OLD = "https://charts.example.test/old"
NEW = "oci://gw.example.test:9000/charts.example.test/old"
A: Path = ("a",)
B: Path = ("b",)


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("a: OLD\n", "a: NEW\n"),
        ("a: OLD", "a: NEW"),
        ("a: 'OLD'\n", "a: 'NEW'\n"),
        ('a: "OLD"\n', 'a: "NEW"\n'),
        ('a: "https:\\x2f/charts.example.test\\\n  /old"\n', 'a: "NEW"\n'),
        ("a: OLD  # why\n# and why not\nb: OLD\n", "a: NEW  # why\n# and why not\nb: OLD\n"),
        ("a:\n  # above\n  OLD\n", "a:\n  # above\n  NEW\n"),
        ("b: é ünd 😀\na: OLD\n", "b: é ünd 😀\na: NEW\n"),
        ("{b: [1.10, x], a: OLD}\n", "{b: [1.10, x], a: NEW}\n"),
        ("{a: OLD, b: OLD}\n", "{a: NEW, b: OLD}\n"),
        ('{"a":"OLD"}', '{"a":"NEW"}'),
        ("? a\n: OLD\n", "? a\n: NEW\n"),
        ("'a': OLD\n", "'a': NEW\n"),
        ("b: OLD\r\na: OLD\r\n", "b: OLD\r\na: NEW\r\n"),
        ("%YAML 1.1\n---\na: OLD\n...\n", "%YAML 1.1\n---\na: NEW\n...\n"),
        ("a: |-\n  OLD\nb: 1\n", "a: NEW\nb: 1\n"),
        ("a: >-  # folded\n\n  OLD\n\n# c\nb: 1\n", "a: NEW\n\n# c\nb: 1\n"),
        ("b:\n- a: |-\n    OLD\na: |-\n  OLD", "b:\n- a: |-\n    OLD\na: NEW"),
    ],
)
def test_a_scalar_changes_and_comments_quotes_and_line_ends_stay(text: str, edited: str) -> None:
    assert with_scalars(_filled(text), {A: NEW}) == _filled(edited)


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("a: &x OLD\n", "a: &x NEW\n"),
        ("a: &x\n  OLD\nb: 1\n", "a: &x NEW\nb: 1\n"),
        ("a: &x 'OLD'\nb: *x\n", "a: &x 'NEW'\nb: \"OLD\"\n"),
        ("b: &x OLD\na: *x # same\n", 'b: &x OLD\na: "NEW" # same\n'),
        ("b: &x OLD\na: &x OLD\nc: *x\n", 'b: &x OLD\na: &x NEW\nc: "OLD"\n'),
        ("&x OLD: 1\na: *x\n", '&x OLD: 1\na: "NEW"\n'),
        ("b: &x [OLD]\nc: *x\na: OLD\n", "b: &x [OLD]\nc: *x\na: NEW\n"),
    ],
)
def test_an_alias_is_written_out_where_one_of_the_two_changes(text: str, edited: str) -> None:
    assert with_scalars(_filled(text), {A: NEW}) == _filled(edited)


def test_an_alias_stays_where_both_change_alike() -> None:
    text = _filled("a: &x OLD\nb: *x\n")
    assert with_scalars(text, {A: NEW, B: NEW}) == _filled("a: &x NEW\nb: *x\n")


def test_what_an_alias_of_a_list_would_change_elsewhere_is_refused() -> None:
    text = _filled("b: &x [OLD]\na: *x\n")
    with pytest.raises(DocumentError, match="in one place only"):
        with_scalars(text, {("a", 0): NEW})


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
def test_a_byte_order_mark_and_its_encoding_stay(mark: bytes, encoding: str) -> None:
    text = f"b: é\na: {OLD} # ü\n"
    edited = with_scalars(mark + text.encode(encoding), {A: NEW})
    assert edited == mark + text.replace(OLD, NEW).encode(encoding)


@pytest.mark.parametrize(
    "new", ["", "1.10", "true", "a: b", "it's", "x #y", "\u00e9\u2028\U0001f600", "[::1]:80"]
)
@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_what_needs_quotes_gets_them(new: str, quote: str) -> None:
    edited = parse_document(with_scalars(_filled(f"[{quote}OLD{quote}, 1]"), {(0,): new}))
    assert isinstance(edited, list)
    assert edited[0] == new
    assert not isinstance(edited[0], Plain)


@pytest.mark.parametrize(
    "text", ["a: OLD\na: OLD\n", "a: !!str OLD\n", "<<: {}\na: OLD\n", "a: OLD\n---\n", "a: ["]
)
def test_what_is_read_with_suspicion_is_refused(text: str) -> None:
    with pytest.raises(DocumentError):
        with_scalars(_filled(text), {A: NEW})


def test_a_yaml_bomb_is_refused_before_anything_recurses() -> None:
    with pytest.raises(DocumentError, match="nested deeper"):
        with_scalars(b"a: " + b"[" * 100_000, {A: NEW})
    bomb = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 10))
    with pytest.raises(DocumentError, match=r"aliases|events"):
        with_scalars(f"l0: &l0 {'x' * 100_000}\n{bomb}a: {OLD}\n".encode(), {A: NEW})


texts = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xD7FF, exclude_categories=["Cc", "Cf", "Co"]),
    max_size=30,
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
trees = st.recursive(
    scalars,
    lambda nested: st.lists(nested, max_size=4) | st.dictionaries(texts, nested, max_size=4),
    max_leaves=12,
)


@given(
    before=trees,
    after=trees,
    style=st.sampled_from([None, "'", '"']),
    is_flow=st.sampled_from([None, True, False]),
    breaks=st.sampled_from(["\n", "\r\n"]),
)
def test_nothing_but_the_scalar_changes(
    before: object, after: object, style: str | None, is_flow: bool | None, breaks: str
) -> None:
    document = {"before": before, "list": [{"x": after, "a": OLD}, after], "z": before}
    content = yaml.safe_dump(
        document, default_style=style, default_flow_style=is_flow, allow_unicode=True, line_break=breaks
    ).encode()
    try:
        parse_document(content)
    except DocumentError:  # a null or number as a tag, two keys that are alike
        content = json.dumps(document, ensure_ascii=False).encode()
    assert with_scalars(content, {("list", 0, "a"): NEW}) == content.replace(OLD.encode(), NEW.encode())


@given(trees)
def test_no_change_is_no_change_of_a_byte(document: object) -> None:
    content = json.dumps(document, ensure_ascii=False).encode()
    assert with_scalars(content, {}) is content


def _filled(text: str) -> bytes:
    return text.replace("OLD", OLD).replace("NEW", NEW).encode()
