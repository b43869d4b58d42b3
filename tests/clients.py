"""The real clients and servers: which versions the tests drive, and where they lie."""

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
_ORAS = GoClient("oras", "1.3.6", "oras.land/oras/cmd/oras")
_REGISTRY = GoClient("registry", "3.1.2", "github.com/distribution/distribution/v3/cmd/registry")

HELMS = tuple(_HELMS)
REGISTRIES = ("2.8", "3")  # distribution, as `registry:2` and `registry:3`
GO_CLIENTS = (*_HELMS.values(), _CRANE, _ORAS, _REGISTRY)


def bin_folder() -> Path:
    """Where the built clients are kept, for every clone of this user."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "chart-gateway", "bin")


def helm(series: str) -> Path:
    """Return helm of a series in HELMS; skip, or fail in CI, where it is not built."""
    return _built(_HELMS[series])


def crane() -> Path:
    return _built(_CRANE)


def oras() -> Path:
    return _built(_ORAS)


def registry(series: str) -> Path:
    """Return distribution of a series in REGISTRIES: the system's own, or the newest."""
    if series == "3":
        return _built(_REGISTRY)
    found = docker_registry()
    if found is None:
        missing("no docker-registry: `make clients` takes it out of the system's package, where there is one")
    return found


def docker_registry() -> Path | None:
    """Where distribution 2.8 lies, as Debian and Ubuntu package it."""
    unpacked = bin_folder() / "docker-registry"
    installed = shutil.which("docker-registry")
    return unpacked if unpacked.is_file() else Path(installed) if installed else None


def skopeo() -> Path:
    found = shutil.which("skopeo")
    if found is None:
        missing("no skopeo: `make clients` installs it, as root or where sudo asks no password")
    return Path(found)


def browser() -> Path:
    """Return Chromium; skip, or fail in CI, where there is none."""
    found = browser_path()
    if found is None:
        missing("no chromium: `make clients` installs it, as root or where sudo asks no password")
    return found


def browser_path() -> Path | None:
    """Where Chromium lies, by any of the names it is packaged under."""
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return None if found is None else Path(found)


def postgres() -> Path:
    """Return the folder of PostgreSQL's server programs; skip, or fail in CI, where there is none."""
    found = postgres_folder()
    if found is None:
        missing("no PostgreSQL server: `make clients` installs it, as root or where sudo asks no password")
    return found


def postgres_folder() -> Path | None:
    """Where the newest version lies as Debian packages it, or what PATH leads to."""
    packaged = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    on_path = shutil.which("initdb")
    newest = max(packaged, key=lambda path: int(path.parts[4]), default=None)
    if newest is not None:
        return newest.parent
    return None if on_path is None else Path(on_path).resolve().parent


def _built(client: GoClient) -> Path:
    if not client.path.is_file():
        missing(f"no {client.name} {client.version}: `make clients` builds it, where there is Go")
    return client.path
