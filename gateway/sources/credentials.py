"""Secrets that rules.yaml names: environment variables, and files in SECRETS_DIR."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.rules.model import SecretName, SecretOrigin, Upstream


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
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def _read(self, name: str) -> str:
        path = self.path(name)
        try:
            return path.read_text().rstrip("\r\n")
        except OSError as error:
            raise CredentialError(f"the secret file {path} cannot be read: {error.strerror}") from error


def verify(secrets: Secrets, upstreams: Mapping[str, Upstream]) -> list[str]:
    """Look every named secret up once; return what is wrong, a line each."""
    problems: list[str] = []
    for key, upstream in upstreams.items():
        try:
            secrets.authorization(upstream)
            files = [
                secrets.path(name)
                for name in (upstream.ca_file, upstream.cert_file, upstream.key_file)
                if name
            ]
        except CredentialError as error:
            problems.append(f"upstream {key}: {error}")
        else:
            problems += [f"upstream {key}: there is no file {path}" for path in files if not path.is_file()]
    return problems
