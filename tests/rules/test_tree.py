"""YAML under limits: hostile text gives a place and a message, never a crash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.tree import (
    MAX_ALIASES,
    MAX_DEPTH,
    MAX_NODES,
    MAX_SIZE_BYTES,
    MappingNode,
    Place,
    ScalarNode,
    SequenceNode,
    TreeError,
    parse_tree,
)


def error_of(text: str | bytes) -> TreeError | None:
    try:
        parse_tree(text)
    except TreeError as error:
        return error
    return None


def refusal(text: str | bytes) -> TreeError:
    error = error_of(text)
    assert error is not None
    return error


def test_everything_knows_its_place() -> None:
    tree = parse_tree('é: "x"\nlist:\n  - 1\n  - {a: ~}\n')
    assert isinstance(tree, MappingNode)
    (first, quoted), (second, items) = tree.entries
    assert (first.place, second.place) == (Place(1, 1), Place(2, 1))
    assert quoted == ScalarNode(Place(1, 4), "x", is_plain=False)
    assert isinstance(items, SequenceNode)
    assert items.items[0] == ScalarNode(Place(3, 5), "1", is_plain=True)
    assert isinstance(items.items[1], MappingNode)
    value = items.items[1].entries[0][1]
    assert isinstance(value, ScalarNode)
    assert value.is_null


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "~", b"\xef\xbb\xbf", "\ufeff"])
def test_nothing_is_a_null(text: str | bytes) -> None:
    node = parse_tree(text)
    assert isinstance(node, ScalarNode)
    assert node.is_null


def test_a_quoted_empty_text_is_no_null() -> None:
    assert parse_tree('""') == ScalarNode(Place(1, 1), "", is_plain=False)


def test_a_mark_that_a_merge_left_is_told_with_its_line() -> None:
    error = refusal("a:\n<<<<<<< yours\n  - b\n=======\n  - c\n>>>>>>> saved meanwhile\n")
    assert error.place == Place(2, 1)
    assert "<<<<<<<" in error.message
    assert error.hint is not None


@pytest.mark.parametrize("pattern", ["**", "*/x", "*foo"])
def test_an_unquoted_star_is_told_to_be_quoted(pattern: str) -> None:
    error = refusal(f"a: 1\nb: {pattern}\n")
    assert error.place.line == 2
    assert error.hint is not None
    assert "quotes" in error.hint


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [\n", Place(2, 1)),
        ("a: b: c", Place(1, 5)),
        ("a: 1\n---\nb: 2\n", Place(2, 1)),
        ("a: !!python/object:os.system x", Place(1, 4)),
        ("a: !x {b: 1}", Place(1, 4)),
        ("a: &x {b: 1}\nc: {<<: *x}\n", Place(2, 5)),
        ("? [a]\n: b", Place(1, 3)),
        ("a: 1\né: \x00", Place(2, 4)),
        (b"a: 1\nb: \xff", Place(2, 4)),
        ("a: 1\nb: \ud800", Place(2, 4)),
        ("a: 1".encode("utf-16"), Place(1, 1)),
    ],
)
def test_what_is_not_read_is_told_with_its_place(text: str | bytes, place: Place) -> None:
    assert refusal(text).place == place


def test_every_character_of_yaml_is_read_and_no_other() -> None:
    ranges = [(0x20, 0x7E), (0xA0, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF)]
    readable = "".join(chr(code) for first, last in ranges for code in range(first, last + 1))
    node = parse_tree("'" + readable.replace("'", "").translate({0x2028: None, 0x2029: None}) + "'")
    assert isinstance(node, ScalarNode)
    assert len(node.text) == len(readable) - 3
    for code in [*range(9), 0xB, 0xC, *range(0xE, 0x20), 0x7F, 0x84, 0x86, 0x9F, 0xD800, 0xDFFF, 0xFFFE]:
        assert f"U+{code:04X}" in refusal(f"a: {chr(code)}").message


@pytest.mark.parametrize("text", ["[" * 60_000, "{a: " * 50_000, "- " * 60_000, "[" * 30_000 + "]" * 30_000])
def test_hostile_nesting_is_refused_early(text: str) -> None:
    assert str(MAX_DEPTH) in refusal(text).message


def test_nesting_is_read_up_to_the_limit() -> None:
    parse_tree("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert refusal("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)).place == Place(1, MAX_DEPTH + 1)


def test_an_alias_stands_for_what_was_anchored() -> None:
    tree = parse_tree("a: &x [1]\nb: *x\nc: &y 2\nd: *y\n")
    assert isinstance(tree, MappingNode)
    values = [value for _, value in tree.entries]
    assert values[0] is values[1]
    assert values[2] is values[3]


def test_aliases_are_counted() -> None:
    parse_tree("a: &x 1\nb: [" + "*x, " * MAX_ALIASES + "]")
    assert "aliases" in refusal("a: &x 1\nb: [" + "*x, " * (MAX_ALIASES + 1) + "]").message


def test_a_recursive_alias_has_no_anchor_yet() -> None:
    assert "anchor" in refusal("a: &x [*x]").message


def test_a_bomb_of_aliases_weighs_what_it_stands_for() -> None:
    lines = ["a0: &a0 [" + "x, " * 10 + "]"]
    lines += [f"a{n}: &a{n} [" + f"*a{n - 1}, " * 10 + "]" for n in range(1, 9)]
    assert str(MAX_NODES) in refusal("\n".join(lines)).message


def test_ten_megabytes_are_the_limit() -> None:
    assert "larger" in refusal(b"#" * (MAX_SIZE_BYTES + 1)).message
    parse_tree("#" * MAX_SIZE_BYTES)


@given(st.text("ab: -[]{}&*!|>'\"#%@,?\n\t~<1", max_size=60) | st.text(max_size=40))
def test_any_text_is_a_tree_or_a_tree_error(text: str) -> None:
    refused = error_of(text)
    assert refused is None or refused.place >= Place(1, 1)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_tree_or_a_tree_error(content: bytes) -> None:
    refused = error_of(content)
    assert refused is None or refused.message
