"""The catalog as the admin's desk shows it: found by name, tag or digest, down to what is in a chart."""

import binascii
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from anyio import to_thread

from gateway.catalog_artifact import ArtifactReader
from gateway.catalog_shown import ArtifactDetail, RepositoryDetail, RepositoryPage, TagShown
from gateway.chart_contents import ChartContents, ChartReader
from gateway.helm.version import Version, parse_version
from gateway.oci.errors import OciError, Situation
from gateway.oci.reference import is_tag, parse_reference
from gateway.oci.target import Target
from gateway.store.blobs import BlobStore
from gateway.store.catalog import Catalog
from gateway.store.catalog_found import NameKey, NamesFound, TagFound, TagKey
from gateway.store.catalog_search import CatalogSearch

SORTED_TAGS: Final = 5_000  # of more the database's own order is shown
_LONGEST: Final = 400
_IN_NAMES: Final = re.compile(r"[a-z0-9._/:-]{0,255}")
_IN_TAGS: Final = re.compile(r"[A-Za-z0-9._-]{0,128}")
_DIGEST: Final = re.compile(r"(sha256|sha512):([0-9a-f]{6,128})|([0-9a-f]{12,128})")
_NO_VERSION: Final = Version(0, 0, 0, (), "")


@dataclass(frozen=True, slots=True)
class _Sought:
    """What somebody typed: a text in names, a tag with it, or how a digest begins."""

    text: str = ""
    tag: str = ""
    digest: str = ""


class CatalogDesk:
    """``own_hosts`` are this gateway's own: somebody may paste a whole reference."""

    def __init__(
        self, catalog: Catalog, search: CatalogSearch, blobs: BlobStore, own_hosts: Collection[str]
    ) -> None:
        self._search = search
        self._own_hosts = own_hosts
        self._artifacts = ArtifactReader(catalog, search, blobs)
        self._charts = ChartReader(blobs)

    async def search(self, query: str, after: str = "", limit: int = 50) -> RepositoryPage:
        """Names by a part of them, by ``name:tag``, or by a digest or how it begins."""
        sought = self._read(query)
        place = _place(after, 2) if after else None
        if sought is None or (after and place is None):
            return RepositoryPage((), None)
        key = (place[0], place[1]) if place else None
        found = await self._find(sought, key, limit)
        return RepositoryPage(found.names, None if found.resume is None else _cursor(found.resume))

    async def repository(
        self, name: str, after: str = "", limit: int = 50, query: str = ""
    ) -> RepositoryDetail:
        """A page of the tags held of a name; ``query`` is a part of them. Raise NAME_NOT_KNOWN."""
        targets = await self._targets(name)
        text = query.strip().replace("+", "_")
        place = _place(after, 3) if after else None
        if not _IN_TAGS.fullmatch(text) or (after and place is None):
            return RepositoryDetail(name, targets, (), None, is_newest_first=True)
        last = (place[0], place[1], place[2]) if place else None
        keys = await self._search.tag_keys(targets, text, None, SORTED_TAGS + 1)
        is_newest_first = len(keys) <= SORTED_TAGS
        if is_newest_first:
            keys = await to_thread.run_sync(_newest_first, keys, last, limit + 1)
        else:
            keys = await self._search.tag_keys(targets, text, last, limit + 1)
        found = await self._search.tags(keys[:limit])
        following = _cursor(keys[limit - 1]) if len(keys) > limit else None
        return RepositoryDetail(
            name, targets, [_tag_shown(one) for one in found], following, is_newest_first=is_newest_first
        )

    async def tag(self, name: str, reference: str, target: str = "", variant: str = "") -> ArtifactDetail:
        """What is held of a tag or a digest; of several targets the first that has it, unless one is given.

        Raise NAME_NOT_KNOWN, MANIFEST_NOT_KNOWN.
        """
        targets = await self._targets(name)
        asked = [one for one in targets if not target or str(one) == target]
        try:
            found = await self._artifacts.find(asked, parse_reference(reference), variant)
        except OciError:  # nothing can be called that
            found = None
        if found is None:
            message = f"nothing is held of {name} by {reference[:140]!r}"
            raise OciError(Situation.MANIFEST_NOT_KNOWN, message)
        return await self._artifacts.describe(name, targets, found)

    async def chart(self, artifact: ArtifactDetail) -> ChartContents | None:
        """What is in a chart; None of what is none."""
        if artifact.chart_layer is None or artifact.config is None:
            return None
        contents = await self._charts.of_layer(artifact.chart_layer)
        if contents is not None:
            return contents
        return await self._charts.of_config(artifact.config.digest, artifact.config.size_bytes)

    async def _targets(self, name: str) -> Sequence[Target]:
        targets = await self._search.targets_of(name) if _IN_NAMES.fullmatch(name) else []
        if not targets:
            raise OciError(Situation.NAME_NOT_KNOWN, f"nothing was pulled by the name {name[:255]!r} yet")
        return targets

    async def _find(self, sought: _Sought, after: NameKey | None, limit: int) -> NamesFound:
        if sought.digest:
            return await self._search.names_by_digest(sought.digest, after, limit)
        if sought.tag:
            return await self._search.names_with_tag(sought.text, sought.tag, after, limit)
        return await self._search.names_with(sought.text, after, limit)

    def _read(self, query: str) -> _Sought | None:
        """None for what can be in no name."""
        text = query.strip().removeprefix("oci://")
        if len(text) > _LONGEST:
            return None
        host, slash, path = text.partition("/")
        if slash and host.lower() in self._own_hosts:
            text = path
        name, at, digest = text.rpartition("@")
        if match := _DIGEST.fullmatch(digest.lower() if at else text.lower()):
            return _Sought(digest=f"{match[1] or 'sha256'}:{match[2] or match[3]}")
        name, colon, tag = text.rpartition(":")
        if colon and name and is_tag(tag.replace("+", "_")) and "/" not in tag:
            return _sought(name, tag.replace("+", "_"))
        return _sought(text, "")


def _sought(name: str, tag: str) -> _Sought | None:
    return _Sought(name.lower(), tag) if _IN_NAMES.fullmatch(name.lower()) else None


def _newest_first(keys: Sequence[TagKey], last: TagKey | None, limit: int) -> list[TagKey]:
    """By version, downwards, what is no version at the end; those that come after ``last``."""
    ordered = sorted(((_rank(key), key) for key in keys), reverse=True)
    if last is not None:
        before = _rank(last)
        ordered = [one for one in ordered if one[0] < before]
    return [key for _, key in ordered[:limit]]


def _rank(key: TagKey) -> tuple[bool, Version, str, TagKey]:
    version = parse_version(key[2].replace("_", "+"))
    return (version is not None, version or _NO_VERSION, key[2], key)


def _tag_shown(found: TagFound) -> TagShown:
    row = found.row
    return TagShown(
        tag=row.tag,
        target=row.target,
        variant=row.variant,
        digest=row.digest,
        seen_digest=row.seen_digest,
        source=row.source,
        version=row.version,
        kept_at=row.kept_at,
        confirmed_at=row.confirmed_at,
        size_bytes=found.size_bytes,
        is_pinned=found.is_pinned,
        last_pull_at=found.last_pull_at,
    )


def _cursor(key: NameKey | TagKey) -> str:
    return urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _place(cursor: str, count: int) -> list[str] | None:
    """What a cursor stands for; None for one that we never gave, after which there is nothing."""
    try:
        place = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(place, list) or len(place) != count:
        return None
    if not all(isinstance(part, str) and part.isascii() and part.isprintable() for part in place):
        return None
    return place
