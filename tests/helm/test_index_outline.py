"""Where an index's entries stand, found by a grammar that takes nothing for an entry which is none."""

import pytest

from gateway.helm.index_cut import NotQuick
from gateway.helm.index_outline import MOST_CHARTS, MOST_ENTRIES, Item, TooMany, outline
from tests.fakes.index_maker import make_index
from tests.helm.outlines import assert_outlined, assert_rewritten

pytestmark = pytest.mark.slow

_HEAD = "apiVersion: v1\nentries:\n"
_ENTRY = """\
  - apiVersion: v2
    created: "2024-05-06T07:08:09.123456789Z"
    digest: 5555555555555555555555555555555555555555555555555555555555555555
    name: argo
    urls:
    - https://charts.example/argo-1.0.0.tgz
    version: 1.0.0
"""
_INDEX = f"{_HEAD}  argo:\n{_ENTRY}"


def items_of(text: str) -> list[Item]:
    """Outline a text, and hold it to what a whole parse says."""
    content = text.encode()
    found = outline(content)
    assert_outlined(content, found)
    assert_rewritten(content, found)
    return [item for items in found.charts.values() for item in items]


def with_member(member: str) -> str:
    return _INDEX.replace("    name: argo\n", f"    {member}\n    name: argo\n")


def test_an_item_says_where_its_lines_its_digest_and_its_urls_stand() -> None:
    (item,) = items_of(_INDEX)
    assert _INDEX[item.start : item.end] == _ENTRY
    assert (item.indent, item.column) == (2, 4)
    assert (item.name, item.version, item.digest) == ("argo", "1.0.0", "5" * 64)
    assert item.created == "2024-05-06T07:08:09.123456789Z"
    assert item.digest_at is not None
    assert item.urls_at is not None
    assert _INDEX[slice(*item.digest_at)] == "5" * 64
    assert _INDEX[slice(*item.urls_at)] == "https://charts.example/argo-1.0.0.tgz"
    assert _INDEX[: item.version_end].endswith("version: 1.0.0")


def test_an_index_as_helm_writes_it_has_an_outline() -> None:
    assert len(items_of(make_index(charts=2, size_bytes=5_000).decode())) == 6


@pytest.mark.parametrize(
    "member",
    [
        "description: it's said [so] \"here\"\n      and 'here\n\n      # and here",
        "description: 'it''s\n\n      {here'",
        'description: "so: \\" \\\n      {here" # it\'s',
        "description: |\n      version: 9.9.9\n\n       urls:",
        "description: >-\n\n      it's",
        "description: |+\n      x\n",
        'annotations:\n      artifacthub.io/changes: |\n        - it\'s\n        - [so\n      b: "c"',
        "annotations: # it's\n      a: 'b'\n      'c d': \"e\n        f\"\n      \"g\":\n        h: [i, 'j']",
        "dependencies:\n    - version: |\n        'x\n      name: 'y'\n    - # it's\n      a: b",
        "keywords:\n    - it's\n    - 'x' # x\n    - |\n      'x\n    - [a, \"b\"]\n    - - x\"\n      - 'y'",
        "keywords:\n      - x\n      # it's\n\n      - -x'y\n      - '>=1'",
        "keywords: [a, 'b]', \"c\"]",
        "maintainers: {a: 'b'} # x",
        "maintainers: []",
        "sources:\n    - x\n      'y' z",
        "sources:",
        "sources: # it's\n    - x",
        "home: null\n# it's\n\n  # x",
        "x: <<",
    ],
)
def test_any_other_member_may_be_full_of_quotes_and_brackets(member: str) -> None:
    (item,) = items_of(with_member(member))
    assert (item.version, item.created) == ("1.0.0", "2024-05-06T07:08:09.123456789Z")


