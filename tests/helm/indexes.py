"""Indexes in every style, honest and hostile: the quick way and the whole parse must agree on them."""

import json
from collections.abc import Callable

import yaml
from hypothesis import strategies as st

CHARTS = ("argo", "argo-cd", "argo-cd-apps", "cd", "x.y_z")

# What looks like the structure around it, for scalars and comments to be full of.
_FRAGMENTS = """\
  argo-cd:¦  argo:¦    argo-cd:¦ argo-cd:¦argo-cd:¦  cd:¦  argo-cd: # x¦  argo-cd: []
  - version: 9.9.9¦  - name: argo¦    version: 9.9.9¦- version: 9.9.9¦  -¦-¦    urls:¦entries:
apiVersion: v1¦generated: now¦annotations:¦a:¦  a: b¦---¦...¦%YAML 1.1¦# it's¦  # "¦#
      # argo-cd:¦x # '¦text¦  text¦    text¦      text¦it's¦    it's so¦say "no"¦  ''¦''¦  a: ''¦\\
  \\¦key: value¦    key: |¦    key: >-¦    key: 'a¦    key: "a¦  key: '¦    'a': b¦  "a": 'b'¦, '
a, 'b¦a, "b¦]¦}¦[¦{¦  {¦  [a, 'b¦  }¦  ]¦a: {¦? a¦  ? argo-cd¦  : b¦: b¦  &a argo-cd:¦  argo-cd: &a
  - &a¦  - *a¦  *a : b¦  <<: *a¦  !!str argo-cd:¦  'argo-cd':¦  "argo-cd":¦  argo-cd :¦  argo-cd:x¦|
    |¦>¦  key: |2
"""
_ODD_FRAGMENTS = (
    "\targo:",
    "  - ",
    "",
    "  ",
    "    ",
    "\t",
    "  \t",
    "  \u2028  argo-cd:",
    "\x85  argo-cd:",
    "\ufeff argo-cd:",
    "\xe9's",
    "\r  argo-cd:",
    "\u2026",
    "\xa9",
)
_LINES = st.sampled_from((*_FRAGMENTS.replace("\n", "¦").split("¦")[:-1], *_ODD_FRAGMENTS))

# A whole chart, and what ends it: were it not prose, it would be served.
_CHARTS_IN_PROSE = st.builds(
    "{1}{0}:\n{1}- version: 9.9.9\n{1}  name: {0}\n{2}".format,
    st.sampled_from(CHARTS),
    st.sampled_from((" ", "  ", "  ", "  ", "    ")),
    st.sampled_from(("  cd:", " x", "  - y", "  # z", "", "generated: x", "  'a': b")),
)
_HOSTILE = st.lists(_LINES | _CHARTS_IN_PROSE, max_size=5).map(
    lambda parts: "\n".join(parts).split("\n") if parts else []
)
_VERSIONS = st.sampled_from(
    (
        "1.0.0",
        "v1.2.3-rc.1",
        '"1.10"',
        "1.10",
        "3",
        "'2'",
        "latest",
        "",
        "~",
        "[1]",
        "1.0.0+b",
        '"1.0.0" # x',
        '"1.0.\\x30"',
        '"1.0.\\\n      0"',
        "&a 1.0.0",
        "*a",
        "|-\n      1.0.0",
    )
)


def _quoted(lines: list[str], quote: str) -> list[str]:
    """A scalar whose lines begin in any column; what would close it is escaped, or taken out."""
    escaped = [line.replace("\\", "").replace(quote, "''" if quote == "'" else '\\"') for line in lines]
    markers = ("---", "...", "%")
    inner = [f" {line}" if line.startswith(markers) else line for line in escaped]
    return [quote, *(line.replace("\t", " ") for line in inner)]


@st.composite
def _scalars(draw: st.DrawFn) -> list[str]:
    """A value, its first line to stand after ``key: ``; the others begin in any column that is allowed."""
    lines = draw(_HOSTILE)
    match draw(st.integers(0, 7)):
        case 0 | 1:
            return _closed(
                _quoted(lines, '"'), draw(st.sampled_from(('"', '" # x', '\n"', '\n      "', '\n    it"')))
            )
        case 2 | 3:
            return _closed(
                _quoted(lines, "'"), draw(st.sampled_from(("'", "' # x", "\n'", "\n      '", "\n    it'")))
            )
        case 4:
            indent = " " * draw(st.integers(5, 7))
            return [
                draw(st.sampled_from(("|", ">-", "|+", "| # it's"))),
                *(f"{indent}{line}" for line in lines),
            ]
        case 5:
            return [
                "it's",
                *(f"      {line}" for line in draw(st.lists(st.sampled_from(_PROSE), max_size=3))),
            ]
        case 6:
            return [
                "{a: [",
                *draw(st.lists(st.sampled_from(_FLOW), max_size=4)),
                draw(st.sampled_from(("", "  ", "    "))) + "]}",
            ]
        case _:
            return [
                draw(
                    st.sampled_from(
                        ("plain", '"a: b"', "'it''s'", '"\\"', "''", '""', "a #b", "&a b", "*a", "a, 'b")
                    )
                )
            ]


_PROSE = ("don't", 'say "no"', "a, 'b' c", "- 'x", "text", "a #'", "\"x' y", "'")
_FLOW = (
    "a,",
    "  'argo-cd': b,",
    "'it''s',",
    '"a',
    '  b",',
    "  argo-cd: b,",
    "argo-cd:",
    "  - a",
    "  argo-cd: ,",
    "a, 'b',",
    "\"a\":'b',",
    "# '",
)


def _closed(lines: list[str], end: str) -> list[str]:
    return [*lines[:-1], lines[-1] + end]


