"""Where a registry's repository is asked for, on whose behalf, and who decides what may go along."""

from dataclasses import dataclass
from typing import Protocol

from gateway.oci.target import Target
from gateway.oci.urls import HttpUrl


class NamedPlace(Protocol):
    """A registry's ``/v2/`` folder, and the name that a repository has there."""

    @property
    def base(self) -> HttpUrl: ...

    @property
    def name(self) -> str: ...


class Places(Protocol):
    """What the rules say of registries and of those who give tokens for them."""

    def registry(self, target: Target) -> NamedPlace: ...

    def require_realm(self, realm: HttpUrl, target: Target) -> None:
        """Raise Corrupt for a place that must not be asked for the target's tokens."""

    def realm_authorization(self, realm: HttpUrl, target: Target) -> str | None:
        """The Authorization header that a realm may see for this target; None: it is asked anonymously."""


@dataclass(frozen=True, slots=True)
class UpstreamRepository:
    """A repository at a registry.

    ``home`` is the place itself, ``target`` the one on whose behalf it is asked: what may go along is decided
    for that. They differ where a Helm index says that a chart lies in a registry.
    """

    base: HttpUrl
    name: str
    home: Target
    target: Target

    def __str__(self) -> str:
        return str(self.home)

    @property
    def is_own(self) -> bool:
        return self.home == self.target


def own_repository(places: Places, target: Target) -> UpstreamRepository:
    """The repository that a target is."""
    place = places.registry(target)
    return UpstreamRepository(place.base, place.name, target, target)
