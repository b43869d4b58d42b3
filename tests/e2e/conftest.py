"""What the end-to-end tests share: a site for each test, and the real clients."""

from pathlib import Path

import pytest

from tests import clients
from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder for a gateway, without any upstream yet."""
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder)


@pytest.fixture(params=clients.HELMS)
def helm(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    """Each helm in turn."""
    return _client(clients.helm(request.param), tmp_path, request.param)


@pytest.fixture
def newest_helm(tmp_path: Path) -> Client:
    """One helm, for what does not depend on its version."""
    return _client(clients.helm("4"), tmp_path, "4")


@pytest.fixture
def crane(tmp_path: Path) -> Client:
    return _client(clients.crane(), tmp_path)


@pytest.fixture
def oras(tmp_path: Path) -> Client:
    return _client(clients.oras(), tmp_path)


@pytest.fixture
def skopeo(tmp_path: Path) -> Client:
    return _client(clients.skopeo(), tmp_path)


def _client(program: Path, tmp_path: Path, series: str = "") -> Client:
    home = tmp_path / f"home-{program.name}"
    home.mkdir()
    return Client(program, home, series)
