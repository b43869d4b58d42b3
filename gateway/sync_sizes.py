"""How large something is that is not held yet: asked of the sources that a pull would ask."""

from collections.abc import Mapping
from functools import partial

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location
from gateway.oci.outcomes import Missing, Outcome
from gateway.oci.reference import Reference
from gateway.pull import Puller
from gateway.refusals import refusal
from gateway.rules.model import SourceName
from gateway.rules.route import Route, Wanted
from gateway.sources.base import Source
from gateway.sources.chain import ask_in_turn


class Sizes:
    """Nothing is fetched: a Helm repository is asked how long the archive is, a registry for the manifest."""

    def __init__(self, puller: Puller, sources: Mapping[SourceName, Source]) -> None:
        self._puller = puller
        self._sources = sources

    async def of(self, location: Location, platforms: frozenset[str]) -> int | None:
        """In bytes; None where upstream does not say. Raise OciError, also where nobody has it."""
        routing = self._puller.route(Wanted(location.name))
        absent: Missing | None = None
        for route in routing.routes:
            chain = [self._sources[name] for name in route.chain if name in self._sources]
            ask = partial(_size_at, route, location.reference, platforms)
            try:
                return await ask_in_turn(route.target, chain, ask)
            except Missing as error:
                absent = absent or error
            except Outcome as error:
                raise refusal(error, Situation.MANIFEST_NOT_KNOWN) from error
        if absent is not None:
            raise refusal(absent, Situation.MANIFEST_NOT_KNOWN) from absent
        raise OciError(Situation.NAME_NOT_KNOWN, f"{location.name} leads nowhere")


async def _size_at(
    route: Route, reference: Reference | None, platforms: frozenset[str], source: Source
) -> int | None:
    if not isinstance(reference, Digest):
        return await (await source.find(route, str(reference))).size_bytes(platforms)
    async for found in source.candidates(route, reference, 1):
        return await found.size_bytes(platforms)
    raise Missing(f"{source.name} has no {reference}")
