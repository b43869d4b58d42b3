"""The lines of an index.yaml in the style of most emitters, as patterns that prove what they match.

The proof, for a file that parses as a whole:

- every line begins outside of quotes and flow collections, for what opens one closes it on its own line, or
  is the quoted value of a key and goes on deeper than the members around it. A line without a quote, a
  bracket or the sign of a block scalar opens nothing;
- the further lines of plain and block scalars lie deeper, too. So what stands in the column of an entry's
  members is one of its members, or a sequence that is the value of the one above.

Nothing is tried twice: whether a line is known is decided once, in time linear in its length. No group that
captures stands inside, and groups are repeated as ``(?>(?:…)*)`` rather than ``(?:…)*+``: on both, Python
before 3.11.5 loses its place (gh-106052).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MOST_INDENT: Final = 8  # of charts and their entries
_MOST_GAP: Final = 3  # between an entry's dash and its first key
TIME: Final = rb"[0-9]{4}-[0-9TZ:.+-]++"
DIGEST: Final = rb"[0-9a-f]{64}"
VERSION: Final = rb"v?+[0-9]++\.[0-9]++\.[0-9]++(?:[-+][0-9A-Za-z.+-]*+)?"  # no number has two dots

_NESTED_COLUMNS: Final = 8  # so much deeper than an entry's members may keys of block scalars stand
_BLANK: Final = rb" *+(?>(?:#[^\n]*+)?)\r?+\n"
_END: Final = rb"(?>(?:[ \t]++(?>(?:#[^\n]*+)?))?)\r?+\n"
_QUOTED: Final = rb"(?:\"(?>(?:[^\"\\\n]++|\\[^\n])*)\"|'(?>(?:[^'\n]++|'')*)')"
_KEY: Final = rb"[A-Za-z0-9_./][A-Za-z0-9_./+-]*+"
_NESTED_KEY: Final = rb"(?:%b|%b)" % (_KEY, _QUOTED)
_IN_FLOW: Final = rb"(?>(?:[^\[\]{}\"'#\n]++|%b)*)" % _QUOTED
_FLOW: Final = rb"(?:\[%b\]|\{%b\})" % (_IN_FLOW, _IN_FLOW)
_PLAIN: Final = rb"(?:[^\s\"'\[\]{}|>#&*!%@`,?:-]|[?:-](?=\S))"  # what a plain scalar begins with
_CONTINUED: Final = rb"(?:[^\s\"'\[{|>#&*!?:-]|[?:-](?=\S))"  # what a further line of one may, too
_TEXT: Final = rb"(?>(?:[^:\n]++|:(?!\s))*)\n"  # no key is in it, so no value begins in it
_UNTIL_COMMENT: Final = rb"(?>(?:[^:#\n]++|:(?!\s)|(?<=\S)#)*)(?>(?:#[^\n]*+)?)\n"  # a key in it is an error
_SIGN: Final = rb"[|>][-+0-9]*+"
_WORD: Final = rb"(?:\"[^\"\\\n]*+\"|'[^'\n]*+'|[A-Za-z0-9][A-Za-z0-9_.:+-]*+(?<!:))"
_URL: Final = rb"(?:%b|(?![?:-])%b[^\s\"'\[\]{}]*+(?<!:))" % (_QUOTED, _PLAIN)
_READ: Final = rb"(?:name|version|digest|created|urls):"
_CHART: Final = rb"[A-Za-z0-9_][A-Za-z0-9_.-]*+"


@dataclass(frozen=True, slots=True)
class EntryGrammar:
    """What proves the lines of an entry, its dash and its keys in two columns, and what then reads them.

    ``usual`` reads entries with sorted keys and values that YAML takes for texts, but for names such as
    ``true``: its groups are these values without quotes, ``…_at`` with them. ``member`` reads each member
    that is of interest: its key, and its value with quotes. Of ``urls`` the value goes from the first to the
    last, or is the whole ``[…]``. Both begin with the line break before the entry.
    """

    indent: int
    column: int
    entry: re.Pattern[bytes]
    usual: re.Pattern[bytes]
    member: re.Pattern[bytes]


@lru_cache(maxsize=(MOST_INDENT + 1) * _MOST_GAP)
def entry_grammar(indent: int, column: int) -> EntryGrammar:
    begin = rb"\n {%d}[ -] {%d}" % (indent, column - indent - 1)
    urls = rb"(?:%b|%b(?>(?:%b {%d} *+- ++%b)*))" % (_FLOW, _URL, _END, column, _URL)
    to_urls = rb"(?: ++(?=\[)| *+\r?+\n {%d} *+- ++(?!\[))" % column
    read = rb"(?:(?:name|version|digest|created): ++%b|urls:%b%b)%b" % (_WORD, to_urls, urls, _END)
    member = rb"(?:%b|(?!%b)%b)" % (read, _READ, _other_member(column))
    return EntryGrammar(
        indent,
        column,
        re.compile(
            rb" {%d}-(?>(?:(?:(?<=\n) {%d}|(?<=\n {%d}-) {%d})%b|%b)+)"
            % (indent, column, indent, column - indent - 1, member, _BLANK)
        ),
        _usual(begin, to_urls + rb"(?P<urls>%b)" % urls),
        re.compile(
            begin
            + rb"(name|version|digest|created|urls):(?:(?<!urls:) ++|(?<=urls:)%b)(%b|%b)"
            % (to_urls, urls, _WORD)
        ),
    )


def _usual(begin: bytes, urls: bytes) -> re.Pattern[bytes]:
    others = rb"(?>(?:(?!%b%b)\n[^\n]*+)*)" % (begin, _READ)
    key = others + begin
    value = rb": ++(?P<%b_at>(?P<%b_quote>[\"']?)(?P<%b>%b)(?P=%b_quote))(?!\S)[^\n]*+"
    created, digest, name, version = (
        key + name + value % (name, name, name, pattern, name)
        for name, pattern in (
            (b"created", TIME),
            (b"digest", DIGEST),
            (b"name", rb"[A-Za-z][A-Za-z0-9_.-]*+"),
            (b"version", VERSION),
        )
    )
    urls = key + rb"urls:%b[^\n]*+" % urls
    return re.compile(rb"(?:%b)?(?:%b)?%b%b%b%b\Z" % (created, digest, name, urls, version, others))


@lru_cache(maxsize=MOST_INDENT + 1)
def chart_line(indent: int) -> re.Pattern[bytes]:
    """Match the line of a chart's key; ``dash`` and ``gap`` are the blanks around its first dash, if any."""
    return re.compile(
        rb" {%d}(?P<quote>[\"']?)(?P<name>%b)(?P=quote):(?>(?: ++\[\])?)%b(?>(?:%b)*)"
        % (indent, _CHART, _END, _BLANK)
        + rb"(?=(?P<dash> {%d,%d})-(?P<gap> {1,%d}+)(?! ))?" % (indent, MOST_INDENT, _MOST_GAP)
    )


