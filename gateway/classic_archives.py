"""What a classic chart repository has beside its index: archives, and the .prov files that sign them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from gateway.classic import ClassicIndex, ClassicIndexes
from gateway.helm.classic_index import parse_archive_name
from gateway.oci.descriptor import Descriptor
from gateway.oci.errors import OciError, Situation
from gateway.oci.manifest import ParsedManifest, parse_manifest
from gateway.oci.media_types import HELM_PROVENANCE_LAYER
from gateway.oci.reference import Tag, is_tag
from gateway.oci.repository import Repository
from gateway.parts import Parts
from gateway.pull import Puller
from gateway.pulled import Pulled, PulledBlob
from gateway.rules.model import Policy
from gateway.rules.route import PROVENANCE, Routing, Wanted

_ABSENT: Final = (Situation.MANIFEST_NOT_KNOWN, Situation.NAME_NOT_KNOWN, Situation.NOT_HELD_OFFLINE)
_MOST_CANDIDATES: Final = 4
_PROVENANCE_SUFFIX: Final = ".prov"


@dataclass(frozen=True, slots=True)
class FileAsked:
    """An archive, or its .prov file, by the name that its URL ends in; without a prefix of one segment."""

    prefix: str
    host: str
    file_name: str

    @property
    def is_provenance(self) -> bool:
        return self.file_name.endswith(_PROVENANCE_SUFFIX)


@dataclass(frozen=True, slots=True)
class ClassicFile:
    """Content for a client, the pull that found it, and by which name and tag that was."""

    wanted: Wanted
    tag: str
    pulled: Pulled
    descriptor: Descriptor

    @property
    def is_provenance(self) -> bool:
        return self.descriptor.media_type == HELM_PROVENANCE_LAYER


class ClassicRepositories:
    """All that clients of the classic protocol ask for. What it raises to its callers are OciErrors."""

    def __init__(self, parts: Parts, puller: Puller, indexes: ClassicIndexes) -> None:
        self._puller = puller
        self._indexes = indexes
        self._signed = Puller(replace(parts, router=lambda: _signing(parts.router())))

    def is_classic(self, host: str, name: str) -> bool:
        """Whether a host's own classic paths are answered: a rule for it, which takes this name, says so."""
        found = self._indexes.rules().rules.first(host, name) if host else None
        return found is not None and found[0].look.host is not None and found[0].change(Policy()).classic

    async def index(self, prefix: str, host: str) -> ClassicIndex:
        """The index of what lies just below ``prefix``, asked for under ``host``."""
        return await self._indexes.index(prefix, host)

    async def file(self, asked: FileAsked) -> ClassicFile:
        """Pull what a file is part of, by each chart and version that its name may mean."""
        absent: OciError | None = None
        for chart, version in await self._candidates(asked):
            try:
                return await self._pulled(asked, chart, version)
            except OciError as error:
                if error.situation not in _ABSENT:
                    raise
                absent = absent or error
        raise absent or OciError(Situation.MANIFEST_NOT_KNOWN, f"{asked.file_name} is no chart's file")

    async def open(self, file: ClassicFile) -> PulledBlob:
        """A file's content, open for reading; the caller closes it."""
        return await self._puller.blob(file.wanted, file.descriptor.digest)

    async def drain(self) -> None:
        """End what still runs."""
        await self._indexes.drain()
        await self._signed.drain()

    async def _candidates(self, asked: FileAsked) -> list[tuple[str, str]]:
        """Those whose chart the index has, where there is one; else only the likeliest."""
        found = parse_archive_name(asked.file_name)
        if len(found) > 1:
            known = await self._known(asked)
            listed = [pair for pair in found if pair[0] in known]
            found = listed[:_MOST_CANDIDATES] or found[:1]
        return [(chart, version) for chart, version in found if is_tag(version.replace("+", "_"))]

    async def _known(self, asked: FileAsked) -> frozenset[str]:
        known = await self._indexes.charts_at_hand(asked.prefix, asked.host)
        if known:
            return known
        try:
            await self._indexes.index(asked.prefix, asked.host)
        except OciError:
            return known
        return await self._indexes.charts_at_hand(asked.prefix, asked.host)

    async def _pulled(self, asked: FileAsked, chart: str, version: str) -> ClassicFile:
        name = f"{asked.prefix}/{chart}" if asked.prefix else chart
        wanted, tag = Wanted(Repository.parse_with_port(name), asked.host), version.replace("+", "_")
        pulled = await self._puller.manifest(wanted, Tag(tag))
        parsed = parse_manifest(pulled.manifest.content, pulled.manifest.media_type)
        if parsed.chart_layer is None:
            raise OciError(Situation.MANIFEST_NOT_KNOWN, f"{name}:{tag} is no Helm chart")
        if not asked.is_provenance:
            return ClassicFile(wanted, tag, pulled, parsed.chart_layer)
        return await self._provenance(ClassicFile(wanted, tag, pulled, parsed.chart_layer), parsed)

    async def _provenance(self, archive: ClassicFile, parsed: ParsedManifest) -> ClassicFile:
        """What signs this very archive: of a chart whose bytes were changed here nothing does.

        Upstream is asked for the file where the rules leave it out of the artifact: no digest of an archive
        depends on it.
        """
        wanted, tag = archive.wanted, archive.tag
        found, pulled = _signature(parsed), archive.pulled
        if found is None and not self._puller.route(wanted).first.rewrites_dependencies:
            pulled = await self._signed.manifest(wanted, Tag(tag))
            signed = parse_manifest(pulled.manifest.content, pulled.manifest.media_type)
            is_same = (
                signed.chart_layer is not None and signed.chart_layer.digest == archive.descriptor.digest
            )
            found = _signature(signed) if is_same else None
        if found is None:
            raise OciError(Situation.MANIFEST_NOT_KNOWN, f"{wanted}:{tag} has no .prov file")
        return ClassicFile(wanted, tag, pulled, found)


def _signature(parsed: ParsedManifest) -> Descriptor | None:
    return next((layer for layer in parsed.layers if layer.media_type == HELM_PROVENANCE_LAYER), None)


def _signing(route: Callable[[Wanted], Routing]) -> Callable[[Wanted], Routing]:
    """The same ways, to charts with their .prov files."""

    def signing(wanted: Wanted) -> Routing:
        routing = route(wanted)
        return replace(routing, routes=tuple(replace(one, variant=PROVENANCE) for one in routing.routes))

    return signing
