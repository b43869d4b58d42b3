"""The admin API of how things stand: upstreams, the storage, the settings."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from gateway.access.roles import Role
from gateway.activity import ActivityDesk
from gateway.activity_seen import SettingShown, SettingSource, StorageUse, UpstreamHealth, UpstreamState
from gateway.sources.upstream_check import CheckResult
from gateway.web.admin.operations import Call, Endpoint, Nothing, Operation, Reply
from gateway.web.admin.pages import iso_time

_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
Place = Annotated[str, msgspec.Meta(max_length=240, pattern=rf"^{_PART}(:[1-9][0-9]{{0,4}})?(/{_PART})*$")]


class UpstreamFacts(msgspec.Struct, frozen=True):
    """An origin as all workers know it; ``keys`` are the upstreams of the rules that are there."""

    origin: str
    host: str
    keys: Sequence[str]
    state: UpstreamHealth
    paused_seconds: int
    is_rate_limited: bool
    running: int
    waiting: int
    requests: int
    failures: int
    last_error: str | None
    last_error_at: str | None
    last_ok_at: str | None
    workers: int
    noted_at: str | None


class UpstreamList(msgspec.Struct, frozen=True):
    """The worst first."""

    upstreams: Sequence[UpstreamFacts]


class UpstreamTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``host[:port][/path]``, as a key of ``upstreams`` or the start of a name: no URL."""

    upstream: Place


class UpstreamTested(msgspec.Struct, frozen=True):
    result: CheckResult
    milliseconds: int


class TroubleFacts(msgspec.Struct, frozen=True):
    means: str
    since: str


class StorageFacts(msgspec.Struct, frozen=True):
    """``is_exact``: the files were counted; else the catalog's sum stands for them until they are."""

    blob_bytes: int
    blob_count: int
    is_exact: bool
    catalog_bytes: int | None
    quarantine_bytes: int
    dying_bytes: int
    quota_bytes: int | None
    disk_free_bytes: int
    disk_total_bytes: int
    tags: int
    manifests: int
    repositories: int
    pins: int
    counted_at: str
    troubles: Mapping[str, TroubleFacts]


class SettingFacts(msgspec.Struct, frozen=True):
    """As in force; of a secret only whether there is one."""

    name: str
    value: str
    source: SettingSource
    means: str


class SettingList(msgspec.Struct, frozen=True):
    settings: Sequence[SettingFacts]


class StandingApi:
    def __init__(self, activity: ActivityDesk, settings: Sequence[SettingShown]) -> None:
        self._activity = activity
        self._settings = settings

    async def list_upstreams(self, _call: Call[Nothing, Nothing]) -> Reply[UpstreamList]:
        return Reply(UpstreamList([_upstream(one) for one in await self._activity.upstreams()]))

    async def test_upstream(self, call: Call[Nothing, UpstreamTest]) -> Reply[UpstreamTested]:
        tested = await self._activity.test(call.body.upstream)
        return Reply(UpstreamTested(tested.result, tested.milliseconds))

    async def get_storage(self, _call: Call[Nothing, Nothing]) -> Reply[StorageFacts]:
        return Reply(_storage(await self._activity.storage()))

    async def list_settings(self, _call: Call[Nothing, Nothing]) -> Reply[SettingList]:
        shown = [SettingFacts(one.name, one.value, one.source, one.means) for one in self._settings]
        return Reply(SettingList(shown))


def operations(activity: ActivityDesk, settings: Sequence[SettingShown]) -> list[Endpoint]:
    api = StandingApi(activity, settings)
    return [
        Operation(
            "GET",
            "/upstreams",
            "upstreams",
            "How upstreams are: their health, pauses, rate limits, last errors",
            api.list_upstreams,
            query=Nothing,
            body=Nothing,
            value=UpstreamList,
        ),
        Operation(
            "POST",
            "/upstreams/test",
            "upstreams",
            "Ask an upstream as a pull would; the answer is one word",
            api.test_upstream,
            query=Nothing,
            body=UpstreamTest,
            value=UpstreamTested,
            role=Role.EDITOR,
        ),
        Operation(
            "GET",
            "/storage",
            "storage",
            "What the cache takes, and how much room is left",
            api.get_storage,
            query=Nothing,
            body=Nothing,
            value=StorageFacts,
        ),
        Operation(
            "GET",
            "/settings",
            "settings",
            "The settings in force, secrets left out",
            api.list_settings,
            query=Nothing,
            body=Nothing,
            value=SettingList,
        ),
    ]


def _upstream(one: UpstreamState) -> UpstreamFacts:
    return UpstreamFacts(
        origin=one.origin,
        host=one.host,
        keys=one.keys,
        state=one.state,
        paused_seconds=one.paused_seconds,
        is_rate_limited=one.is_rate_limited,
        running=one.running,
        waiting=one.waiting,
        requests=one.requests,
        failures=one.failures,
        last_error=one.last_error,
        last_error_at=_time(one.last_error_at),
        last_ok_at=_time(one.last_ok_at),
        workers=one.workers,
        noted_at=_time(one.noted_at or None),
    )


def _storage(use: StorageUse) -> StorageFacts:
    troubles = {name: TroubleFacts(one.means, iso_time(one.since)) for name, one in use.troubles.items()}
    return StorageFacts(
        blob_bytes=use.blob_bytes,
        blob_count=use.blob_count,
        is_exact=use.is_exact,
        catalog_bytes=use.catalog_bytes,
        quarantine_bytes=use.quarantine_bytes,
        dying_bytes=use.dying_bytes,
        quota_bytes=use.quota_bytes,
        disk_free_bytes=use.disk_free_bytes,
        disk_total_bytes=use.disk_total_bytes,
        tags=use.tags,
        manifests=use.manifests,
        repositories=use.repositories,
        pins=use.pins,
        counted_at=iso_time(use.counted_at),
        troubles=troubles,
    )


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else iso_time(seconds)
