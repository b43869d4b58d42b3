"""Pins: what a reference leads to is kept, down to the last layer, whatever the quota says."""

from collections.abc import Callable, Sequence

from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location
from gateway.oci.reference import Tag
from gateway.rules.route import Routing, Wanted
from gateway.store.pins import Pin, PinBook


class PinDesk:
    """Makes and removes pins by name. ``now`` gives seconds since the epoch."""

    def __init__(
        self, book: PinBook, route_of: Callable[[Wanted], Routing], now: Callable[[], float]
    ) -> None:
        self._book = book
        self._route_of = route_of
        self._now = now

    async def pin(self, location: Location) -> bool:
        """Pin what is held of a reference, at every target of its name; False where it was pinned already.

        Raise OciError where nothing is held, or the name leads nowhere.
        """
        reference = reference_of(location)
        routes = self._route_of(Wanted(location.name)).routes
        held = [route for route in routes if await self._book.is_held(route.target, reference)]
        if not held:
            message = f"{location} is not held: `gateway pull {location}` fetches it"
            raise OciError(Situation.MANIFEST_NOT_KNOWN, message)
        made_at = self._now()
        made = [
            await self._book.make(Pin(one.target, reference, location.name.name, made_at)) for one in held
        ]
        return any(made)

    async def unpin(self, location: Location) -> bool:
        """Remove the pins of a reference, by the name they were made by or any that leads there by now."""
        reference = reference_of(location)
        name = location.name.name
        targets = {pin.target for pin in await self.list_all() if pin.name == name}
        try:
            targets |= {route.target for route in self._route_of(Wanted(location.name)).routes}
        except OciError:
            if not targets:
                raise
        removed = [await self._book.remove(target, reference) for target in sorted(targets)]
        return any(removed)

    async def list_all(self) -> Sequence[Pin]:
        return await self._book.list_all()


def reference_of(location: Location) -> str:
    """A pin's reference: the tag or the digest; raise OciError where there is neither."""
    match location.reference:
        case None:
            message = f"which version of {location.name} is meant? Give {location.name}:TAG or @DIGEST"
            raise OciError(Situation.MANIFEST_NOT_KNOWN, message)
        case Tag(name=tag):
            return tag
        case digest:
            return str(digest)
