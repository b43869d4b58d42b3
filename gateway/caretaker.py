"""What one worker does for all of its data directory: rules file, copies, eviction, checks."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from gateway.actions import Actions
from gateway.app import Gateway
from gateway.audit import Note
from gateway.gc import EVERY_SECONDS as GC_SECONDS
from gateway.gc import Collector, Place, collect_on_schedule
from gateway.healing import Healer
from gateway.held_upstream import HeldUpstream
from gateway.jobs import JobDesk
from gateway.pins import PinDesk
from gateway.pull_whole import WholePuller
from gateway.purge import Purger
from gateway.refresh import Refresher
from gateway.rule_following import Watcher
from gateway.rules.model import EgressMode
from gateway.scrub import LOOK_SECONDS, Scrubber, scrub_when_due
from gateway.sources.still_there import is_still_there
from gateway.store.activity_book import PRUNE_SECONDS, ActivityBook
from gateway.store.backups import COPY_SECONDS
from gateway.store.fallbacks import RESERVE_SECONDS
from gateway.store.job_book import JobBook
from gateway.store.pins import PinBook
from gateway.store.purge_rows import PurgeBook
from gateway.upkeep import Job, Upkeep

_SETTLED_SECONDS = 60.0  # after a start, clients come first


async def take_care(gateway: Gateway) -> None:
    """Go on until it is cancelled."""
    watcher = Watcher(gateway.desk, gateway.instance_id, gateway.switch.in_force.file)
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.run())
        group.create_task(Upkeep(_jobs(gateway)).run())


def _jobs(gateway: Gateway) -> Sequence[Job]:
    quota_bytes = gateway.settings.max_cache_size_bytes
    collect = partial(collect_on_schedule, collector(gateway), gateway.storage.conditions, quota_bytes)
    scrub = partial(scrub_when_due, scrubber(gateway), gateway.storage.data_dir.root / "scrubbed", time.time)
    jobs = [Job("gc", GC_SECONDS, collect, _SETTLED_SECONDS), Job("scrub", LOOK_SECONDS, scrub)]
    jobs.append(Job("activity", PRUNE_SECONDS, partial(_forget_activity, gateway), _SETTLED_SECONDS))
    jobs.append(Job("reserve", RESERVE_SECONDS, gateway.storage.fallbacks.make_reserve, first_seconds=1.0))
    copies = gateway.storage.data_dir.open_copies()
    if copies is not None:
        jobs.append(Job("catalog_copy", COPY_SECONDS, copies.keep_up, _SETTLED_SECONDS))
    return jobs


async def _forget_activity(gateway: Gateway) -> None:
    """What is too old, or too much."""
    book = ActivityBook(gateway.storage.engines)
    await book.prune(gateway.instance_id, gateway.clock.now())


def collector(gateway: Gateway) -> Collector:
    """Collects garbage; one that is kept remembers what upstream has no more."""
    data_dir, switch = gateway.storage.data_dir, gateway.switch

    def is_offline() -> bool:
        return gateway.settings.offline or switch.in_force.rule_set.egress.mode is EgressMode.OFFLINE

    return Collector(
        place=Place(
            root=data_dir.root,
            blobs=data_dir.blobs,
            catalog=data_dir.catalog if data_dir.server is None else None,
            database=data_dir.database,
        ),
        blobs=gateway.storage.disk,
        catalog=gateway.storage.catalog,
        upstream=HeldUpstream(
            gateway.storage.catalog,
            gateway.storage.disk,
            gateway.sources.by_name,
            lambda: switch.in_force.rule_set,
            partial(is_still_there, gateway.sources.http),
        ),
        is_offline=is_offline,
        now=time.time,
    )


def scrubber(gateway: Gateway) -> Scrubber:
    healer = Healer(
        blobs=gateway.storage.blobs,
        catalog=gateway.storage.catalog,
        puller=gateway.puller,
        indexes=gateway.sources.helm,
    )
    return Scrubber(
        blobs=gateway.storage.disk,
        catalog=gateway.storage.catalog,
        engines=gateway.storage.engines,
        healer=healer,
    )


def refresher(gateway: Gateway) -> Refresher:
    return Refresher(gateway.puller, gateway.storage.catalog, gateway.clock.now)


def purger(gateway: Gateway) -> Purger:
    """What is told to be forgotten is: its rows are written as the rules are."""
    book = PurgeBook(gateway.desk.engines, gateway.storage.generation)
    return Purger(book, gateway.storage.catalog, gateway.storage.disk, gateway.puller.route, time.time)


def job_desk(gateway: Gateway) -> JobDesk:
    """Close it before the gateway."""
    return JobDesk(JobBook(gateway.desk.engines), gateway.clock.now, gateway.clock.sleep)


def actions(gateway: Gateway, jobs: JobDesk, note: Note) -> Actions:
    return Actions(
        refresher=refresher(gateway),
        purger=purger(gateway),
        pins=pin_desk(gateway),
        whole=WholePuller(gateway.puller),
        collect=collector(gateway).collect,
        scrub_all=scrubber(gateway).scrub,
        quota_bytes=gateway.settings.max_cache_size_bytes,
        jobs=jobs,
        note=note,
        own_hosts=gateway.own_hosts,
    )


def pin_desk(gateway: Gateway) -> PinDesk:
    """Its rows are written as the rules are: what is pinned stays pinned."""
    return PinDesk(PinBook(gateway.desk.engines), gateway.puller.route, time.time)
