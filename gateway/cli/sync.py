"""``gateway sync``: mirror lists brought up to date now, or what that would do."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final, Protocol

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column, Table

from gateway.app import Gateway
from gateway.caretaker import sync_runs, syncer
from gateway.cli.options import as_json, open_gateway, with_settings
from gateway.oci.errors import OciError
from gateway.oci.urls import HttpUrl
from gateway.rules.spelling import nearest
from gateway.rules.sync_lists import SyncList
from gateway.settings import Settings
from gateway.store.blobs import StorageFailed
from gateway.sync_plan import SyncFailure, SyncPlan, SyncProgress, SyncReport, asker_of
from gateway.sync_work import SyncRunning

_ACTOR: Final = "command line"
_MOST_BARS: Final = 16


@click.command("sync")
@click.argument("names", metavar="[NAME]…", nargs=-1)
@click.option("--dry-run", "is_dry", is_flag=True, help="tell what would be fetched and removed, with sizes")
@as_json
@with_settings
def command(settings: Settings, names: tuple[str, ...], is_dry: bool, is_json: bool) -> None:
    """Bring mirror lists up to date: those of `sync:` in the rules that are named, or all.

    What is held is not fetched again, so a run that was broken off goes on. With --dry-run nothing is
    fetched, but for charts whose dependencies or images a list wants: they are read, and are in the cache
    then as after any pull. Exits with 1 where something could not be had.
    """
    if is_dry:
        plans = asyncio.run(_plan(settings, names))
        if is_json:
            click.echo(json.dumps([_plan_facts(plan) for plan in plans], indent=2))
        else:
            _show_plans(plans)
        sys.exit(1 if any(plan.failures for plan in plans) else 0)
    with _watched(Console(stderr=True)) as watch:
        reports = asyncio.run(_sync(settings, names, watch))
    if is_json:
        click.echo(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        _show_reports(reports)
    sys.exit(1 if any(report.is_failure for report in reports) else 0)


async def _plan(settings: Settings, names: Sequence[str]) -> list[SyncPlan]:
    async with open_gateway(settings) as gateway:
        planning, plans = syncer(gateway), []
        for wanted in _chosen(gateway, names):
            try:
                plans.append(await planning.plan(wanted))
            except (OciError, StorageFailed) as error:  # the other lists are told of too
                plans.append(SyncPlan(wanted.name, [], [], [], [SyncFailure(wanted.name, str(error))]))
        return plans


async def _sync(settings: Settings, names: Sequence[str], watch: "_Watch") -> list[SyncReport]:
    async with open_gateway(settings, watch.transfer) as gateway:
        lists, syncing = _chosen(gateway, names), syncer(gateway)
        if not names:
            await sync_runs(gateway).forget_others([one.name for one in lists])
        reports = []
        for wanted in lists:
            watch.begin(wanted.name)
            try:
                reports.append(await syncing.run(wanted, _ACTOR, watch.tell))
            except (SyncRunning, OciError, StorageFailed) as error:
                failure = SyncFailure(wanted.name, str(error))
                reports.append(SyncReport(wanted.name, 0, 0, 0, 1, 0, 0.0, [failure]))
        return reports


def _chosen(gateway: Gateway, names: Sequence[str]) -> Sequence[SyncList]:
    lists = {one.name: one for one in gateway.switch.in_force.rule_set.sync}
    for name in names:
        if name not in lists:
            near = nearest(name, lists)
            hint = f": did you mean {near!r}?" if near else f": there are {', '.join(lists) or 'none'}"
            raise click.UsageError(f"no list under `sync:` in the rules is called {name!r}{hint}")
    if not lists:
        click.echo("there is no mirror list: `sync:` in the rules would name some", err=True)
    return [lists[name] for name in dict.fromkeys(names or lists)]


class _Watch(Protocol):
    """Is told how a run goes on, and of each transfer."""

    def begin(self, name: str) -> None: ...

    def tell(self, told: SyncProgress) -> None: ...

    def transfer(self, url: HttpUrl, received_bytes: int, total_bytes: int | None) -> None: ...


class _Lines:
    """A line for each thing that is done."""

    def begin(self, name: str) -> None:
        click.echo(f"{name}: asking what there is", err=True)

    def tell(self, told: SyncProgress) -> None:
        if told.message and told.total:
            click.echo(f"{told.done} of {told.total}  {told.message}", err=True)

    def transfer(self, url: HttpUrl, received_bytes: int, total_bytes: int | None) -> None:
        """Of thousands nobody would read it."""


class _Bars:
    """A bar for each list, and one for each transfer while it runs."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._list: TaskID | None = None
        self._transfers: dict[HttpUrl, TaskID] = {}

    def begin(self, name: str) -> None:
        self._list = self._progress.add_task(name, total=None, far="")

    def tell(self, told: SyncProgress) -> None:
        if self._list is not None:
            far = f"{told.done} of {told.total}, {decimal(told.size_bytes)}" if told.total else told.message
            self._progress.update(self._list, completed=told.done, total=told.total or None, far=far)

    def transfer(self, url: HttpUrl, received_bytes: int, total_bytes: int | None) -> None:
        if url not in self._transfers:
            if len(self._transfers) >= _MOST_BARS:  # of some it is not known when they end
                self._end(next(iter(self._transfers)))
            name = url.path.rpartition("/")[2][:40]
            self._transfers[url] = self._progress.add_task(f"  {name}", total=total_bytes, far="")
        self._progress.update(self._transfers[url], completed=received_bytes, far=decimal(received_bytes))
        if received_bytes == total_bytes:
            self._end(url)

    def _end(self, url: HttpUrl) -> None:
        self._progress.remove_task(self._transfers.pop(url))


