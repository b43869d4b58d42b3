"""Rules files as people write them, in every style, with comments and room where they like them."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

_VALUES = st.sampled_from(
    (
        '"a/*"',
        "'~team-([a-z]+)/(.+)'",
        "charts.example.com/$1",
        "plain words",
        '">=1 <3"',
        '"# no comment"',
        "[a, b]",
    )
)
_KEYS = st.lists(
    st.sampled_from(("name", "host", "repository", "rewrite", "versions")), min_size=1, unique=True
)
_COMMENTS = st.lists(st.sampled_from(("# about it", "#", "# - name: old", "# enabled: false")), max_size=2)
_GAPS = st.sampled_from(((), ("",), ("", ""), ("", "# --- section ---", "")))


@dataclass(frozen=True, slots=True)
class Written:
    """A file, and how many rules it has."""

    text: str
    count: int


@st.composite
def rules_files(draw: st.DrawFn) -> Written:
    """``rules`` as a list behind dashes or in brackets, somewhere among other keys."""
    count = draw(st.integers(1, 4))
    lines = ["version: 1", *draw(st.sampled_from(([], ["", "# the rules"], ["defaults: {drift: keep}"])))]
    lines += draw(st.sampled_from((_behind_dashes, _in_brackets)))(draw, count)
    lines += draw(st.sampled_from(([], ["", "# the end"], ["tests: []"], ["", "tests:", "  - {ask: a/b}"])))
    line_break = draw(st.sampled_from(("\n", "\r\n")))
    text = line_break.join(lines) + draw(st.sampled_from(("", line_break)))
    return Written(draw(st.sampled_from(("", "\ufeff"))) + text, count)


def _behind_dashes(draw: st.DrawFn, count: int) -> Sequence[str]:
    indent = " " * draw(st.sampled_from((0, 2, 4)))
    lines = ["rules:" + draw(st.sampled_from(("", "  # top to bottom")))]
    for number in range(count):
        lines += draw(_GAPS) if number else ()
        lines += [indent + comment for comment in draw(_COMMENTS)]
        lines += [indent + line for line in draw(st.sampled_from((_block, _flow_behind_dash, _far)))(draw)]
    return lines


def _block(draw: st.DrawFn) -> Sequence[str]:
    first, *others = _pairs(draw)
    below = draw(
        st.sampled_from(
            ([], ["  # deny: later"], ["  tags:", "    allow: [x]"], ["  deny: |-", "    no", "    way"])
        )
    )
    return [f"- {first}", *(f"  {line}" for line in others), *below]


def _far(draw: st.DrawFn) -> Sequence[str]:
    """The keys in lines of their own, further in than they need."""
    return ["-", *(f"     {line}" for line in _pairs(draw))]


def _flow_behind_dash(draw: st.DrawFn) -> Sequence[str]:
    return [f"- {_flow(draw)}" + draw(st.sampled_from(("", "  # as it is")))]


def _in_brackets(draw: st.DrawFn, count: int) -> Sequence[str]:
    rules = [_flow(draw) for _ in range(count)]
    if draw(st.booleans()):
        return [f"rules: [{', '.join(rules)}]"]
    lines = ["rules: ["]
    for number, rule in enumerate(rules, start=1):
        lines += ["  # above"] * draw(st.integers(0, 1))
        lines.append(f"  {rule}{',' if number < count else ''}")
    return [*lines, "]"]


def _flow(draw: st.DrawFn) -> str:
    return f"{{{', '.join(_pairs(draw))}}}"


def _pairs(draw: st.DrawFn) -> Sequence[str]:
    return [f"{key}: {draw(_VALUES)}" for key in draw(_KEYS)]