@pytest.mark.parametrize(
    "member",
    [
        "description: 'it\n    version: 9.9.9\n    '",
        'description: "it\n  argo-cd:\n  - version: 9.9.9"',
        "keywords: [a,\n    version: 9.9.9]",
        "keywords:\n    - x\n      'y\n      z",
        "annotations:\n      a b: 'c\n        d'",
        "annotations:\n      'a\n      b': c",
        "annotations: &a\n      b: c",
        "annotations: {a: &a b}",
        "annotations: !!map {a: b}",
        "annotations: *a",
        'annotations:\n      a: !!str "b\n        c"',
        "<<: {a: b}",
        "'description': x",
        "description : x",
        "? description\n    : x",
        "keywords:\n\t- 'x",
        "\tdescription: x",
        "description:\t'x'",
    ],
)
def test_what_could_hide_an_entry_or_be_pointed_to_is_not_quick(member: str) -> None:
    with pytest.raises(NotQuick):
        outline(with_member(member).encode())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  argo:\n", "  argo: {}\n"),
        ("  argo:\n", "  argo:\n  - null\n"),
        ("  argo:\n", "  - argo:\n"),
        ("  argo:\n", "  argo: [x]\n"),
        ("  argo:\n", "  'argo cd':\n"),
        ("  - ", "  -     "),
        ("  - apiVersion", "  - {}\n  - apiVersion"),
        ("    urls:\n", "    urls: # x\n"),
        ("https://", "'https://\n      "),
        ("1.0.0\n", "1.0.0\n    .1\n"),
        ("1.0.0\n", "1.0.0\n     x: y\n"),
        ("1.0.0\n", "&a 1.0.0\n"),
        ('"2024', '"\\x32024'),
        ("apiVersion: v1\n", ""),
        ("apiVersion: v1\n", "apiVersion: 'v1\n  '\n"),
        ("apiVersion: v1\n", "%YAML 1.1\n---\napiVersion: v1\n"),
        ("entries:\n", "entries: # x\n  - argo\n"),
        ("entries:\n", "entries: &a\n"),
        ("entries:\n", "'entries':\n"),
        ("1.0.0\n", "1.0.0\n...\n"),
        ("1.0.0\n", "1.0.0\n---\na: b\n"),
        ("1.0.0\n", "1.0.0\nentries:\n"),
        ("1.0.0\n", f"1.0.0\n  argo:\n{_ENTRY}"),
        ("1.0.0\n", f"1.0.0\n   argo-cd:\n{_ENTRY}"),
        ("v2\n", "v2\r"),
        ("v2\n", "v2 \u2028\n"),
        ("v2\n", "v2 \x85\n"),
        ("v2\n", "v2 \ufeff\n"),
    ],
)
def test_another_style_is_not_quick(before: str, after: str) -> None:
    assert before in _INDEX
    with pytest.raises(NotQuick):
        outline(_INDEX.replace(before, after, 1).encode())


def test_an_entry_too_long_for_one_stride_is_not_quick() -> None:
    for filling in ("      x\n", "      # x\n", "\n"):
        with pytest.raises(NotQuick):
            outline(with_member("description: |\n      x\n" + filling * 300_000).encode())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("apiVersion: v1\n", "\ufeff# it's\n\n---\napiVersion: 'v1'\n# x\nserverInfo: {}\n"),
        ("apiVersion: v1\n", "annotations:\n  a: 'b'\n- x\napiVersion: v1\n".replace("- x\n", "")),
        ("1.0.0\n", "1.0.0\n\n# x\ngenerated: 2024-05-06T07:08:09Z\nserverInfo:\n- 'a'\n"),
        ("1.0.0\n", "1.0.0"),
        ("1.0.0\n", "1.0.0\n  "),
        ("  argo:\n", "\n# it's\n  argo: # x\n\n"),
        ("  argo:\n", '  "argo":\n'),
        ("  argo:\n", "  argo-cd: []\n  b:\n  argo:\n"),
    ],
)
def test_what_is_around_the_entries_may_vary(before: str, after: str) -> None:
    assert before in _INDEX
    (item,) = items_of(_INDEX.replace(before, after, 1))
    assert item.version == "1.0.0"


@pytest.mark.parametrize(
    "text",
    [
        _INDEX.replace("\n", "\r\n"),
        _INDEX.replace("\n  ", "\n "),
        _INDEX.replace("\n  ", "\n    "),
        _INDEX.replace(_ENTRY, "  " + _ENTRY.replace("\n", "\n  ").rstrip(" ")),
        _INDEX.replace("  - ", "  -   ", 1).replace("\n    ", "\n      "),
    ],
)
def test_lines_may_end_and_begin_elsewhere(text: str) -> None:
    (item,) = items_of(text)
    assert item.version == "1.0.0"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("version: 1.0.0", "version: '1.0.0-rc.1+b' # x", "1.0.0-rc.1+b"),
        ("version: 1.0.0", 'version: "1"', "1"),
        ("version: 1.0.0", "version: v1.2", "v1.2"),
        ("digest: 5", "digest: sha256:5", "1.0.0"),
        ("digest: " + "5" * 64, 'digest: ""', "1.0.0"),
        ("    digest: " + "5" * 64 + "\n", "", "1.0.0"),
        ('created: "2024-05-06T07:08:09.123456789Z"', "created: then", "1.0.0"),
        ("    urls:\n    - https://charts.example/argo-1.0.0.tgz\n", "", "1.0.0"),
        ("urls:\n    - https://charts.example/argo-1.0.0.tgz", 'urls: ["a", b] # x', "1.0.0"),
        ("    - https", "      - 'b: c' # x\n      - https", "1.0.0"),
        ("name: argo", "name: other", "1.0.0"),
        ("    name: argo", "    description: x\n    name: 'argo'", "1.0.0"),
        ("  - apiVersion: v2\n    created:", "  - created:", "1.0.0"),
        ("    version: 1.0.0\n", "    x: y", None),
        ("version: 1.0.0", "version: 1.0", None),
        ("version: 1.0.0", "version: latest", None),
        ("version: 1.0.0", "version: 1.0.0-01", None),
        ("version: 1.0.0", "version: 1.0.0-01\n    # x\n    x: y", None),
        ("name: argo", "name: 1.5", None),
        ("name: argo", "title: argo", None),
        ("name: argo\n", "x: y\n    version: 1.0.0-01\n    name: argo\n    urls: []\n", None),
    ],
)
def test_an_entry_is_taken_where_helm_takes_it(before: str, after: str, expected: str | None) -> None:
    text = _INDEX.replace(before, after, 1)
    assert before in _INDEX
    if text.count("urls:") == 2:
        text = text[: text.index("    urls:\n")]
    assert [item.version for item in items_of(text)] == ([] if expected is None else [expected])


