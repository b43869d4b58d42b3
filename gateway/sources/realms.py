"""Who may be asked for a registry's tokens, and who of those may see its credentials: by exact host."""

import ipaddress
from collections.abc import Collection, Mapping
from typing import Final

from gateway.oci.outcomes import Corrupt
from gateway.oci.urls import HttpUrl

_PAIRS: Final[Mapping[str, str]] = {
    "registry-1.docker.io": "auth.docker.io",
    "registry.gitlab.com": "gitlab.com",
    "nvcr.io": "authn.nvidia.com",
}


def require_realm(realm: HttpUrl, registries: Collection[HttpUrl]) -> None:
    """Raise Corrupt for what no honest registry names; ``registries`` are the places it is dialled at."""
    same = [registry for registry in registries if registry.host == realm.host]
    if realm.scheme != "https" and all(registry.scheme != realm.scheme for registry in same):
        raise Corrupt(f"a registry names a place for tokens without https: {realm.host}", "bad_realm")
    if not same and _is_address(realm.host):
        raise Corrupt(f"a registry names a place for tokens that is not asked: {realm.host}", "bad_realm")


def may_see_credentials(realm: HttpUrl, registry: HttpUrl, token_hosts: Collection[str]) -> bool:
    """Whether a realm is the registry's own host, or one that is known to work for it."""
    return realm.host in {registry.host, _PAIRS.get(registry.host), *token_hosts}


def _is_address(host: str) -> bool:
    """Whether a host is written as an address, or is this machine by name."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
