"""``sync`` of rules.yaml, list by list and entry by entry."""

from collections.abc import Iterator
from typing import Final

from gateway.rules.checks import place_of_key
from gateway.rules.keys import SYNC_CHART, SYNC_IMAGE, SYNC_LIST, SyncDraft
from gateway.rules.patterns import Pattern
from gateway.rules.problems import Report
from gateway.rules.rule_section import entry_path, items
from gateway.rules.section import Table, fold, join
from gateway.rules.sync_lists import SyncEntry, SyncList
from gateway.rules.tree import MappingNode, Node

MAX_LISTS: Final = 100
MAX_ENTRIES: Final = 10_000  # of all lists together
_EVERYTHING: Final = frozenset({"tags", "versions", "newest"})  # without any, an image would be all its tags
_UNSAID: Final = Pattern("", "", 0, {}, ())


def read_sync(node: Node, report: Report) -> tuple[SyncList, ...]:
    """Every list that can be read; what cannot be is reported."""
    lists: dict[str, SyncList] = {}
    room = MAX_ENTRIES
    for number, item in items(node, "sync", report, MAX_LISTS):
        found = _list(item, entry_path("sync", number), report)
        first = lists.setdefault(found.name, found)
        if found.name and first is not found:
            message = f"the list in line {first.place.line} has the same name"
            report.add(place_of_key(item, "name"), join(entry_path("sync", number), "name"), message)
        count = len(found.charts) + len(found.images)
        if room >= 0 > room - count:
            report.add(item.place, "sync", f"more than {MAX_ENTRIES} entries, in all lists together")
        room -= count
    return tuple(lists.values())


def _list(node: MappingNode, path: str, report: Report) -> SyncList:
    draft = fold(node, SyncDraft(), SYNC_LIST, path, report)
    said = {key.text for key, _ in node.entries}
    if "name" not in said:
        report.add(
            node.place, path, "it has no name", "a list is called something: `gateway sync NAME` needs it"
        )
    before = report.count
    charts = tuple(_entries(draft.charts, join(path, "charts"), SYNC_CHART, report))
    images = tuple(_entries(draft.images, join(path, "images"), SYNC_IMAGE, report))
    if not (charts or images) and report.count == before:
        report.add(node.place, path, "it lists nothing", "it needs `charts`, `images` or both")
    return SyncList(draft.name, draft.every_seconds, charts, images, node.place)


def _entries(node: Node, path: str, rows: Table[SyncEntry], report: Report) -> Iterator[SyncEntry]:
    for number, item in items(node, path, report, MAX_ENTRIES):
        its_path = entry_path(path, number)
        yield fold(item, SyncEntry(_UNSAID, place=item.place), rows, its_path, report)
        said = {key.text for key, _ in item.entries}
        if "repository" not in said:
            report.add(item.place, its_path, "it names no repository", 'such as repository: "argo/*"')
        if rows is SYNC_IMAGE and not said & _EVERYTHING:
            report.add(
                item.place,
                its_path,
                "it would be every tag of the image",
                "say which by `tags`, `versions` or `newest`",
            )
