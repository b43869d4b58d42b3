"""The composition root of the admin desk: a gateway's parts become the application of the admin listener."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from starlette.types import ASGIApp

from gateway.access.throttle import Throttle
from gateway.actions import Actions
from gateway.activity import ActivityDesk
from gateway.activity_seen import SettingShown
from gateway.app import Gateway, following, rules_told, version
from gateway.audit import AuditDesk, Note
from gateway.bundle_desk import BundleDesk
from gateway.caretaker import actions, exporter, importer, job_desk, selector, sync_runs, syncer
from gateway.catalog_desk import CatalogDesk
from gateway.jobs import JobDesk
from gateway.logs import access_log
from gateway.rule_editing import RuleEditor
from gateway.rule_trials import Trials
from gateway.settings_shown import settings_shown
from gateway.settings_values import RulesEditedIn
from gateway.sign_in import FirstLink, SignIn, TokenDesk
from gateway.sources.transports import Transports, verify_guard
from gateway.storage_use import Places as StoragePlaces
from gateway.storage_use import StorageDesk
from gateway.store.activity_book import ActivityBook
from gateway.store.admin_book import AdminBook
from gateway.store.admin_link import LinkFile
from gateway.store.blobs import StorageFailed
from gateway.store.catalog_search import CatalogSearch
from gateway.store.retention import RetentionBook
from gateway.sync_desk import SyncDesk
from gateway.upstream_states import UpstreamDesk
from gateway.web.admin import (
    access_api,
    access_pages,
    actions_api,
    actions_pages,
    activity_api,
    bundles_api,
    catalog_api,
    mirror_pages,
    rules_api,
    rules_pages,
    standing_api,
    sync_api,
)
from gateway.web.admin.app import Desk, admin_app
from gateway.web.admin.bundles_pages import BundlePages
from gateway.web.admin.catalog_commands import Front
from gateway.web.admin.catalog_pages import CatalogPages
from gateway.web.admin.door import SessionDoor
from gateway.web.admin.events_pages import EventPages
from gateway.web.admin.operations import Endpoint
from gateway.web.admin.overview_pages import Overview
from gateway.web.admin.pages import Drawer, Page
from gateway.web.admin.settings_pages import SettingsPage
from gateway.web.admin.storage_pages import StoragePages
from gateway.web.admin.sync_pages import SyncPages
from gateway.web.admin.upstreams_pages import UpstreamPages
from gateway.web.forwarded import ClientOf
from gateway.web.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Desks:
    """What the API and the pages are about, put together once."""

    tokens: TokenDesk
    audit: AuditDesk
    rules: RuleEditor
    catalog: CatalogDesk
    activity: ActivityDesk
    actions: Actions
    jobs: JobDesk
    sync: SyncDesk
    bundles: BundleDesk
    settings: Sequence[SettingShown]


@dataclass(frozen=True, slots=True)
class Places:
    """Where somebody on this machine reaches the desk (host and port), and the registry."""

    desk: str
    registry: str


def create_admin(gateway: Gateway, places: Places) -> ASGIApp:
    """The desk of a gateway that was composed for it alone, in a process of its own."""
    drawer, desks = Drawer(version(), gateway.clock.now), open_desks(gateway)
    drawer.prepare()
    door, now = _door(gateway, drawer), gateway.clock.now
    metrics = Metrics(
        desks.activity, version(), lambda: rules_told(gateway.switch.in_force), desks.sync.lists, now
    )
    desk = Desk(
        version(),
        door,
        _endpoints(gateway, desks),
        _pages(gateway, desks, drawer, places),
        (metrics.route(door),),
        lambda: _running(gateway, desks, places),
        drawer.error_page,
    )
    return admin_app(desk, access_log(gateway.settings.log_level, gateway.settings.log_format))


def open_desks(gateway: Gateway) -> Desks:
    book, now = _book(gateway), gateway.clock.now
    audit, jobs = AuditDesk(book, now), job_desk(gateway)
    return Desks(
        tokens=TokenDesk(book, now),
        audit=audit,
        rules=_rule_editor(gateway, audit),
        catalog=CatalogDesk(
            gateway.storage.catalog,
            CatalogSearch(gateway.storage.engines),
            gateway.storage.blobs,
            gateway.own_hosts,
        ),
        activity=_activity(gateway),
        actions=actions(gateway, jobs, audit.note),
        jobs=jobs,
        sync=_sync(gateway, jobs, audit.note),
        bundles=_bundles(gateway, jobs, audit.note),
        settings=settings_shown(gateway.settings),
    )


def _activity(gateway: Gateway) -> ActivityDesk:
    storage, data_dir, clock = gateway.storage, gateway.storage.data_dir, gateway.clock
    book = ActivityBook(storage.engines)
    upstreams = UpstreamDesk(
        book,
        gateway.sources.check,
        gateway.instance_id,
        gateway.switch.rule_set,
        clock.now,
    )
    catalog = data_dir.catalog if data_dir.server is None else None
    places = StoragePlaces(data_dir.root, data_dir.blobs / "quarantine", catalog, storage.disk)
    quota_bytes = gateway.settings.max_cache_size_bytes
    counted = StorageDesk(places, storage.engines, quota_bytes, clock.now, clock.monotonic)
    return ActivityDesk(book, upstreams, counted, clock.now)


def _sync(gateway: Gateway, jobs: JobDesk, note: Note) -> SyncDesk:
    return SyncDesk(
        rules=gateway.switch.rule_set,
        syncer=syncer(gateway),
        runs=sync_runs(gateway),
        kept=RetentionBook(gateway.desk.engines),
        jobs=jobs,
        note=note,
        now=gateway.clock.now,
    )


def _bundles(gateway: Gateway, jobs: JobDesk, note: Note) -> BundleDesk:
    taking = importer(gateway)
    return BundleDesk(
        selector=selector(gateway),
        exporter=exporter(gateway),
        importer=taking,
        key=taking.key,
        jobs=jobs,
        note=note,
    )


def _rule_editor(gateway: Gateway, audit: AuditDesk) -> RuleEditor:
    trials = Trials(
        names=gateway.storage.engines, explainer=lambda: gateway.explainer, own_hosts=gateway.own_hosts
    )
    return RuleEditor(
        gateway.desk,
        trials,
        audit.note,
        is_read_only=gateway.settings.rules_edited_in is RulesEditedIn.FILE,
        trouble=lambda: gateway.switch.in_force.trouble,
        now=gateway.clock.now,
    )


def _endpoints(gateway: Gateway, desks: Desks) -> list[Endpoint]:
    return [
        *access_api.operations(desks.tokens, desks.audit),
        *rules_api.operations(desks.rules, desks.activity),
        *catalog_api.operations(desks.catalog),
        *activity_api.operations(desks.activity),
        *standing_api.operations(desks.activity, desks.settings),
        *actions_api.operations(desks.actions),
        *sync_api.operations(desks.sync),
        *bundles_api.operations(desks.bundles, gateway.own_hosts, gateway.clock.now),
    ]


def _pages(gateway: Gateway, desks: Desks, drawer: Drawer, places: Places) -> list[Page]:
    now, front, activity = gateway.clock.now, _front(gateway, places), desks.activity
    has_admin_token = gateway.settings.admin_token is not None
    overview = Overview(
        activity,
        lambda: gateway.switch.in_force.trouble,
        front,
        desks.tokens.list_all,
        has_admin_token,
        now,
        drawer,
    )
    return [
        *overview.pages(),
        *rules_pages.pages(desks.rules, drawer, activity.rule_hits, front),
        *CatalogPages(desks.catalog, activity.storage, front, drawer).pages(),
        *UpstreamPages(activity, now, drawer).pages(),
        *mirror_pages.pages(desks.actions, desks.sync, drawer),
        *SyncPages(desks.sync, drawer).pages(),
        *_bundle_pages(gateway, desks, drawer).pages(),
        *actions_pages.pages(desks.actions, drawer),
        *EventPages(activity, drawer).pages(),
        *StoragePages(activity, desks.actions.pinned, drawer).pages(),
        *SettingsPage(desks.settings, drawer).pages(),
        *access_pages.pages(desks.tokens, desks.audit, drawer),
    ]


def _bundle_pages(gateway: Gateway, desks: Desks, drawer: Drawer) -> BundlePages:
    return BundlePages(
        bundles=desks.bundles,
        lists=lambda: [one.name for one in gateway.switch.rule_set().sync],
        is_read_only=gateway.settings.rules_edited_in is RulesEditedIn.FILE,
        own_hosts=gateway.own_hosts,
        now=gateway.clock.now,
        drawer=drawer,
    )


def _front(gateway: Gateway, places: Places) -> Front:
    url = gateway.settings.public_url
    return (
        Front(places.registry, is_plain=True) if url is None else Front(url.authority, url.scheme == "http")
    )


@asynccontextmanager
async def _running(gateway: Gateway, desks: Desks, places: Places) -> AsyncIterator[None]:
    async def beside() -> None:
        with suppress(StorageFailed):
            await desks.activity.storage()  # counted before the first page asks
        await first_link.tend(f"http://{places.desk}", gateway.clock.sleep)

    await verify_guard(Transports())
    await gateway.sources.http.prepare()
    first_link = _first_link(gateway)
    async with following(gateway, beside):
        yield
        await desks.jobs.close()
    await gateway.close()


def _door(gateway: Gateway, drawer: Drawer) -> SessionDoor:
    sign_in = SignIn(_book(gateway), gateway.settings.admin_token, gateway.clock.now)
    clients = ClientOf(gateway.settings.trusted_proxies)
    return SessionDoor(sign_in, Throttle(gateway.clock.monotonic), clients, drawer)


def _first_link(gateway: Gateway) -> FirstLink:
    return FirstLink(
        _book(gateway),
        LinkFile(gateway.storage.data_dir.root / "admin-link"),
        gateway.instance_id,
        gateway.clock.now,
        has_admin_token=gateway.settings.admin_token is not None,
    )


def _book(gateway: Gateway) -> AdminBook:
    return AdminBook(gateway.desk.engines)
