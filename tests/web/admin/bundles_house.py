"""A desk with bundles alone, on a whole gateway that makes them and takes them in for real."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway import caretaker
from gateway.bundle_desk import BundleDesk
from gateway.jobs import JobDesk
from gateway.web.admin import bundles_api
from gateway.web.admin.bundles_pages import BundlePages
from gateway.web.admin.pages import Drawer
from tests.composed import Composed, composed
from tests.web.admin_house import EDITOR, open_desk

BUNDLES = "/admin/api/bundles"


@dataclass
class BundlesHouse:
    """``noted`` is the audit: who did what to what."""

    desk: httpx.AsyncClient
    composed: Composed
    bundles: BundleDesk
    jobs: JobDesk
    noted: list[tuple[str, str, str]] = field(default_factory=list)

    async def put(
        self, content: bytes, headers: dict[str, str] | None = None, **query: str
    ) -> httpx.Response:
        sent = {**EDITOR, "content-type": "application/x-tar", **(headers or {})}
        return await self.desk.put(BUNDLES, content=content, params=query, headers=sent)

    async def get(self, **query: str | list[str]) -> httpx.Response:
        return await self.desk.get(BUNDLES, params=query, headers=EDITOR)

    async def ended(self, number: int) -> str:
        job = await self.jobs.ended(number)
        return f"{job.state.value}: {job.message}"

    async def holds(self, name: str, reference: str) -> str | None:
        """The digest that clients get, None where there is nothing."""
        answer = await self.composed.manifest(name, reference)
        return str(answer.headers["docker-content-digest"]) if answer.status_code == 200 else None


@asynccontextmanager
async def bundles_house(folder: Path) -> AsyncIterator[BundlesHouse]:
    """Nobody is asked for anything: what is not held is not there."""
    async with composed(folder, "egress: {mode: offline}\n") as house:
        noted: list[tuple[str, str, str]] = []

        async def note(actor: str, action: str, subject: str, detail: str = "") -> None:
            noted.append((actor, action, subject))

        gateway = house.gateway
        jobs, importer = caretaker.job_desk(gateway), caretaker.importer(gateway)
        bundles = BundleDesk(
            selector=caretaker.selector(gateway),
            exporter=caretaker.exporter(gateway),
            importer=importer,
            key=importer.key,
            jobs=jobs,
            note=note,
        )
        now, drawer = gateway.clock.now, Drawer("test", gateway.clock.now)
        pages = BundlePages(
            bundles=bundles,
            lists=lambda: ["the platform"],
            is_read_only=False,
            own_hosts=gateway.own_hosts,
            now=now,
            drawer=drawer,
        )
        async with open_desk(
            endpoints=bundles_api.operations(bundles, gateway.own_hosts, now),
            pages=pages.pages(),
            drawer=drawer,
        ) as desk:
            try:
                yield BundlesHouse(desk, house, bundles, jobs, noted)
            finally:
                await jobs.close()
