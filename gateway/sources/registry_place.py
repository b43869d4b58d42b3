"""Where a registry's repository is asked for, on whose behalf, and who decides what may go along."""

from dataclasses import dataclass
from typing import Protocol

from gateway.oci.target import Target
from gateway.oci.urls import HttpUrl
from gateway.rules.model import RuleSet
from gateway.rules.route import Errand


class NamedPlace(Protocol):
    """A registry's ``/v2/`` folder, and the name that a repository has there."""

    @property
    def base(self) -> HttpUrl: ...

    @property
    def name(self) -> str: ...


class Places(Protocol):
    """What the rules say of registries and of those who give tokens for them."""

    def registry(self, errand: Errand) -> NamedPlace: ...

    def number_of(self, rules: RuleSet) -> int:
        """Of these rules and no others, ever."""

    def require_realm(self, realm: HttpUrl, errand: Errand) -> None:
        """Raise Corrupt for a place that must not be asked for the errand's tokens."""

    def realm_authorization(self, realm: HttpUrl, errand: Errand) -> str | None:
        """The Authorization header that a realm may see for this errand; None: it is asked anonymously."""


@dataclass(frozen=True, slots=True)
class UpstreamRepository:
    """A repository at a registry.

    ``home`` is the place itself, ``errand`` says on whose behalf it is asked: what may go along is decided
    for that one. They differ where a Helm index says that a chart lies in a registry. Rules are not compared:
    what is kept by a repository, and depends on them, is kept by their number too.
    """

    base: HttpUrl
    name: str
    home: Target
    errand: Errand

    def __str__(self) -> str:
        return str(self.home)

    @property
    def is_own(self) -> bool:
        return self.home == self.errand.target

    @property
    def own_errand(self) -> Errand:
        """To itself: the rules of this errand, the place's own rights."""
        return Errand(self.home, self.errand.rules)


def own_repository(places: Places, errand: Errand) -> UpstreamRepository:
    """The repository that an errand's target is."""
    place = places.registry(errand)
    return UpstreamRepository(place.base, place.name, errand.target, errand)
