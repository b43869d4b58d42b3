"""What stands in the index of a classic repository: what upstream lists, if it is shown, and what is held."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from cachetools import LRUCache

from gateway.chart_names import Reached, compute
from gateway.helm.classic_index import Entry, Kept, Made, archive_name, bare_metadata, metadata_of_config
from gateway.helm.created import created_seconds, told_seconds
from gateway.helm.index_outline import Item
from gateway.helm.metadata import ChartMetadata, MetadataError
from gateway.helm.version import is_complete, parse_version, tag_of
from gateway.oci.digest import Digest
from gateway.oci.manifest import ManifestError, parse_manifest
from gateway.oci.media_types import OCI_MANIFEST
from gateway.oci.target import Target
from gateway.parts import Parts
from gateway.rules.freshness import counts
from gateway.rules.model import DigestMismatch, SourceName
from gateway.rules.route import Route, Routing
from gateway.store.blobs import read_whole
from gateway.store.held_charts import HeldChart, HeldCharts

_MAX_CONFIG_BYTES: Final = 1 << 20
_REMEMBERED: Final = 5_000
_CREATED: Final = "org.opencontainers.image.created"


@dataclass(frozen=True, slots=True)
class Listed:
    """A version of a chart, as the first target that has it: an index lists it, or it is held, or both.

    Of neither a registry has the tag, and nothing more is known. ``content`` is the index that has ``item``.
    """

    version: str
    route: Route
    item: Item | None = None
    content: bytes = b""
    held: HeldChart | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class ListedChart:
    """A chart's versions. ``until`` is when one that is too young now will be shown, in seconds since 1970.

    ``needs_tags``: not all of it can be told without a list of tags.
    """

    versions: Sequence[Listed]
    until: float
    needs_tags: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """What a target has: the items of its index, and what is held, by the tag that lists show."""

    route: Route
    content: bytes
    items: Sequence[Item]
    held: Mapping[str, HeldChart]
    made: Mapping[str, HeldChart]  # with dependencies rewritten, where the route does that
    has_index: bool


class Judge:
    """Decides what of the charts that were reached is listed, at one time."""

    def __init__(self, parts: Parts, reached: Reached, now: float) -> None:
        self._parts = parts
        self._reached = reached
        self._now = now

    def listed(
        self, routing: Routing, homes: Mapping[str, Target], tags: Mapping[str, str] | None = None
    ) -> ListedChart:
        """Judge a chart; ``tags`` are those that are shown, spelled plainly, and as upstream spells them.

        There are such where upstream was asked for them. ``homes`` says at which target a tag stays: not at
        the first that has it, where it was found elsewhere.
        """
        places = {tag_of(tag): target for tag, target in homes.items()}
        versions: list[Listed] = []
        taken: set[str] = set()
        until, needs_tags = inf, False
        for route in routing.routes:
            known = self._known(route)
            needs_tags = needs_tags or self._needs_tags(known)
            mine: set[str] = set()
            for listed, created in _candidates(known):
                tag = tag_of(listed.version)
                home = places.get(tag)
                if (home is None and tag in taken) or (home is not None and home != route.target):
                    continue
                mine.add(tag)
                if tags is not None:
                    shown_from = 0.0 if tag in tags else inf
                else:
                    shown_from = self._shown_from(route, listed, created)
                if shown_from <= self._now:
                    versions.append(listed)
                else:
                    until = min(until, shown_from)
            taken |= mine
        if tags is not None:
            versions += _only_tagged(routing, [tags[tag] for tag in sorted(tags.keys() - taken)])
        return ListedChart(versions, until, needs_tags and tags is None)

    def _known(self, route: Route) -> _Known:
        view = self._reached.index_at(route)
        rows = self._reached.held.get(str(route.target), ())
        if not self._parts.asks_nobody(route):
            order = {source.value: place for place, source in enumerate(route.chain)}
            mine = (row for row in rows if counts(row, route.chain))
            rows = sorted(mine, key=lambda row: order.get(row.source, len(order)))
        return _Known(
            route=route,
            content=b"" if view is None else view.whole.content,
            items=() if view is None else view.whole.outline.charts.get(route.target.chart, ()),
            held=_by_tag(rows, route.as_upstream.variant.value),
            made=_by_tag(rows, route.variant.value) if route.rewrites_dependencies else {},
            has_index=view is not None,
        )

    def _needs_tags(self, known: _Known) -> bool:
        """A registry lists tags, and no index; and of what an index does not date the lists know the age."""
        route = known.route
        if self._parts.asks_nobody(route):
            return False
        others = any(source is not SourceName.HELM for source in route.chain)
        if not known.items:
            is_from_others = any(row.source != SourceName.HELM for row in known.held.values())
            return others and (not known.has_index or is_from_others)
        if not route.policy.visibility.min_age_seconds:
            return False
        return any(
            created_seconds(item.created) is None and tag_of(item.version) not in known.held
            for item in known.items
        )

    def _shown_from(self, route: Route, listed: Listed, created: str | None) -> float:
        """Since when a version is shown, in seconds since 1970; what is held is never too young."""
        tag, policy = tag_of(listed.version), route.policy
        if tag in policy.channels or not policy.visibility.shows(tag):
            return inf
        least_seconds = policy.visibility.min_age_seconds
        if listed.held is not None or not least_seconds or self._parts.asks_nobody(route):
            return 0.0
        seconds = created_seconds(created)
        return inf if seconds is None else seconds + least_seconds


def _candidates(known: _Known) -> Iterator[tuple[Listed, str | None]]:
    """What a target has, in the order of its index, each with when it was created, as far as that says it."""
    listed: set[str] = set()
    texts: set[str] = set()
    for item in known.items:
        if item.version in texts:
            continue  # of two entries for one version a pull takes the first
        texts.add(item.version)
        tag = tag_of(item.version)
        listed.add(tag)
        held = known.held.get(tag)
        digest = _digest(known, held, item, tag)
        yield Listed(item.version, known.route, item, known.content, held, digest), item.created
    for tag, held in known.held.items():
        version = _version_of(held)
        if tag not in listed and parse_version(version) is not None:
            yield Listed(version, known.route, held=held, digest=_digest(known, held, None, tag)), None


def _only_tagged(routing: Routing, tags: Sequence[str]) -> Iterator[Listed]:
    """Versions of which nothing but the tag is known: of all tags of a registry those that never move."""
    for tag in tags:
        if is_complete(tag):
            yield Listed(tag.replace("_", "+"), routing.first)


def _digest(known: _Known, held: HeldChart | None, item: Item | None, tag: str) -> str | None:
    """The SHA-256 of the archive that a pull would give; None where that is not known."""
    route = known.route
    if route.rewrites_dependencies:
        made = known.made.get(tag)
        is_of_held = made is not None and held is not None and made.made_of == held.manifest
        return _bare(made) if is_of_held else None
    if held is not None:
        return _bare(held)
    if item is None or route.policy.digest_mismatch is DigestMismatch.WARN or _may_be_anothers(route):
        return None
    return item.digest


def _may_be_anothers(route: Route) -> bool:
    """Whether a registry is asked before the index's own archive: nobody says that these are the same."""
    return route.chain[0] is SourceName.REGISTRY and not route.is_registry_guessed


