"""A line inside a quoted scalar is never called outside; most lines outside are."""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.helm.index_quotes import is_outside_quotes

pytestmark = pytest.mark.slow

_PARTS = st.sampled_from(
    (
        "a",
        "b",
        "it",
        "'",
        '"',
        "''",
        '\\"',
        '"a"',
        "'b'",
        "[",
        "]",
        "{",
        "}",
        ",",
        ",",
        ":",
        "a:",
        "key:",
        "-",
        "?",
        "#",
        "|",
        ">",
        "|-",
        "|2",
        "&a",
        "*a",
        "!t",
        "%",
        "@",
        "`",
        "/",
        "(",
        ")",
        ".",
        "~",
        "-",
        "---",
        "...",
        "<",
        "+",
        "s'",
        "\\",
        "é",
    )
)
_INDENTS = st.sampled_from(("", "", " ", "  ", "    ", "      ", "\t"))
_LINES = st.builds(lambda indent, parts: indent + " ".join(parts), _INDENTS, st.lists(_PARTS, max_size=4))
_OPENING = st.sampled_from(
    ("a:", 'a: "', "a: '", '- "', "a: |", "a: [", "- {", 'x: "foo', "- 'a", "a: 'it''s", 'a: {b: "c')
)
_CLOSING = st.sampled_from(('"', "'", "  '", '  "', "']}", '"]', "}", "]", "", "  b: c", '"}'))
_TEXTS = st.builds(
    lambda first, lines, last: "\n".join([first, *lines, last, ""]),
    _OPENING,
    st.lists(_LINES, max_size=6),
    _CLOSING,
)


def lines_inside_quotes(content: bytes) -> set[int]:
    """Return the lines that begin inside a quoted scalar, by number, as libyaml reads them, if it can."""
    try:
        for _ in yaml.parse(content, Loader=yaml.CLoader):
            pass
    except yaml.YAMLError:
        return set()
    quoted = [
        token
        for token in yaml.scan(content, Loader=yaml.CLoader)
        if isinstance(token, yaml.ScalarToken) and token.style in ("'", '"')
    ]
    return {line for token in quoted for line in range(token.start_mark.line + 1, token.end_mark.line + 1)}


def line_starts(content: bytes) -> list[int]:
    return [0, *(place + 1 for place, byte in enumerate(content) if byte == ord("\n"))]


def require_no_line_inside_is_called_outside(content: bytes) -> None:
    starts = line_starts(content)
    for line in lines_inside_quotes(content):
        assert not is_outside_quotes(content, starts[line]), line


@settings(deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
@given(_TEXTS)
def test_a_line_inside_quotes_is_never_called_outside(text: str) -> None:
    require_no_line_inside_is_called_outside(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        'a: "x\n  argo:\n  "\n',
        "a: 'x\n  argo:\n  '\n",
        "a: 'it''s\n  argo:\n  '\n",
        'a: "\\"x\n  argo:\n  "\n',
        'a: "x\\\n  argo:\n  "\n',
        '- a: |\n    b: \'x\n  c: "\n  argo:\n  "\n',  # a quote in a block scalar opens nothing
        "- a: |\n    b: x\n  c: '\n  argo:\n  '\n",
        "- |\n  b: 'x\n- c: \"it's\n  argo:\n  \"\n",
        "a: [\n  x, 'y\n  argo:\n  ']\n",
        "a: {\n  b: 'y\n  argo:\n  '}\n",
        "a: {\n  b c: 'y\n  argo:\n  '}\n",
        'a: {\n  [b]:"y\n  argo:\n  "}\n',
        "a: ['x\n  k: ', 'z\n  argo:\n  ']\n",  # the first quote closes, in a flow sequence
        "a: [x, 'y\n  argo:\n  ']\n",
        'a: {"b":"c\n  argo:\n  "}\n',
        "a: {b, ? 'c\n  argo:\n  '}\n",
        "&a 'x\n  argo:\n  '\n",
        "- - 'x\n  argo:\n  '\n",
        "? 'x\n  argo:\n  '\n: b\n",
        "a:\n  'x\n  argo:\n  '\n",
        'a: # "\n  "x\n  argo:\n  "\n',
        "a: b\nc: '\n\n\n  argo:\n\n  '\n",
        "a: '" + "\n  x" * 50 + "\n  argo:\n  '\n",
        'a: "\r\n  argo:\r\n  "\r\n',
    ],
)
def test_a_key_in_prose_is_not_called_outside(text: str) -> None:
    content = text.encode()
    assert lines_inside_quotes(content)
    require_no_line_inside_is_called_outside(content)
    assert not is_outside_quotes(content, content.index(b"  argo:"))


@pytest.mark.parametrize(
    "before",
    [
        "",
        "a: b\n",
        'created: "2021-05-21T13:04:19Z"\n',
        "kubeVersion: '>=1.25.0-0'\n",
        "description: Let's encrypt, or don't (it's fine)\n",
        'description: say "no", it is\n  free\n',
        'artifacthub.io/changes: "- kind: fixed\\n  description: it\'s \\"it\\"\\n"\n',
        'annotations:\n  a: |\n    - it\'s\n    - "it"\ncreated: "2021"\nversion: \'1.0\'\n',
        "- 'a'\n- \"b\" # it's\n",
        "description: 'it: wrapped\n\n  '\nversion: 1.0.0\n",
        "# it's a comment\n",
        "annotations:\n  changes: |\n    - \"[Fixed]: Can't login\"\n    - \"[Added]: 'a', 'b'\"\nurls: []\n",
        "changes: |\n" + '  - "[Fixed]: Can\'t login"\n' * 30,
        "a: ~\nb: |\n  it's\n  # \"\nc: '1'\nd: \"2\"\n",
        "a: \"it's\"\r\nb: '\"'\r\n",
    ],
)
def test_a_line_after_what_emitters_write_is_proven_outside(before: str) -> None:
    content = f"{before}argo:\n- a\n".encode()
    assert is_outside_quotes(content, len(before.encode()))