@st.composite
def _blocks(draw: st.DrawFn, name: str, indent: int) -> list[str]:
    """One chart: mostly a sound one, in the plain style, with a hostile description somewhere inside."""
    pad = " " * indent
    key = draw(
        st.sampled_from(
            (f"{name}:",) * 40
            + (f"'{name}':", f"{name} :", f"{name}: # it's", f"{name}: ", f"? {name}\n{pad}:")
        )
    )
    if draw(st.integers(0, 15)) == 15:
        return [
            f"{pad}{name}: {draw(st.sampled_from(('[]', '~', '', '{}', '*a', '[{version: 1.0.0}]', 'text')))}"
        ]
    lines = [f"{pad}{key}"]
    step = " " * draw(st.sampled_from((0, 0, 0, 2)))
    for _ in range(draw(st.integers(1, 2))):
        lines += _entry(draw, pad + step, name)
        lines += draw(
            st.sampled_from(
                ((),) * 6 + (("",), ("# it's",), ("  # x",), (f"{pad}-",), (f"{pad}- ",), (f"{pad}- null",))
            )
        )
    return lines


def _entry(draw: st.DrawFn, pad: str, name: str) -> list[str]:
    first, *more = draw(_scalars())
    fields = [
        [f"name: {name}"],
        [f"version: {draw(_VERSIONS)}"],
        [f"description: {first}", *more],
        ["urls: [a.tgz]"],
    ]
    members = draw(st.permutations(fields))
    lines: list[str] = []
    for number, (head, *tail) in enumerate(members):
        lines += [f"{pad}{'  ' if number else '- '}{head}", *tail]
    return lines


@st.composite
def glued(draw: st.DrawFn) -> bytes:
    """Text glued from fragments: in the plain style for the most part, and hostile in places."""
    indent = draw(st.sampled_from((1, 2, 2, 2, 4)))
    head = draw(
        st.sampled_from(
            (("apiVersion: v1",),) * 30 + ((), ("---", "apiVersion: v1"), ("apiVersion: 'v1'", "# it's"))
        )
    )
    lines = [*head, draw(st.sampled_from(("entries:",) * 30 + ("entries: # x", '"entries":', "entries: &a")))]
    names = draw(st.permutations((*CHARTS, "argo")))
    for name in names[: draw(st.integers(1, 4))]:
        lines += draw(_blocks(name, indent))
    if draw(st.booleans()):
        first, *more = draw(_scalars())
        lines += [
            draw(
                st.sampled_from(
                    ("generated: ", "annotations:\n  argo-cd: ", "annotations:\n  argo-cd:\n  - ")
                )
            )
            + first,
            *more,
        ]
    for _ in range(draw(st.sampled_from((0, 0, 0, 0, 1, 2)))):
        lines.insert(draw(st.integers(0, len(lines))), draw(_LINES))
    return _encoded(draw, "\n".join(lines))


def _encoded(draw: st.DrawFn, text: str) -> bytes:
    bom = draw(st.sampled_from(("", "", "", "\ufeff")))
    end = draw(st.sampled_from(("\n", "\n", "", "\n\n  ", "\n# it's")))
    content = f"{bom}{text}{end}".encode()
    return content.replace(b"\n", b"\r\n") if draw(st.integers(0, 5)) == 0 else content


_TEXTS = st.one_of(
    st.text(max_size=12),
    st.lists(_LINES, max_size=8).map("\n".join),
    st.lists(st.sampled_from(("it's", "a", "argo-cd:", '"no"', "- x", "yes,", "#1")), max_size=60).map(
        " ".join
    ),
)
_ENTRIES = st.fixed_dictionaries(
    {
        "name": st.sampled_from(CHARTS),
        "version": st.sampled_from(("1.0.0", "v2", "1.10", "latest", 3, 1.1, None)),
    },
    optional={
        "annotations": st.dictionaries(_TEXTS, _TEXTS, max_size=2),
        "created": st.just("2021-05-21T13:04:19.360025134Z"),
        "description": _TEXTS,
        "digest": st.sampled_from(("", "A" * 64, "sha256:" + "0" * 64, "12")),
        "urls": st.lists(_TEXTS, max_size=2) | st.none() | st.just("a.tgz"),
    },
)
_INDEXES = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "entries": st.dictionaries(
            st.sampled_from(CHARTS),
            st.lists(_ENTRIES | st.none(), min_size=1, max_size=3),
            min_size=1,
            max_size=5,
        ),
    },
    optional={
        "generated": _TEXTS,
        "annotations": st.dictionaries(st.sampled_from(CHARTS), _TEXTS, max_size=2),
    },
)


@st.composite
def emitted(draw: st.DrawFn) -> bytes:
    """Text by real emitters: PyYAML's two, under their options, and JSON."""
    index = draw(_INDEXES)
    if draw(st.integers(0, 19)) == 19:
        return json.dumps(index, indent=draw(st.sampled_from((None, 2)))).encode()
    dumper: Callable[..., str] = yaml.dump
    return _encoded(
        draw,
        dumper(
            index,
            Dumper=draw(st.sampled_from((yaml.SafeDumper, yaml.CSafeDumper))),
            default_style=draw(st.sampled_from((None,) * 12 + ("'", '"', "|", ">"))),
            default_flow_style=draw(st.sampled_from((False, False, False, False, None))),
            width=draw(st.sampled_from((20, 80, 1000))),
            indent=draw(st.sampled_from((2, 4))),
            sort_keys=draw(st.booleans()),
            allow_unicode=draw(st.booleans()),
            explicit_start=draw(st.booleans()),
            line_break="\n",
        ),
    )
