"""A docker config.json, read for the credentials in it; nothing that it names is ever run."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.oci.decoding import Json, JsonError, parse_json
from gateway.rules import docker_hub

MAX_BYTES: Final = 1024 * 1024
_PLACE = re.compile(
    r"(?:https?://)?(?P<host>[a-z0-9._-]{1,253}(?::[0-9]{1,5})?|\[[0-9a-f:.]+\](?::[0-9]{1,5})?)"
    r"(?P<path>/[A-Za-z0-9._/-]*)?",
    re.ASCII | re.IGNORECASE,
)
_API_VERSIONS: Final = frozenset({"v1", "v2"})  # older tools write them behind the host


class DockerConfigError(ValueError):
    """The file is no docker config.json; the message repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """``pairs``: ``user:password`` by place as it is dialled, ``host[:port][/path]``.

    ``unused`` says what else stands there and is not obeyed, a line each.
    """

    pairs: Mapping[str, str] = field(default_factory=dict, repr=False)
    unused: tuple[str, ...] = ()


def parse_docker_config(content: bytes) -> DockerConfig:
    """Read the file's bytes, or raise DockerConfigError."""
    members = _object(_parse(content), "the file")
    pairs: dict[str, str] = {}
    unused = list(_helpers(members))
    auths = members.get("auths")
    for written, entry in _object({} if auths is None else auths, "auths").items():
        place = _place(written)
        pair = _pair(_object(entry, "an entry of auths"))
        if place is None:
            unused.append(f"{written[:100]!r} is no place of a registry")
        elif pair is None:
            unused.append(f"{place} has no user and password of its own there")
        else:
            pairs[place] = pair
    return DockerConfig(pairs, tuple(unused))


def _parse(content: bytes) -> Json:
    try:
        return parse_json(content, MAX_BYTES)
    except JsonError as error:
        raise DockerConfigError(f"it is no JSON that is read here: {error}") from error


def _object(value: Json, what: str) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise DockerConfigError(f"{what} is no JSON object")
    return value


def _helpers(members: Mapping[str, Json]) -> Iterator[str]:
    for name in ("credsStore", "credHelpers"):
        if members.get(name):
            yield f"{name} is not obeyed: no credential helper is run"


def _place(written: str) -> str | None:
    """``https://index.docker.io/v1/`` is Docker Hub; elsewhere, too, the API's version is no path."""
    match = _PLACE.fullmatch(written)
    if match is None:
        return None
    host = match["host"].lower().removesuffix(":443")
    path = (match["path"] or "").strip("/")
    if host in docker_hub.LOGIN_HOSTS:
        host = docker_hub.DIALLED
    return host if not path or path in _API_VERSIONS else f"{host}/{path}"


def _pair(entry: Mapping[str, Json]) -> str | None:
    """``user:password``, however it is written; an identity token is neither."""
    if entry.get("identitytoken"):
        return None
    auth = entry.get("auth")
    username, password = entry.get("username"), entry.get("password")
    if isinstance(auth, str) and auth:
        return _decoded(auth)
    if not isinstance(username, str) or not isinstance(password, str):
        return None
    return f"{username}:{password}" if username and ":" not in username else None  # RFC 7617 §2 has no way


def _decoded(auth: str) -> str | None:
    try:
        pair = base64.b64decode(auth, validate=True).decode(errors="surrogateescape").rstrip("\x00")
    except ValueError:
        return None
    return pair if ":" in pair and not pair.startswith(":") else None
