"""What one worker does for all of its data directory: rules file, copies, eviction, checks."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from gateway.actions import Actions
from gateway.app import Gateway, version
from gateway.audit import Note
from gateway.bundle_export import Exporter
from gateway.bundle_import import Importer
from gateway.bundle_rules import RulesImport
from gateway.bundle_selection import Selector
from gateway.bundle_staging import KEPT_SECONDS, sweep_staging
from gateway.chart_needs import FORM, ChartReader
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
from gateway.store.blob_places import Places as BlobPlaces
from gateway.store.bundle_rows import BundleRows
from gateway.store.disk import in_thread
from gateway.store.fallbacks import RESERVE_SECONDS
from gateway.store.held_whole import HeldWhole
from gateway.store.import_rows import ImportBook
from gateway.store.job_book import JobBook
from gateway.store.needs_book import NeedsBook
from gateway.store.pins import PinBook
from gateway.store.purge_rows import PurgeBook
from gateway.store.retention import RetentionBook
from gateway.store.sync_runs import SyncRuns
from gateway.sync_schedule import SyncSchedule
from gateway.sync_work import Syncer, SyncParts
from gateway.upkeep import Job, Upkeep
from gateway.wholes import Wholes

_LOOK_FOR_LEFTOVERS_SECONDS = 3600.0
_SETTLED_SECONDS = 60.0  # after a start, clients come first


async def take_care(gateway: Gateway) -> None:
    """Go on until it is cancelled."""
    watcher = Watcher(gateway.desk, gateway.instance_id, gateway.switch.in_force.file)
    async with asyncio.TaskGroup() as group:
        group.create_task(watcher.run())
        group.create_task(Upkeep(_jobs(gateway)).run())
        group.create_task(sync_schedule(gateway).run())


def _jobs(gateway: Gateway) -> Sequence[Job]:
    quota_bytes = gateway.settings.max_cache_size_bytes
    collect = partial(collect_on_schedule, collector(gateway), gateway.storage.conditions, quota_bytes)
    scrub = partial(scrub_when_due, scrubber(gateway), gateway.storage.data_dir.root / "scrubbed", time.time)
    jobs = [Job("gc", GC_SECONDS, collect, _SETTLED_SECONDS), Job("scrub", LOOK_SECONDS, scrub)]
    jobs.append(Job("activity", PRUNE_SECONDS, partial(_forget_activity, gateway), _SETTLED_SECONDS))
    jobs.append(Job("reserve", RESERVE_SECONDS, gateway.storage.fallbacks.make_reserve, first_seconds=1.0))
    sweep = partial(_sweep_staging, gateway)
    jobs.append(Job("import_leftovers", _LOOK_FOR_LEFTOVERS_SECONDS, sweep, _SETTLED_SECONDS))
    copies = gateway.storage.data_dir.open_copies()
    if copies is not None:
        jobs.append(Job("catalog_copy", COPY_SECONDS, copies.keep_up, _SETTLED_SECONDS))
    return jobs


async def _sweep_staging(gateway: Gateway) -> None:
    """What an import that was killed left, and no other one went on from."""
    before = gateway.clock.now() - KEPT_SECONDS
    await in_thread(sweep_staging, gateway.storage.data_dir.blobs, before)


async def _forget_activity(gateway: Gateway) -> None:
    """What is too old, or too much."""
    book = ActivityBook(gateway.storage.engines)
    await book.prune(gateway.instance_id, gateway.clock.now())


def collector(gateway: Gateway) -> Collector:
    """Collects garbage; one that is kept remembers what upstream has no more."""
    data_dir, switch = gateway.storage.data_dir, gateway.switch
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
            switch.rule_set,
            partial(is_still_there, gateway.sources.http),
        ),
        is_offline=partial(is_offline, gateway),
        now=time.time,
    )


def is_offline(gateway: Gateway) -> bool:
    """Whether nobody is asked, by the settings or by the rules in force."""
    by_rules = gateway.switch.in_force.rule_set.egress.mode is EgressMode.OFFLINE
    return gateway.settings.offline or by_rules


def sync_runs(gateway: Gateway) -> SyncRuns:
    return SyncRuns(gateway.desk.engines, gateway.clock.now)


def syncer(gateway: Gateway) -> Syncer:
    """One for each process: it opens locks of its own."""
    return Syncer(sync_parts(gateway))


def sync_parts(gateway: Gateway) -> SyncParts:
    puller, storage = gateway.operator, gateway.storage
    copies = storage.data_dir.open_copies()
    return SyncParts(
        puller=puller,
        wholes=Wholes(puller, storage.catalog, storage.blobs, gateway.clock.now),
        charts=ChartReader(puller, NeedsBook(storage.engines, FORM)),
        names=gateway.names,
        catalog=storage.catalog,
        held_whole=HeldWhole(storage.fallbacks.rows, storage.disk.use),
        sources=gateway.sources.by_name,
        book=RetentionBook(gateway.desk.engines),
        runs=sync_runs(gateway),
        purger=purger(gateway),
        locks=storage.data_dir.open_locks(),
        conditions=storage.conditions,
        is_offline=partial(is_offline, gateway),
        now=gateway.clock.now,
        sleep=gateway.clock.sleep,
        copy=None if copies is None else copies.make,
    )


def sync_schedule(gateway: Gateway) -> SyncSchedule:
    return SyncSchedule(
        lambda: gateway.switch.rule_set().sync,
        syncer(gateway),
        sync_runs(gateway),
        partial(is_offline, gateway),
        gateway.clock.now,
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


def selector(gateway: Gateway) -> Selector:
    """Says what goes into a bundle; what it looks at counts as used."""
    return Selector(
        rows=BundleRows(gateway.storage.engines),
        retained=RetentionBook(gateway.desk.engines),
        places=BlobPlaces(gateway.storage.data_dir.blobs),
        puller=gateway.operator,
    )


def exporter(gateway: Gateway) -> Exporter:
    return Exporter(
        rows=BundleRows(gateway.storage.engines),
        open_blob=BlobPlaces(gateway.storage.data_dir.blobs).open,
        rules=partial(_rules_text, gateway),
        version=version(),
    )


def _rules_text(gateway: Gateway) -> bytes | None:
    """Of the rules in force: a revision, or a file that no server took in yet."""
    number = gateway.switch.in_force.revision
    revision = gateway.desk.find(number) if number else None
    return gateway.desk.read_file() if revision is None else revision.content


def importer(gateway: Gateway) -> Importer:
    """Its rows are written as the rules are: what was imported stays."""
    data_dir = gateway.storage.data_dir
    copies = data_dir.open_copies()
    return Importer(
        root=data_dir.blobs,
        blobs=gateway.storage.disk,
        engines=gateway.desk.engines,
        book=ImportBook(gateway.desk.engines, gateway.storage.generation),
        rules=RulesImport(gateway.desk, gateway.clock.now),
        key=data_dir.root / "import-key.pem",
        max_blob_bytes=gateway.settings.max_blob_size_bytes,
        copy=None if copies is None else copies.make,
        now=gateway.clock.now,
    )


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
