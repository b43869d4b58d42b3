"""Secrets that rules.yaml names: environment variables, and files in SECRETS_DIR."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.rules.load import Complaint
from gateway.rules.model import RuleSet, SecretName, SecretOrigin, Upstream
from gateway.sources.docker_config import DockerConfig, DockerConfigError, parse_docker_config

log = structlog.get_logger(__name__)

_TOKEN = re.compile(r"[!-~]+")  # what a header can carry
_DOCKER_CONFIG = "config.json"
_BYTES = "surrogateescape"  # what is no UTF-8 is sent as the bytes it is, as from the environment


class CredentialError(Exception):
    """A secret that rules.yaml names is not to be had; the message names it, never its value."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where secrets are looked up, each time anew: a rotated file is seen.

    ``folder`` is SECRETS_DIR; ``docker_config`` the folder of a docker config.json.
    """

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None
    docker_config: Path | None = None

    def value(self, name: SecretName) -> str:
        if name.origin is SecretOrigin.FILE:
            return self._read(name.name)
        try:
            return self.environment[name.name]
        except KeyError:
            raise CredentialError(f"the environment variable {name.name} is not set") from None

    def path(self, name: str) -> Path:
        """The file of this name in SECRETS_DIR."""
        if self.folder is None:
            raise CredentialError(f"rules.yaml names the file {name}, but GATEWAY_SECRETS_DIR is not set")
        return self.folder / name

    def check(self, name: SecretName, *, is_token: bool) -> None:
        """Raise CredentialError for what is not to be had, or is no token where one is wanted."""
        if is_token:
            self._token(name)
        else:
            self.value(name)

    def authorization(self, upstream: Upstream) -> str | None:
        """The Authorization header for an upstream with a token or a user name, or None."""
        if upstream.token is not None:
            return f"Bearer {self._token(upstream.token)}"
        if upstream.username is None:
            return None
        password = "" if upstream.password is None else self.value(upstream.password)
        return _basic(f"{self.value(upstream.username)}:{password}")

    def login(self, place: str) -> str:
        """The Authorization header that the docker config.json has for one of its places."""
        pair = self.docker().pairs.get(place)
        if pair is None:
            raise CredentialError(f"the docker config.json has no credentials for {place} any more")
        return _basic(pair)

    def docker(self) -> DockerConfig:
        """What the docker config.json says; nothing where there is none."""
        if self.docker_config is None:
            return DockerConfig()
        path = self.docker_config / _DOCKER_CONFIG
        try:
            return parse_docker_config(path.read_bytes())
        except FileNotFoundError:
            return DockerConfig()
        except OSError as error:
            raise CredentialError(f"the file {path} cannot be read: {error.strerror}") from error
        except DockerConfigError as error:
            raise CredentialError(f"the file {path} cannot be used: {error}") from error

    def _token(self, name: SecretName) -> str:
        token = self.value(name)
        if not _TOKEN.fullmatch(token):
            raise CredentialError(
                f"the token in {name.name} has characters that no token has, or none at all"
            )
        return token

    def _read(self, name: str) -> str:
        path = self.path(name)
        try:
            return path.read_text(encoding="utf-8", errors=_BYTES).rstrip("\r\n")
        except OSError as error:
            raise CredentialError(f"the secret file {path} cannot be read: {error.strerror}") from error


def verify(secrets: Secrets, rule_set: RuleSet) -> Iterator[Complaint]:
    """Look every named secret and file up once; tell what is wrong, each by the key that names it."""
    try:
        secrets.docker()
    except CredentialError as error:
        yield Complaint((), f"DOCKER_CONFIG: {error}")
    yield from _missing_file(secrets, ("egress", "ca_file"), rule_set.egress.ca_file)
    for key, upstream in rule_set.upstreams.items():
        place = ("upstreams", key)
        named = (("username", upstream.username), ("password", upstream.password), ("token", upstream.token))
        for word, name in named:
            yield from _missing_secret(secrets, place, word, name)
        files = (
            ("ca_file", upstream.ca_file),
            ("cert_file", upstream.cert_file),
            ("key_file", upstream.key_file),
        )
        for word, file in files:
            yield from _missing_file(secrets, (*place, word), file)


def docker_logins(secrets: Secrets) -> frozenset[str]:
    """The places that the docker config.json has credentials for; what of it is not used is logged."""
    try:
        config = secrets.docker()
    except CredentialError as error:
        log.warning("docker_config_unusable", reason=str(error))
        return frozenset()
    for reason in config.unused:
        log.warning("docker_login_unused", reason=reason)
    return frozenset(config.pairs)


def _basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode(errors=_BYTES)).decode()


def _missing_secret(
    secrets: Secrets, place: tuple[str, ...], word: str, name: SecretName | None
) -> Iterator[Complaint]:
    if name is None:
        return
    try:
        secrets.check(name, is_token=word == "token")
    except CredentialError as error:
        suffix = "file" if name.origin is SecretOrigin.FILE else "env"
        yield Complaint((*place, f"{word}_{suffix}"), str(error))


def _missing_file(secrets: Secrets, keys: tuple[str, ...], name: str | None) -> Iterator[Complaint]:
    if name is None:
        return
    try:
        path = secrets.path(name)
    except CredentialError as error:
        yield Complaint(keys, str(error))
        return
    if not path.is_file():
        yield Complaint(keys, f"there is no file {path}")
