"""Indexes as emitters write them, full of what looks like their own structure."""

from collections.abc import Callable, Mapping

import yaml
from hypothesis import strategies as st

from tests.helm.indexes import CHARTS

_WORDS = st.sampled_from(
    (
        *(
            "a",
            "it's",
            '"no"',
            "-",
            "- x",
            "#1",
            "[a]",
            "{b",
            "c}",
            "|",
            ">",
            "&",
            "*b",
            "key:",
            "x:y",
            "\\",
            "§",
        ),
        *(
            "'tis",
            "?",
            "a" * 30,
            "version: 9.9.9",
            "urls:",
            "\n",
            "\n    version: 9.9.9\n",
            "  - name: argo",
            "\n\n",
        ),
        *("\n  argo:\n  - version: 9.9.9\n", "entries:", "generated: x", " ", "\t", "'", '"', "---", "<<"),
    )
)
_TEXTS = st.lists(_WORDS, max_size=30).map(" ".join) | st.lists(_WORDS, max_size=8).map("".join)
_NAMES = st.sampled_from(("a", "artifacthub.io/changes", "version", "urls", "- x", "#"))
_SCALARS = _TEXTS | st.booleans() | st.integers() | st.none()
_NESTED = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=6,
)
_VERSIONS = st.sampled_from(
    ("1.0.0", "v1.2.3-rc.1", "1.10", "3", "latest", "1.0.0+b", "0.1.0-01", "1.0.0-0", 2, 1.5, "", None)
)
_DIGESTS = st.sampled_from(("", "0" * 64, "a" * 64, "A" * 64, "sha256:" + "b" * 64, "12", 12, None))
_TIMES = st.sampled_from(("2021-05-21T13:04:19.360025134Z", "", "then", 2021, None))
_URLS = st.lists(
    st.sampled_from(("a.tgz", "https://x.example/a%20b.tgz?c=d#e", "it's", "a:", "[a]")), min_size=1
)
_ENTRIES = st.fixed_dictionaries(
    {"name": st.sampled_from((*CHARTS, "3scale", "true")), "version": _VERSIONS},
    optional={
        "annotations": st.dictionaries(_NAMES, _NESTED, max_size=3),
        "apiVersion": st.just("v2"),
        "created": _TIMES,
        "description": _TEXTS,
        "digest": _DIGESTS,
        "keywords": st.lists(_SCALARS, max_size=3),
        "maintainers": st.lists(st.dictionaries(_NAMES, _SCALARS, max_size=2), max_size=2),
        "urls": _URLS,
        "x": _NESTED,
    },
)
_INDEXES = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "entries": st.dictionaries(
            st.sampled_from((*CHARTS, "3scale", "true")), st.lists(_ENTRIES, max_size=3), max_size=3
        ),
    },
    optional={"generated": _TIMES, "serverInfo": st.dictionaries(_NAMES, _NESTED, max_size=2)},
)


class _Indented(yaml.SafeDumper):
    """Writes sequences deeper than their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _literal(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """As Go writes texts of several lines."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


class _Literal(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


_Literal.add_representer(str, _literal)


@st.composite
def sound(draw: st.DrawFn) -> bytes:
    """An index that is one, in the style that is known, and any line in it twice or not at all."""
    index: Mapping[str, object] = draw(_INDEXES)
    dump: Callable[..., str] = yaml.dump
    text = dump(
        index,
        Dumper=draw(st.sampled_from((yaml.CSafeDumper, _Indented, _Literal))),
        default_flow_style=False,
        width=draw(st.sampled_from((40, 80, 1000))),
        indent=draw(st.sampled_from((2, 2, 4))),
        sort_keys=draw(st.booleans()),
        allow_unicode=draw(st.booleans()),
    )
    lines = text.split("\n")
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        place = draw(st.integers(0, len(lines)))
        lines[place:place] = draw(
            st.sampled_from(
                (("",), ("# it's",), ("      # x",), ("  - x",), ("    'x",), tuple(lines[place : place + 1]))
            )
        )
    end = draw(st.sampled_from(("\n", "\r\n")))
    return end.join(lines).encode()
