"""Fuzz targets: what Helm repositories are made of: YAML, versions and ranges, times, the index."""

import re
from contextlib import suppress
from datetime import datetime

import yaml

from gateway.helm.created import created_at, created_seconds
from gateway.helm.document import DocumentError, DocumentLimits, Value, parse_document
from gateway.helm.index import ChartEntries, find_chart, find_versions
from gateway.helm.index_cut import NotQuick
from gateway.helm.index_whole import BrokenIndex, find_in_normalised, normalise_index
from gateway.helm.ranges import RangeError, newest_in, parse_range
from gateway.helm.version import is_complete, newest, parse_version, resolve, spellings, tag_of
from tests.fuzz.target import Target, parts_of, text_of

YAML_WORDS = (
    *("\n  ", "\n- ", ": ", "- ", "|\n", ">-\n", "'", '"', "&a ", "*a", "<<: ", "!!str ", "---\n", "# "),
    *("~", "{", "}", "[", "]", ", ", "\\u0041", "\r\n", "? "),
)
_NULLS = ("", "~", "null", "Null", "NULL", None)
_LIMITS = DocumentLimits(events=20_000)


def check_document(data: bytes) -> None:
    """YAML that is taken means what PyYAML says it means, all scalars text."""
    try:
        found = parse_document(data, _LIMITS)
    except DocumentError:
        return
    with suppress(yaml.composer.ComposerError):  # an anchor that stands twice is YAML, and not for PyYAML
        read = yaml.load(data, Loader=yaml.CBaseLoader)  # noqa: S506 (makes texts, lists and mappings alone)
        assert _as_texts(found) == _as_texts(read)


def _as_texts(value: Value) -> object:
    """Without what PyYAML's plainest loader does not tell: what is quoted, and so what means nothing."""
    if isinstance(value, dict):
        return {key: _as_texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(_as_texts, value))
    return None if value in _NULLS else value


def check_version(data: bytes) -> None:
    """Versions and ranges order, resolve and print without a contradiction."""
    text, other, range_text = map(text_of, parts_of(data, 3))
    version, another = parse_version(text), parse_version(other)
    if version is not None:
        assert text.isascii()
        assert parse_version(text.removeprefix("v")) == version
        assert resolve(tag_of(text), [text]) == 0
        assert tag_of(text) in [tag_of(spelling) for spelling in spellings(tag_of(text))]
        assert not is_complete(text) or text.count(".") >= 2
    if version is not None and another is not None:
        assert (version < another) + (version == another) + (version > another) == 1
        chosen = newest([text, other])
        assert (chosen is None) == (version.is_prerelease and another.is_prerelease)
    try:
        wanted = parse_range(range_text)
    except RangeError as error:
        assert len(str(error)) < 400
        return
    found = newest_in(wanted, [text, other])
    held = [one for one in (version, another) if one is not None and wanted.holds(one)]
    assert (found is None) == (not held)
    assert str(wanted) == range_text


_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})")


def check_created(data: bytes) -> None:
    """A time is printed so that it is the same when it is read again, and is the one that Python reads."""
    text = text_of(data)
    printed = created_at(text, "a", "1")
    assert _TIME.fullmatch(printed)
    if "+25:" not in printed and "-25:" not in printed:  # as Go prints +24:60, and would read it no more
        assert created_at(printed, "b", "2") == printed
    seconds = created_seconds(text)
    if seconds is None or len(text) > 35:
        return
    with suppress(ValueError):  # Python takes no 60 minutes, nor hours of one digit
        assert abs(datetime.fromisoformat(text).timestamp() - seconds) < 1e-3


def check_index(data: bytes) -> None:
    """The quick way gives what the whole parse gives, or passes."""
    try:
        normalised = normalise_index(data)
    except BrokenIndex:
        for chart in _CHARTS:
            with suppress(NotQuick):
                find_chart(data, chart)
        return
    for chart in _CHARTS:
        expected = find_in_normalised(normalised, chart)
        with suppress(NotQuick):
            assert find_chart(data, chart) == expected, chart
        with suppress(NotQuick):
            assert find_versions(data, chart, _VERSIONS) == _only(expected), chart


_CHARTS = ("argo", "argo-cd", "a", "absent", "x.y_z")
_VERSIONS = frozenset(("1.0.0", "v1.2.3", "2"))


def _only(entries: ChartEntries | None) -> ChartEntries | None:
    if entries is None:
        return None
    return ChartEntries(tuple(version for version in entries.versions if version.version in _VERSIONS))


_INDEX = b"""\
apiVersion: v1
entries:
  argo-cd:
  - name: argo-cd
    version: 1.0.0
    urls: [a.tgz]
    created: "2024-05-06T07:08:09Z"
  - version: 'v1.2.3'
    name: argo-cd
    description: |
      argo:
      - version: 2
  argo:
  - {name: argo, version: "2", urls: ["https://a.example/x.tgz"], digest: aa}
generated: "now"
"""

TARGETS = (
    Target(
        "document",
        check_document,
        [
            _INDEX,
            b"a: &x [1, ~]\nb: *x\n",
            b"\xff\xfea\0:\0 \0b\0",
            b"? a\n: b\n",
            b"'it''s'",
        ],
        YAML_WORDS,
        2048,
    ),
    Target(
        "version",
        check_version,
        [
            b"1.2.3-rc.1+b\0v1.2.3\0>=1.2 <2 || ~3, ^4.5",
            b"v01.2\x002\x001 - 2",
            b"1\0=1\0!=1.x",
            b"1.0.0\x001.0.0+a\x00*",
        ],
        [
            *(">=", "<=", "=>", "!=", "~>", "^", "||", " - ", "x", "*", "-rc.1", "+b", "v", ","),
            "18446744073709551616",
        ],
        600,
    ),
    Target(
        "created",
        check_created,
        [
            b"2024-05-06T07:08:09.123456789Z",
            b"0001-01-01T00:00:00Z",
            b"2024-02-29T7:08:09,5+24:60",
            b"0000-01-01T00:00:00-23:59",
        ],
        ["T", "Z", "+00:00", "-24:60", ".", ",", "0000", "9999"],
        64,
    ),
    Target(
        "index",
        check_index,
        [
            _INDEX,
            b'{"apiVersion": "v1", "entries": {"a": [{"name": "a", "version": "1"}, null, 3]}}',
            _INDEX.replace(b"\n", b"\r\n"),
        ],
        (
            *YAML_WORDS,
            *("entries:\n", "  argo-cd:\n", "  argo:\n", "- version: 1.0.0\n", "apiVersion: v1\n", "\x85"),
        ),
        2048,
    ),
)
