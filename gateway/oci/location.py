"""What people write for an artifact: ``[oci://][host:port/]name[:tag][@digest]``."""

from collections.abc import Collection
from dataclasses import dataclass

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.reference import Reference, parse_reference
from gateway.oci.repository import Repository


@dataclass(frozen=True, slots=True)
class Location:
    """A repository, and the tag or digest in it, where one was written; a digest outweighs a tag."""

    name: Repository
    reference: Reference | None

    def __str__(self) -> str:
        match self.reference:
            case None:
                return self.name.name
            case Digest():
                return f"{self.name}@{self.reference}"
            case tag:
                return f"{self.name}:{tag}"


def parse_location(text: str, own_hosts: Collection[str]) -> Location:
    """Read a location; one of ``own_hosts``, or any host with a port, in front is this gateway's own.

    Raise OciError as for a request's name and reference.
    """
    if text.startswith(("https://", "http://")):
        raise OciError(
            Situation.NAME_BREAKS_GRAMMAR, f"a reference is no URL: leave out {text.partition('//')[0]}//"
        )
    rest = text.removeprefix("oci://")
    host, slash, path = rest.partition("/")
    if slash and (host in own_hosts or ":" in host):
        rest = path
    rest, at, digest = rest.partition("@")
    name, _, tag = rest.rpartition(":") if ":" in rest.rpartition("/")[2] else (rest, "", "")
    reference = Digest.parse(digest) if at else parse_reference(tag) if tag else None
    return Location(Repository.parse(name), reference)
