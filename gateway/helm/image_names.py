"""The name of a container image as charts write it, and the location that it stands for."""

import re
from dataclasses import dataclass
from typing import Final

from gateway.oci.errors import OciError
from gateway.oci.location import Location, parse_location

DOCKER_HUB: Final = "docker.io"
_HUB_HOSTS: Final = frozenset(
    {DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)
_HOST: Final = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,63}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_LENGTH: Final = 500


class ImageNameError(ValueError):
    """The text names no image that could be pulled; the message says why."""


@dataclass(frozen=True, slots=True)
class ImageParts:
    """An image as the values of a chart have it, in pieces, any of which may be empty."""

    repository: str
    registry: str = ""
    tag: str = ""
    digest: str = ""

    @property
    def version(self) -> tuple[str, str]:
        return self.tag, self.digest

    @property
    def text(self) -> str:
        """All of it as one name; what ``repository`` has already is not put twice."""
        registry = self.registry.strip("/")
        name = self.repository.strip("/")
        if registry and not name.startswith(f"{registry}/"):
            name = f"{registry}/{name}"
        tag = f":{self.tag}" if self.tag and not has_version(name) else ""
        digest = f"sha256:{self.digest}" if _HEX.fullmatch(self.digest) else self.digest
        return f"{name}{tag}{f'@{digest}' if digest and '@' not in f'{name}{tag}' else ''}"


def has_version(name: str) -> bool:
    """Whether a tag or digest stands in it."""
    return "@" in name or ":" in name.rpartition("/")[2]


def read_image(text: str) -> Location:
    """Return where an image is pulled from, as container runtimes read its name: ``docker.io`` by default.

    Raise ImageNameError for what has neither tag nor digest, or could not be asked for.
    """
    if len(text) > _MAX_LENGTH or "://" in text or "+" in text:
        raise ImageNameError("it is no image's name")
    host, path = _split(text)
    if ":" in host or host == "localhost":
        raise ImageNameError(f"{host} is no host that every cluster could reach")
    if not _HOST.fullmatch(host):
        raise ImageNameError(f"{host!r} is no host's name")
    try:
        location = parse_location(f"{host}/{path}", ())
    except OciError as error:
        raise ImageNameError(error.message) from error
    if location.reference is None:
        raise ImageNameError("it has neither tag nor digest")
    return location


def _split(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return DOCKER_HUB, f"library/{text}"
    if not ("." in first or ":" in first or first == "localhost"):
        return DOCKER_HUB, text
    if first in _HUB_HOSTS:
        return DOCKER_HUB, rest if "/" in rest else f"library/{rest}"
    return first, rest
