"""What an outline and what is written after it have to agree on with a whole parse."""

import json
from collections.abc import Mapping, Sequence

from gateway.helm.classic_index import Kept, archive_name, write_index
from gateway.helm.document import Value, parse_document
from gateway.helm.index import read_entries
from gateway.helm.index_outline import Outline
from gateway.helm.index_whole import find_in_normalised, normalise_index

DIGEST = "5" * 64


def kept(content: bytes, found: Outline) -> Mapping[str, Sequence[Kept]]:
    """Every entry, its archive said to be here."""
    return {
        chart: [Kept(content, item, archive_name(chart, item.version), DIGEST) for item in items]
        for chart, items in found.charts.items()
    }


def assert_outlined(content: bytes, found: Outline) -> None:
    """The outline has the charts, and of each the entries, that a whole parse finds."""
    normalised = normalise_index(content)
    lines = normalised.decode().splitlines()[1:]
    assert list(found.charts) == [json.loads(line.partition("\t")[0]) for line in lines]
    for chart, items in found.charts.items():
        entries = find_in_normalised(normalised, chart)
        assert entries is not None
        assert [(item.name, item.version, item.digest, item.created) for item in items] == [
            (entry.name, entry.version, entry.digest, entry.created) for entry in entries.versions
        ]


def assert_rewritten(content: bytes, found: Outline) -> None:
    """What is written has the same entries but for their URLs and digests, and those are ours."""
    written = parse_document(write_index(kept(content, found), found.generated))
    before, after = entries_of(parse_document(content)), entries_of(written)
    assert set(after) == {chart for chart, items in found.charts.items() if items}
    for chart, entries in after.items():
        assert [without(entry) for entry in entries] == [without(entry) for entry in taken(before[chart])]
        for entry in entries:
            assert entry["urls"] == [archive_name(chart, str(entry["version"]))]
            assert entry["digest"] == DIGEST


def entries_of(index: Value) -> Mapping[str, Sequence[Mapping[str, Value]]]:
    """Each chart's entries as mappings; what is none is left out."""
    assert isinstance(index, dict)
    charts = index["entries"]
    if charts is None:
        return {}
    assert isinstance(charts, dict)
    return {
        chart: [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        for chart, entries in charts.items()
    }


def taken(entries: Sequence[Mapping[str, Value]]) -> Sequence[Mapping[str, Value]]:
    """Those that Helm takes."""
    return [entry for entry in entries if read_entries([dict(entry)]).versions]


def without(entry: Mapping[str, Value]) -> Mapping[str, Value]:
    return {key: value for key, value in entry.items() if key not in ("urls", "digest")}
