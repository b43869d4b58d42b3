"""What a repository is called where it really lies: ``url``'s path goes after ``/v2/``, before the name."""

from collections.abc import Iterator
from typing import Final

from gateway.oci.urls import HttpUrl
from gateway.rules import docker_hub
from gateway.rules.model import Upstream, usual_url

API: Final = "/v2"


def registry_names(name: str, upstream: Upstream | None) -> Iterator[tuple[HttpUrl, str]]:
    """For each place where ``host[:port]/path/name`` may be asked: its ``url``, and the name there."""
    full = docker_hub.full_name(name)
    key = full.partition("/")[0] if upstream is None else upstream.key
    rest = full.removeprefix(key).lstrip("/")
    for url in (usual_url(key),) if upstream is None else upstream.urls:
        yield url, f"{url.path.rstrip('/')}/{rest}".lstrip("/")


def login_places(name: str, upstream: Upstream | None) -> Iterator[str]:
    """The same as the places of logins: ``host[:port]/path/name``."""
    for url, dialled in registry_names(name, upstream):
        yield f"{url.authority}/{dialled}"
