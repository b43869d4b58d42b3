"""The catalog as pages: search, a repository, a tag with its commands, its chart, its manifest, its parts."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from anyio import CapacityLimiter, to_thread
from cachetools import LRUCache
from markupsafe import Markup, escape
from starlette.responses import Response

from gateway.catalog_desk import CatalogDesk
from gateway.catalog_shown import ArtifactDetail, ArtifactKind
from gateway.chart_contents import ChartContents
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.store.catalog_search import COUNTED_TAGS
from gateway.web.admin.catalog_commands import Front, helm_show, snippets
from gateway.web.admin.pages import Drawer, Page, Visit, with_query
from gateway.web.admin.readme import Readme, render

SHOWN_BYTES: Final = 64 * 1024  # of a text on a page, which has 100 kB
_PRETTY_BYTES: Final = 256 * 1024
_LEADS_OUT = re.compile(r"(?:https?://|mailto:)[!-~]+", re.IGNORECASE)
_CHART_VIEWS: Final = {
    "": "Overview",
    "values": "Values",
    "readme": "README",
    "manifest": "Manifest",
    "layers": "Layers",
}
_VIEWS: Final = {"": "Overview", "manifest": "Manifest", "layers": "Layers"}


class Numbers(Protocol):
    """What is held, in numbers."""

    @property
    def repositories(self) -> int: ...

    @property
    def tags(self) -> int: ...

    @property
    def blob_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ShownText:
    """As much of a text as a page takes, whole lines."""

    text: str
    is_cut: bool


@dataclass(frozen=True, slots=True)
class CatalogPages:
    """``numbers`` are counted now and then; ``front`` is where clients pull from."""

    catalog: CatalogDesk
    numbers: Callable[[], Awaitable[Numbers]]
    front: Front
    drawer: Drawer
    _readmes: LRUCache[Digest, Readme] = field(default_factory=lambda: LRUCache(32))
    _threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))

    def pages(self) -> list[Page]:
        return [
            Page("/catalog", self._search),
            Page("/catalog/repository", self._repository),
            Page("/catalog/tag", self._tag),
        ]

    async def _search(self, visit: Visit) -> Response:
        query, after = visit.query("query").strip()[:400], visit.query("after")
        found = await self.catalog.search(query, after)
        return self.drawer.page(
            "catalog.html",
            visit,
            query=query,
            found=found,
            after=after,
            numbers=await self.numbers(),
            counted=COUNTED_TAGS,
            next=with_query("/admin/catalog", query=query, after=found.next) if found.next else "",
        )

    async def _repository(self, visit: Visit) -> Response:
        name, query, after = visit.query("name"), visit.query("query").strip()[:128], visit.query("after")
        found = await self.catalog.repository(name, after, query=query)
        path = "/admin/catalog/repository"
        return self.drawer.page(
            "catalog_repository.html",
            visit,
            found=found,
            query=query,
            after=after,
            first=with_query(path, name=name, query=query),
            next=with_query(path, name=name, query=query, after=found.next) if found.next else "",
        )

    async def _tag(self, visit: Visit) -> Response:
        view = visit.query("view")
        artifact = await self.catalog.tag(
            visit.query("name"), visit.query("reference"), visit.query("target"), visit.query("variant")
        )
        is_chart = artifact.kind is ArtifactKind.CHART
        views = _CHART_VIEWS if is_chart else _VIEWS
        if view not in views:
            raise OciError(Situation.RESOURCE_NOT_KNOWN, f"an artifact like this has no page {view[:40]!r}")
        contents = await self.catalog.chart(artifact) if view in ("", "values", "readme") else None
        return self.drawer.page(
            "catalog_tag.html",
            visit,
            artifact=artifact,
            view=view,
            views=views,
            chart=contents,
            snippets=snippets(artifact, self.front) if view == "" else (),
            show=helm_show(view, artifact, self.front) if view in ("values", "readme") else "",
            text=await self._text(view, artifact, contents),
            readme=await self._readme(artifact, contents) if view == "readme" else None,
            outward=outward,
            asked=_asked(artifact, view),
        )

    async def _text(
        self, view: str, artifact: ArtifactDetail, contents: ChartContents | None
    ) -> ShownText | None:
        """What a view shows as it is; None where there is nothing."""
        if view == "manifest":
            return await to_thread.run_sync(_manifest_text, artifact.manifest.content)
        if view != "values" or contents is None or contents.values is None:
            return None
        shown = shown_text(contents.values.text)
        return ShownText(shown.text, shown.is_cut or contents.values.is_cut)

    async def _readme(self, artifact: ArtifactDetail, contents: ChartContents | None) -> Readme | None:
        """One at a time, in a thread: Markdown of strangers may take a second."""
        layer = artifact.chart_layer
        if layer is None or contents is None or contents.readme is None:
            return None
        known = self._readmes.get(layer)
        if known is None:
            known = await to_thread.run_sync(render, contents.readme.text, limiter=self._threads)
            self._readmes[layer] = known
        return Readme(Markup(known.html), known.is_cut or contents.readme.is_cut)  # noqa: S704 (render cleans it)


def shown_text(text: str) -> ShownText:
    """As many lines as fit, the way that they are written in HTML."""
    left = SHOWN_BYTES
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        left -= len(escape(line).encode())
        if left < 0:
            return ShownText("".join(lines), is_cut=True)
        lines.append(line)
    return ShownText(text, is_cut=False)


def outward(url: str) -> str:
    """An address that leads out of here, or nothing: a chart may name any."""
    return url if len(url) <= 2_000 and _LEADS_OUT.fullmatch(url) else ""


def _manifest_text(content: bytes) -> ShownText:
    text = content.decode(errors="replace")
    if len(content) <= _PRETTY_BYTES:
        text = json.dumps(json.loads(content), indent=2, ensure_ascii=False)
    return shown_text(text)


def _asked(artifact: ArtifactDetail, view: str) -> Mapping[str, str]:
    """What leads back to this page."""
    given = {
        "name": artifact.name,
        "reference": artifact.reference,
        "target": str(artifact.target) if len(artifact.targets) > 1 else "",
        "variant": artifact.variant if len(artifact.variants) > 1 else "",
        "view": view,
    }
    return {key: value for key, value in given.items() if value}
