"""``gateway gc``: evict down to the quota, and sweep what nothing names; also beside a running server."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click
from rich.console import Console
from rich.filesize import decimal

from gateway.app import Gateway
from gateway.caretaker import collector
from gateway.cli.options import as_json, as_size, open_gateway, with_settings
from gateway.cli.shown import iso_time, minute
from gateway.collected import WAIT_SECONDS, Kept, Order, Report
from gateway.oci.digest import short_digest
from gateway.rules.quantities import DURATION_EXPECTED, parse_duration
from gateway.settings import Settings
from gateway.store.blobs import StoredBlob

_MEANS: Mapping[Kept, str] = {
    Kept.RECENT: "used or written within the grace",
    Kept.PINNED: "pinned",
    Kept.NO_LAYER: "no layer: configs, manifests, indexes, provenance",
    Kept.NOT_UPSTREAM: "not to be had again upstream",
    Kept.OFFLINE: "offline: nobody can be asked for it again",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A blob that goes, and what people call it."""

    blob: StoredBlob
    names: Sequence[str]


def _duration(_context: click.Context, _option: click.Parameter, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise click.BadParameter(f"expected {DURATION_EXPECTED}") from None


@click.command("gc")
@click.option("--dry-run", "is_dry", is_flag=True, help="tell what would be done, and do nothing")
@click.option("--max-size", "quota_bytes", metavar="SIZE", callback=as_size, help="instead of MAX_CACHE_SIZE")
@click.option(
    "--grace",
    "grace_seconds",
    metavar="TIME",
    callback=_duration,
    default="24h",
    help="keep what was used or written for so long; what was set aside stays on the disk as long, "
    "at most an hour  [24h]",
)
@click.option(
    "--force", "is_forced", is_flag=True, help="also what is not to be had again, and whatever the fuse says"
)
@as_json
@with_settings
def command(  # noqa: PLR0917 (click hands over one argument for each option)
    settings: Settings,
    is_dry: bool,
    quota_bytes: int | None,
    grace_seconds: float,
    is_forced: bool,
    is_json: bool,
) -> None:
    """Evict layers down to the quota, least recently used first, and sweep files that nothing names.

    What goes is set aside first, and removed by a later run. Exit code 1 where more is held than allowed yet.
    """
    order = Order(
        quota_bytes=settings.max_cache_size_bytes if quota_bytes is None else quota_bytes,
        grace_seconds=grace_seconds,
        wait_seconds=min(grace_seconds, WAIT_SECONDS),
        is_forced=is_forced,
        is_dry=is_dry,
    )
    with _shown(Console(stderr=True)) as tell:
        report, evicted, swept = asyncio.run(_collect(settings, order, tell))
    if is_json:
        click.echo(json.dumps(_facts(order, report, evicted, swept), indent=2))
    else:
        click.echo("\n".join(_lines(order, report, evicted, swept)))
    sys.exit(1 if report.over_bytes or report.fuse is not None else 0)


async def _collect(
    settings: Settings, order: Order, tell: Callable[[str], None]
) -> tuple[Report, list[Listed], list[Listed]]:
    async with open_gateway(settings) as gateway:
        report = await collector(gateway).collect(order, tell)
        return report, await _named(gateway, report.evicted), await _named(gateway, report.swept)


async def _named(gateway: Gateway, blobs: Sequence[StoredBlob]) -> list[Listed]:
    return [Listed(blob, await gateway.storage.catalog.told_of(blob.digest)) for blob in blobs]


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[str], None]]:
    """How far it is, on a terminal; elsewhere the result is enough."""
    if not console.is_terminal:
        yield lambda _what: None
        return
    with console.status("") as status:
        yield status.update


def _lines(order: Order, report: Report, evicted: Sequence[Listed], swept: Sequence[Listed]) -> Iterator[str]:
    would = "would be " if order.is_dry else ""
    yield from (f"{would}evicted: {_line(listed)}" for listed in evicted)
    yield from (f"{would}swept: {_line(listed)}" for listed in swept)
    if report.removed_count:
        yield f"{would}removed: {report.removed_count} set aside before, {decimal(report.freed_bytes)}"
    if report.put_back_count:
        yield f"{would}put back: {report.put_back_count} that are wanted after all"
    yield from (f"kept: {count} {_MEANS[why]}" for why, count in sorted(report.kept.items()) if count)
    then = "then" if order.is_dry else "now"
    yield f"on the disk: {decimal(report.bytes_before)} before, {decimal(report.bytes_after)} {then}"
    yield from _remarks(order, report)


def _remarks(order: Order, report: Report) -> Iterator[str]:
    if report.waiting_bytes:
        wait = f"{order.wait_seconds / 60:g} min" if order.wait_seconds >= 60 else f"{order.wait_seconds:g} s"
        yield f"set aside: {decimal(report.waiting_bytes)}, to be removed by a run at least {wait} later"
    if report.fuse is not None:
        yield f"nothing was swept: {report.fuse}; --force does it all the same"
    if report.over_bytes:
        yield f"{decimal(report.over_bytes)} above the quota: nothing else may be evicted without --force"


def _line(listed: Listed) -> str:
    blob = listed.blob
    names = ", ".join(listed.names) or "(named by nothing)"
    size, used = decimal(blob.size_bytes), minute(blob.used_at)
    return f"{names}  {short_digest(blob.digest)}  {size}  last used {used} UTC"


def _facts(
    order: Order, report: Report, evicted: Sequence[Listed], swept: Sequence[Listed]
) -> dict[str, object]:
    return {
        "dry_run": order.is_dry,
        "quota_bytes": order.quota_bytes,
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "waiting_bytes": report.waiting_bytes,
        "over_bytes": report.over_bytes,
        "evicted": [_fact(listed) for listed in evicted],
        "swept": [_fact(listed) for listed in swept],
        "removed": {"count": report.removed_count, "bytes": report.freed_bytes},
        "put_back": report.put_back_count,
        "kept": {why.value: report.kept[why] for why in Kept},
        "fuse": report.fuse,
    }


def _fact(listed: Listed) -> dict[str, object]:
    blob = listed.blob
    return {
        "names": list(listed.names),
        "digest": str(blob.digest),
        "size_bytes": blob.size_bytes,
        "used_at": iso_time(blob.used_at),
    }