def test_members_may_stand_in_any_order() -> None:
    """The quickest way knows sorted keys alone."""
    first, *members = _ENTRY.splitlines(keepends=True)
    text = _HEAD + "  argo:\n" + first + "".join(members[-1:] + members[:-1])
    (item,) = items_of(text)
    assert (item.name, item.version, item.digest) == ("argo", "1.0.0", "5" * 64)
    text = text.replace("1.0.0\n    created", "1.0.0-01\n    created")
    assert items_of(text) == []


@pytest.mark.parametrize("member", ["created", "digest"])
def test_a_member_may_stand_behind_all_others(member: str) -> None:
    lines = _ENTRY.splitlines(keepends=True)
    moved = next(line for line in lines if line.strip().startswith(member))
    (item,) = items_of(_HEAD + "  argo:\n" + "".join(line for line in lines if line != moved) + moved)
    assert (item.digest, item.created) == ("5" * 64, "2024-05-06T07:08:09.123456789Z")


def test_a_chart_may_be_called_true_or_3scale() -> None:
    assert items_of(_INDEX.replace("argo\n", "true\n").replace("  argo:", "  true:")) == []
    (item,) = items_of(_INDEX.replace("argo\n", "3scale\n").replace("  argo:", "  3scale:"))
    assert item.name == "3scale"


def test_an_entry_that_does_not_parse_alone_is_not_quick() -> None:
    broken = with_member("x: y\n      z: w").replace("version: 1.0.0", "version: 1")
    with pytest.raises(NotQuick):
        outline(broken.encode())


@pytest.mark.parametrize(
    "entries", ["entries: {}\n", "entries:\n", "entries:\n\n  # x\n", "entries:\n  argo: []\n"]
)
def test_an_index_may_be_without_entries(entries: str) -> None:
    assert items_of("apiVersion: v1\n" + entries + "generated: now\n") == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('generated: "2024-05-06T07:08:09Z"\n', "2024-05-06T07:08:09Z"),
        ("generated: 2024-05-06T07:08:09Z # x\n", "2024-05-06T07:08:09Z"),
        ("generated: now\n", None),
        ("annotations:\n  x: |\n    generated: 2024-05-06T07:08:09Z\n", None),
    ],
)
def test_when_it_was_generated_may_stand_before_or_after(line: str, expected: str | None) -> None:
    assert outline((_INDEX + line).encode()).generated == expected
    assert outline((line + _INDEX).encode()).generated == expected


@pytest.mark.parametrize("member", ["home: so: not", "home: not:", "home: \x07", "home: \x00", "home: \x7f"])
def test_what_no_reader_takes_has_no_outline(member: str) -> None:
    with pytest.raises(NotQuick):
        outline(with_member(member).encode())
    with pytest.raises(NotQuick):
        outline(with_member("home: so").encode().replace(b"home: so", b"home: \xff"))


def test_a_colon_in_a_comment_or_a_word_is_no_key() -> None:
    assert len(items_of(with_member("home: so:not #so: not"))) == 1
    assert len(items_of(with_member("home: so#not # so: not"))) == 1


def test_an_index_of_more_entries_than_anybody_has_is_too_much() -> None:
    many = "".join(f"  - name: argo\n    version: 1.0.{number}\n" for number in range(MOST_ENTRIES + 1))
    with pytest.raises(TooMany):
        outline(f"{_HEAD}  argo:\n{many}".encode())
    charts = "".join(f"  c{number}: []\n" for number in range(MOST_CHARTS + 1))
    with pytest.raises(TooMany):
        outline(f"{_HEAD}{charts}".encode())


def test_many_bytes_that_would_be_parsed_alone_are_left_to_a_child() -> None:
    entry = f"  - name: argo\n    version: 1.0.0\n    created: then\n    home: {'x' * 200_000}\n"
    with pytest.raises(NotQuick, match="parsed alone"):
        outline(f"{_HEAD}  argo:\n{entry * 50}".encode())