def _other_member(column: int) -> bytes:
    """Match a member from its key on, whatever it is, with all the lines of its value."""
    quoted = _quoted(column + 1)
    nested = _nested_lines(column, quoted)
    values = (
        rb"%b%b%b" % (_PLAIN, _UNTIL_COMMENT, _deeper(column + 1)),
        quoted + _END,
        _FLOW + _END,
        _SIGN + _END + _deeper(column + 1),
    )
    return rb"%b:(?: ++(?:%b)|(?: ++#[^\n]*+| *+\r?+)\n%b)" % (_KEY, b"|".join(values), nested)


def _deeper(column: int) -> bytes:
    return rb"(?>(?: {%d}[^\n]*+\n| *+\r?+\n)*)" % column


def _quoted(column: int) -> bytes:
    """Match a quoted scalar whose further lines begin in ``column`` or deeper."""
    line_break = rb"\n(?= {%d}| *+\r?+\n)" % column
    return rb"(?:\"(?>(?:[^\"\\\n]++|\\[^\n]|\\?+%b)*)\"|'(?>(?:[^'\n]++|''|%b)*)')" % ((line_break,) * 2)


def _nested_lines(column: int, quoted: bytes) -> bytes:
    """Match all lines that lie deeper than ``column``, and the items of a sequence in it."""
    values = (rb"%b[^\n]*+\n" % _PLAIN, quoted + _END, _FLOW + _END, rb"#[^\n]*+\n")
    lines = (
        rb"[^\"'\[{|>\n]*+\n",
        rb" *+(?>(?:- ++)*)%b:(?: ++(?:%b)| *+\r?+\n)" % (_NESTED_KEY, b"|".join(values)),
        # What has no key may also be a further line of a plain scalar: both readings end outside of quotes.
        rb" *+(?>(?:- ++)*)(?:%b|%b|%b)%b" % (_CONTINUED, _QUOTED, _FLOW, _TEXT),
        rb" *+(?>(?:- ++)*)#[^\n]*+\n",
    )
    scalars = (_block_scalars(column, deeper) for deeper in range(column, column + _NESTED_COLUMNS))
    return rb"(?>(?:(?= {%d}(?: |-[ \r\n]))(?:%b|%b)|%b)*)" % (
        column,
        b"|".join(lines),
        b"|".join(scalars),
        _BLANK,
    )


def _block_scalars(column: int, deeper: int) -> bytes:
    """Match block scalars whose key or dash stands in the column ``deeper``, with their lines."""
    scalar = rb"%b%b%b" % (_SIGN, _END, _deeper(deeper + 1))
    of_item_key = rb"- %b: ++%b%b%b" % (_KEY, _SIGN, _END, _deeper(deeper + 3))
    of_key = rb"|%b: ++%b" % (_KEY, scalar) if deeper > column else b""
    return rb" {%d}(?:%b|- %b%b)" % (deeper, of_item_key, scalar, of_key)


_TOP: Final = rb"(?>(?:(?!entries:)%b(?>(?:%b)*))*)" % (_other_member(0), _BLANK)
HEAD = re.compile(
    rb"(?>(?:\xef\xbb\xbf)?)(?>(?:%b)*)(?>(?:--- *+\r?+\n(?>(?:%b)*))?)"
    rb"%bentries:(?>(?: ++\{\})?)%b(?>(?:%b)*)" % (_BLANK, _BLANK, _TOP, _END, _BLANK)
)
TAIL = re.compile(_TOP)
FIRST_CHART = re.compile(rb"( {1,%d}+)(?! )" % MOST_INDENT)
API_VERSION = re.compile(rb"^apiVersion: ++(?:v[0-9]++|\"v[0-9]++\"|'v[0-9]++')%b" % _END, re.MULTILINE)
GENERATED = re.compile(rb"^generated: ++[\"']?([0-9][0-9TZ:.+-]++)[\"']?%b" % _END, re.MULTILINE)