@contextmanager
def _watched(console: Console) -> Iterator[_Watch]:
    if not console.is_terminal:
        yield _Lines()
        return
    name = TextColumn("{task.description}", markup=False)  # it is the upstream's text
    far = TextColumn("{task.fields[far]}", markup=False)
    with Progress(name, BarColumn(), far, console=console) as progress:
        yield _Bars(progress)


def _show_reports(reports: Sequence[SyncReport]) -> None:
    """The table goes where a person reads it; elsewhere lines of the same."""
    for report in reports:
        for failure in report.failures:
            click.echo(f"failed: {failure.what}: {failure.reason}")
        for remark in report.remarks:
            click.echo(f"remark: {remark}")
    if not Console().is_terminal:
        for report in reports:
            counts = f"{report.fetched} fetched, {report.held} held, {report.removed} removed"
            size = f"{decimal(report.size_bytes)} in {report.seconds:.1f} s"
            click.echo(f"{report.name}: {counts}, {report.failed} failed; {size}")
        return
    table = Table(
        "LIST", *(_number(name) for name in ("FETCHED", "HELD", "REMOVED", "FAILED", "SIZE", "SECONDS"))
    )
    for report in reports:
        numbers = (report.fetched, report.held, report.removed, report.failed)
        table.add_row(report.name, *map(str, numbers), decimal(report.size_bytes), f"{report.seconds:.1f}")
    Console().print(table)


def _number(name: str) -> Column:
    return Column(name, justify="right")


def _show_plans(plans: Sequence[SyncPlan]) -> None:
    for plan in plans:
        for item in plan.fetched:
            by = asker_of(item.name, item.wanted_by)
            why = f"  (for {by})" if by else ""
            click.echo(f"would fetch: {item.location}  {_size(item.size_bytes)}{why}")
        for one in plan.removals:
            click.echo(f"would remove: {one}")
        for failure in plan.failures:
            click.echo(f"failed: {failure.what}: {failure.reason}")
        for remark in plan.remarks:
            click.echo(f"remark: {remark}")
        unsaid = sum(item.size_bytes is None for item in plan.fetched)
        size = f"{decimal(plan.size_bytes)}{f' and {unsaid} of unknown size' if unsaid else ''}"
        fetched, held = len(plan.fetched), len(plan.items) - len(plan.fetched)
        failed = f", {len(plan.failures)} failed" if plan.failures else ""
        counts = f"{fetched} to fetch ({size}), {held} held, {len(plan.removals)} to remove{failed}"
        click.echo(f"{plan.name}: {counts}")


def _size(size_bytes: int | None) -> str:
    return "unknown size" if size_bytes is None else decimal(size_bytes)


def _plan_facts(plan: SyncPlan) -> dict[str, object]:
    return {**asdict(plan), "size_bytes": plan.size_bytes}
