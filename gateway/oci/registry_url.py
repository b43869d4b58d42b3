"""``oci://host[:port]/name[:tag][@digest]``: how a Helm index says that a chart lies in a registry."""

import re
from dataclasses import dataclass
from typing import Final

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.reference import is_tag
from gateway.oci.repository import Repository
from gateway.oci.urls import MAX_LENGTH, HttpUrl, UrlError, parse_upstream_url

SCHEME: Final = "oci://"
_URL = re.compile(
    r"(?P<authority>[^/@?#]+)/(?P<name>[a-z0-9._/-]+)(?::(?P<tag>[^:@/?#]+))?(?:@(?P<digest>[^@/?#]+))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class RegistryUrl:
    """A place in a registry; ``reference`` is a tag or, which outweighs it, a digest, if one is written."""

    root: HttpUrl
    name: Repository
    reference: str | Digest | None

    def __str__(self) -> str:
        mark = "" if self.reference is None else "@" if isinstance(self.reference, Digest) else ":"
        return f"{SCHEME}{self.root.authority}/{self.name}{mark}{self.reference or ''}"


def parse_registry_url(text: str) -> RegistryUrl:
    """Read such a URL, or raise UrlError; a ``+`` in the tag is the ``_`` that Helm writes for it."""
    if len(text) > MAX_LENGTH or not text.startswith(SCHEME):
        raise UrlError(f"it has to start with {SCHEME}, and be no longer than {MAX_LENGTH} characters")
    match = _URL.fullmatch(text.removeprefix(SCHEME))
    if match is None:
        raise UrlError(f"it needs to be {SCHEME}host/name, and after that at most a tag and a digest")
    root = parse_upstream_url(f"https://{match['authority']}/")
    tag = None if match["tag"] is None else match["tag"].replace("+", "_")
    if tag is not None and not is_tag(tag):
        raise UrlError(f"{tag[:140]!r} is no tag")
    try:
        digest = None if match["digest"] is None else Digest.parse(match["digest"])
        return RegistryUrl(root, Repository.parse(match["name"]), digest or tag)
    except OciError as error:
        raise UrlError(error.message) from error
