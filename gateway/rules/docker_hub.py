"""Docker Hub's own names: one registry under two hosts, whose short names stand for longer ones."""

from typing import Final

HOST: Final = "docker.io"
DIALLED: Final = "registry-1.docker.io"
LOGIN_HOSTS: Final = frozenset({HOST, DIALLED, "index.docker.io"})  # as people and tools write them


def is_on(place: str) -> bool:
    return place.partition("/")[0] == HOST


def full_name(name: str) -> str:
    """``docker.io/nginx`` is ``docker.io/library/nginx``; every other name stays as it is."""
    host, _, rest = name.partition("/")
    if host != HOST or not rest or "/" in rest:
        return name
    return f"{HOST}/library/{rest}"