def _bare(held: HeldChart | None) -> str | None:
    algorithm, _, digits = ("" if held is None else held.archive).partition(":")
    return digits if algorithm == "sha256" else None


def _by_tag(rows: Sequence[HeldChart], variant: str) -> dict[str, HeldChart]:
    """Of several for one version the one from the source that is asked first.

    Where they are other archives, nobody says which: the clock does, when it is asked for.
    """
    found: dict[str, HeldChart] = {}
    for row in rows:
        if row.variant == variant:
            tag = tag_of(_version_of(row))
            first = found.setdefault(tag, row)
            if first.archive != row.archive:
                found[tag] = replace(first, archive="")
    return found


def _version_of(row: HeldChart) -> str:
    """A registry's tag has _ for the + that a version may have."""
    return row.version.replace("_", "+") if row.source == SourceName.REGISTRY else row.version


class HeldMetadata:
    """Reads Chart.yaml's fields out of the configs of held charts, and remembers them."""

    def __init__(self, parts: Parts, held: HeldCharts) -> None:
        self._blobs = parts.blobs
        self._held = held
        self._known: LRUCache[str, tuple[ChartMetadata, str | None]] = LRUCache(_REMEMBERED)

    async def of(self, rows: Sequence[HeldChart]) -> Mapping[str, tuple[ChartMetadata, str | None]]:
        """By manifest, each with when it was created; those that cannot be read are left out."""
        found = {row.manifest: self._known[row.manifest] for row in rows if row.manifest in self._known}
        missing = {row.manifest: row for row in rows if row.manifest not in found}
        manifests = await self._held.manifests(tuple(sorted(missing)))
        contents = {
            manifest: (await self._config(row), manifests.get(manifest, b""))
            for manifest, row in missing.items()
        }
        read = await compute(_read, contents)
        self._known.update(read)
        return found | read

    async def _config(self, row: HeldChart) -> bytes:
        digest = Digest.parse(row.config)
        size_bytes = await self._blobs.size(digest)
        if size_bytes is None or size_bytes > _MAX_CONFIG_BYTES:
            return b""
        return await read_whole(self._blobs, digest) or b""


def _read(contents: Mapping[str, tuple[bytes, bytes]]) -> dict[str, tuple[ChartMetadata, str | None]]:
    read: dict[str, tuple[ChartMetadata, str | None]] = {}
    for manifest, (config, content) in contents.items():
        with suppress(MetadataError):
            read[manifest] = (metadata_of_config(config), _created(content))
    return read


def _created(manifest: bytes) -> str | None:
    try:
        annotations = parse_manifest(manifest, OCI_MANIFEST).annotations
    except ManifestError:
        return None
    return None if told_seconds(annotations) is None else annotations[_CREATED]


def entries_of(
    chart: str, versions: Sequence[Listed], known: Mapping[str, tuple[ChartMetadata, str | None]]
) -> Iterator[Entry]:
    """A chart's entries; the URL of each is relative to its index."""
    for one in versions:
        url = archive_name(chart, one.version)
        if one.item is not None:
            yield Kept(one.content, one.item, url, one.digest)
            continue
        metadata, created = (None, None) if one.held is None else known.get(one.held.manifest, (None, None))
        if metadata is None:
            yield Made(bare_metadata(chart, one.version), url, one.digest, None)
        else:
            yield Made(replace(metadata, version=one.version), url, one.digest, created)
