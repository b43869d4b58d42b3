"""A desk with the actions alone, on a whole gateway before fake upstreams."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway import caretaker
from gateway.actions import Actions
from gateway.store.retention import RetentionBook
from gateway.store.sync_runs import SyncRuns
from gateway.sync_desk import SyncDesk
from gateway.web.admin import actions_api, actions_pages, mirror_pages
from gateway.web.admin.pages import Drawer
from tests.composed import HOST, Composed, composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry
from tests.web.admin.sync_house import ToldSyncer
from tests.web.admin_house import open_desk

IMAGES = "images.example.test"
CHARTS = [make_chart("demo", version, {"values.yaml": b"a: 1\n"}) for version in ("1.0.0", "2.0.0")]
APP = OCI.image_index(5_000)
DEMO, IMAGE = f"{HOST}/demo", f"{IMAGES}/tools/app"


@dataclass
class ActionsHouse:
    """``noted`` is the audit: who did what to what."""

    desk: httpx.AsyncClient
    composed: Composed
    actions: Actions
    charts: HelmRepo
    images: FakeRegistry
    noted: list[tuple[str, str, str]] = field(default_factory=list)

    async def pull(self, name: str = DEMO, reference: str = "1.0.0") -> str:
        """The manifest as a client pulls it; X-Cache of the answer."""
        answer = await self.composed.manifest(name, reference)
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-cache"])

    async def ended(self, number: int) -> str:
        job = await self.actions.jobs.ended(number)
        return f"{job.state.value}: {job.message}"


@asynccontextmanager
async def actions_house(folder: Path) -> AsyncIterator[ActionsHouse]:
    with HelmRepo(repository_of(*CHARTS)) as charts, FakeRegistry() as images:
        APP.push_to(images, "tools/app", "1.0")
        places = upstream(charts.url, kind="helm") + upstream(images.origin, IMAGES, kind="registry")
        async with composed(folder, f"upstreams:\n{places}") as house:
            noted: list[tuple[str, str, str]] = []

            async def note(actor: str, action: str, subject: str, detail: str = "") -> None:
                noted.append((actor, action, subject))

            jobs = caretaker.job_desk(house.gateway)
            actions = caretaker.actions(house.gateway, jobs, note)
            drawer = Drawer("test", house.gateway.clock.now)
            sync = SyncDesk(
                rules=lambda: house.gateway.switch.in_force.rule_set,
                syncer=ToldSyncer(),
                runs=SyncRuns(house.gateway.desk.engines, house.gateway.clock.now),
                kept=RetentionBook(house.gateway.desk.engines),
                jobs=jobs,
                note=note,
                now=house.gateway.clock.now,
            )
            pages = [*actions_pages.pages(actions, drawer), *mirror_pages.pages(actions, sync, drawer)]
            async with open_desk(
                endpoints=actions_api.operations(actions), pages=pages, drawer=drawer
            ) as desk:
                try:
                    yield ActionsHouse(desk, house, actions, charts, images, noted)
                finally:
                    await jobs.close()
