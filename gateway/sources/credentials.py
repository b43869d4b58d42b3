"""Secrets that rules.yaml names: environment variables, and files in SECRETS_DIR."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.rules.model import RuleSet, SecretName, SecretOrigin, Upstream

_BYTES = "surrogateescape"  # what is no UTF-8 is sent as the bytes it is, as from the environment


class CredentialError(Exception):
    """A secret that rules.yaml names is not to be had; the message names it, never its value."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where secrets are looked up, each time anew: a rotated file is seen."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None

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

    def authorization(self, upstream: Upstream) -> str | None:
        """The Authorization header for an upstream with a user name, or None."""
        if upstream.username is None:
            return None
        password = "" if upstream.password is None else self.value(upstream.password)
        pair = f"{self.value(upstream.username)}:{password}"
        return "Basic " + base64.b64encode(pair.encode(errors=_BYTES)).decode()

    def _read(self, name: str) -> str:
        path = self.path(name)
        try:
            return path.read_text(encoding="utf-8", errors=_BYTES).rstrip("\r\n")
        except OSError as error:
            raise CredentialError(f"the secret file {path} cannot be read: {error.strerror}") from error


def verify(secrets: Secrets, rule_set: RuleSet) -> list[str]:
    """Look every named secret up once; return what is wrong, a line each."""
    problems = _missing_files(secrets, "egress", [rule_set.egress.ca_file])
    for key, upstream in rule_set.upstreams.items():
        try:
            secrets.authorization(upstream)
        except CredentialError as error:
            problems.append(f"upstream {key}: {error}")
        files = [upstream.ca_file, upstream.cert_file, upstream.key_file]
        problems += _missing_files(secrets, f"upstream {key}", files)
    return problems


def _missing_files(secrets: Secrets, owner: str, names: Iterable[str | None]) -> list[str]:
    try:
        paths = [secrets.path(name) for name in names if name is not None]
    except CredentialError as error:
        return [f"{owner}: {error}"]
    return [f"{owner}: there is no file {path}" for path in paths if not path.is_file()]
