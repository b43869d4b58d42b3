"""The real clients: which versions the tests drive, and where they lie."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import missing


@dataclass(frozen=True, slots=True)
class GoClient:
    """A program that ``go install package@v<version>`` builds."""

    name: str
    version: str
    package: str

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}"

    @property
    def path(self) -> Path:
        return bin_folder() / self.file_name


_HELMS = {
    "3.17": GoClient("helm", "3.17.4", "helm.sh/helm/v3/cmd/helm"),  # the last that asks HEAD first
    "3": GoClient("helm", "3.22.0", "helm.sh/helm/v3/cmd/helm"),
    "4": GoClient("helm", "4.3.1", "helm.sh/helm/v4/cmd/helm"),
}
_CRANE = GoClient("crane", "0.22.1", "github.com/google/go-containerregistry/cmd/crane")

HELMS = tuple(_HELMS)
GO_CLIENTS = (*_HELMS.values(), _CRANE)


def bin_folder() -> Path:
    """Where the built clients are kept, for every clone of this user."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "chart-gateway", "bin")


def helm(series: str) -> Path:
    """Return helm of a series in HELMS; skip, or fail in CI, where it is not built."""
    return _built(_HELMS[series])


def crane() -> Path:
    return _built(_CRANE)


def skopeo() -> Path:
    found = shutil.which("skopeo")
    if found is None:
        missing("no skopeo: `make clients` installs it, as root or where sudo asks no password")
    return Path(found)


def _built(client: GoClient) -> Path:
    if not client.path.is_file():
        missing(f"no {client.name} {client.version}: `make clients` builds it, where there is Go")
    return client.path
