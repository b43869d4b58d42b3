"""What came by credentials on one side of a gap is not for everybody on the other one, from the start."""

import asyncio
import io
from pathlib import Path

import pytest

from gateway.app import following
from gateway.bundle_import import ImportOptions
from gateway.caretaker import importer
from gateway.oci.digest import Digest
from tests.bundle_house import APP, Bundle, chart
from tests.composed import HOST, Composed, composed
from tests.pull_house import until

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

ONE = chart("app", "1.0.0")
OTHER = f"{HOST}/other"
PATHS = (
    f"/v2/{APP}/manifests/1.0.0",
    f"/v2/{APP}/manifests/{ONE.digest}",
    f"/v2/{APP}/blobs/{Digest.of(ONE.blobs[1])}",
    f"/v2/{APP}/tags/list",
    f"/charts/{HOST}/app-1.0.0.tgz",
)


async def take(at: Composed) -> None:
    bundle = Bundle().add(APP, {"1.0.0": ONE}, is_private=True).add(OTHER, {"1.0.0": chart("other", "1.0.0")})
    await importer(at.gateway).import_(io.BytesIO(bundle.tar()), ImportOptions())


async def statuses(at: Composed) -> set[int]:
    return {(await at.client.get(path)).status_code for path in PATHS}


async def test_a_running_server_closes_it_as_soon_as_it_is_there(tmp_path: Path) -> None:
    async with composed(tmp_path, "egress: {mode: offline}\n") as at, following(at.gateway):
        await take(at)

        async def is_closed() -> bool:
            await asyncio.sleep(0)
            return await statuses(at) == {401}

        await until(is_closed)
        assert "app-1.0.0" not in (await at.client.get(f"/charts/{HOST}/index.yaml")).text
        assert (await at.manifest(OTHER, "1.0.0")).status_code == 200


async def test_the_rules_here_may_open_it(tmp_path: Path) -> None:
    rules = f"egress: {{mode: offline}}\nupstreams: {{{HOST}: {{access: anonymous}}}}\n"
    async with composed(tmp_path, rules) as at:
        await take(at)
        async with following(at.gateway):
            assert await statuses(at) == {200}
