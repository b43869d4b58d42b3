"""Charts of a Helm repository whose index says that they lie in a registry: ``oci://…`` for a URL."""

from collections.abc import Callable
from dataclasses import replace

from gateway.helm.index import ChartVersion
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.outcomes import Corrupt
from gateway.oci.reference import is_tag
from gateway.oci.registry_url import RegistryUrl, parse_registry_url
from gateway.oci.target import Target
from gateway.oci.urls import UrlError
from gateway.rules.route import Errand, Route
from gateway.sources.base import Fetched
from gateway.sources.registry_artifacts import Artifacts, FoundArtifact
from gateway.sources.registry_place import Places, UpstreamRepository, own_repository


class IndexRegistries:
    """Fetches such charts as they are stored there, on behalf of the route whose index names them."""

    def __init__(self, artifacts: Artifacts, places: Places) -> None:
        self._artifacts = artifacts
        self._places = places

    async def fetch(
        self, route: Route, entry: ChartVersion, text: str, accept: Callable[[Digest], None]
    ) -> Fetched:
        """Fetch the Helm chart at ``text`` if ``accept`` raises nothing for its archive's digest."""
        url, reference = _place(entry, text)
        repository = self._repository(route, url)
        read = await self._artifacts.client.manifest(repository, reference)
        layer = read.parsed.chart_layer
        if layer is None:
            raise Corrupt(f"what the index names, {url}, is no Helm chart", "chart_mismatch")
        accept(layer.digest)
        fetched = await self._artifacts.keep(repository, read)
        return replace(fetched, origin=str(replace(url, reference=reference)))

    async def size_of(self, route: Route, entry: ChartVersion, text: str) -> int | None:
        """How many bytes it has, by its manifest; raise outcomes."""
        url, reference = _place(entry, text)
        found = FoundArtifact(self._artifacts, self._repository(route, url), reference, None)
        return await found.size_bytes(frozenset())

    def _repository(self, route: Route, url: RegistryUrl) -> UpstreamRepository:
        try:
            home = Target.parse(f"{url.root.authority}/{url.name}")
        except OciError as error:
            raise _not_followed(error.message) from error
        return replace(own_repository(self._places, Errand(home, route.rules)), errand=route.errand)


def _place(entry: ChartVersion, text: str) -> tuple[RegistryUrl, str | Digest]:
    """The URL, and what it refers to: the entry's version is the tag where it has none."""
    try:
        url = parse_registry_url(text)
    except UrlError as error:
        raise _not_followed(str(error)) from error
    if url.reference is not None:
        return url, url.reference
    tag = entry.version.replace("+", "_")
    if not is_tag(tag):
        raise _not_followed(f"{tag[:140]!r} is no tag")
    return url, tag


def _not_followed(reason: str) -> Corrupt:
    return Corrupt(f"the index gives the chart a URL that is not followed: {reason}", "bad_chart_url")
