"""What came by credentials stays private, whatever is edited later, until somebody says otherwise."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from gateway.access.readers import admit_anyone, admit_operator
from gateway.app import compose, create_app, rule_desk
from gateway.settings import load_settings
from gateway.store.data_dir import DataDir
from tests.composed import HOST, FakeDns
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # a whole gateway, started several times

DEMO = f"/v2/{HOST}/demo"
SIGNED_IN = "username_env: GATEWAY_SECRET_USER, password_env: GATEWAY_SECRET_PASSWORD"


@asynccontextmanager
async def started(
    folder: Path, upstream: str, *, is_operator: bool = False, is_offline: bool = True
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway on the folder, as a server starts it with this upstream."""
    rules = folder / "rules.yaml"
    rules.write_text(f"version: 1\nupstreams: {{{upstream}}}\n")
    environment = {
        "GATEWAY_DATA_DIR": str(folder / "data"),
        "GATEWAY_RULES": str(rules),
        "GATEWAY_OFFLINE": str(is_offline).lower(),
        "GATEWAY_SECRET_USER": "us",
        "GATEWAY_SECRET_PASSWORD": "S3CR3T",
    }
    settings = load_settings(environment, {}, Path.read_text)
    data_dir = DataDir(settings.data_dir)
    data_dir.prepare()
    desk = rule_desk(settings, data_dir)
    in_force = desk.start()
    desk.engines.dispose()
    admit = admit_operator if is_operator else admit_anyone
    gateway = compose(settings, data_dir, in_force, resolver=FakeDns(), admit=admit)
    try:
        transport = httpx.ASGITransport(app=create_app(gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
            yield client
    finally:
        await gateway.close()
        data_dir.close()


async def test_an_edit_that_takes_credentials_away_opens_nothing(tmp_path: Path) -> None:
    with HelmRepo(repository_of(make_chart("demo", "1.0.0"))) as repo:
        place = f"{HOST}: {{kind: helm, url: '{repo.url}', allow_private: true, {SIGNED_IN}}}"
        async with started(tmp_path, place, is_operator=True, is_offline=False) as client:
            pulled = await client.get(f"{DEMO}/manifests/1.0.0")
            assert pulled.status_code == 200
    digest = pulled.headers["docker-content-digest"]
    layer = pulled.json()["layers"][0]["digest"]
    asked = ("manifests/1.0.0", f"manifests/{digest}", f"blobs/{layer}", "tags/list", f"referrers/{digest}")
    for upstream in (f"{HOST}: {{kind: helm}}", "elsewhere.example.test: {kind: helm}"):
        async with started(tmp_path, upstream) as client:
            for path in asked:
                assert (await client.get(f"{DEMO}/{path}")).status_code == 401, path
            assert (await client.get("/v2/_catalog")).json() == {"repositories": []}
    async with started(tmp_path, f"{HOST}: {{kind: helm, access: anonymous}}") as client:
        for path in asked:
            assert (await client.get(f"{DEMO}/{path}")).status_code == 200, path


async def test_what_everybody_could_see_is_not_closed_by_credentials_that_came_and_went(
    tmp_path: Path,
) -> None:
    with HelmRepo(repository_of(make_chart("demo", "1.0.0"))) as repo:
        public = f"{HOST}: {{kind: helm, url: '{repo.url}', allow_private: true}}"
        async with started(tmp_path, public, is_offline=False) as client:
            assert (await client.get(f"{DEMO}/manifests/1.0.0")).status_code == 200
        async with started(tmp_path, f"{HOST}: {{kind: helm, {SIGNED_IN}}}") as client:
            assert (await client.get(f"{DEMO}/manifests/1.0.0")).status_code == 401
        async with started(tmp_path, public) as client:
            assert (await client.get(f"{DEMO}/manifests/1.0.0")).status_code == 200
