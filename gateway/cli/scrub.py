"""``gateway scrub``: hash all that is stored, and fetch again what is damaged."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from gateway.caretaker import scrubber
from gateway.cli.options import as_json, as_size, open_gateway, with_settings
from gateway.scrub import Scrubbed, Tell
from gateway.settings import Settings


@click.command("scrub")
@click.option(
    "--rate", metavar="SIZE", callback=as_size, help="hash at most so much in a second, such as 100M"
)
@click.option("--fetch-missing", is_flag=True, help="fetch what was evicted, or got lost, again too")
@as_json
@with_settings
def command(settings: Settings, rate: int | None, fetch_missing: bool, is_json: bool) -> None:
    """Hash all that is stored; put what is damaged into quarantine, and fetch it again.

    Runs beside a server. Exits with 1 where something that is needed stays damaged.
    """
    with _shown(Console(stderr=True)) as tell:
        scrubbed = asyncio.run(_scrub(settings, rate, tell, fetches_missing=fetch_missing))
    if is_json:
        click.echo(json.dumps(asdict(scrubbed), indent=2))
    else:
        _tell(scrubbed, is_offline=settings.offline)
    sys.exit(1 if scrubbed.unhealed else 0)


async def _scrub(settings: Settings, rate: int | None, tell: Tell, *, fetches_missing: bool) -> Scrubbed:
    async with open_gateway(settings) as gateway:
        return await scrubber(gateway).scrub(rate, tell, fetches_missing=fetches_missing)


@contextmanager
def _shown(console: Console) -> Iterator[Tell]:
    """A bar on a terminal, nothing elsewhere."""
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("hashing", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)


def _tell(scrubbed: Scrubbed, *, is_offline: bool) -> None:
    size = decimal(scrubbed.size_bytes)
    click.echo(f"Checked: {scrubbed.files} files and {scrubbed.manifests} manifests, {size}")
    click.echo(f"Damaged: {len(scrubbed.damaged)}{_what_became(scrubbed)}")
    for one in scrubbed.unhealed:
        click.echo(f"  {one.digest} ({', '.join(one.names)}): {one.reason}")
    if scrubbed.unhealed and is_offline:
        click.echo("  offline: nothing was fetched")
    if scrubbed.unnamed_files:
        click.echo(
            f"Unnamed: {scrubbed.unnamed_files} files that nothing in the catalog names: see gateway gc"
        )
    missing = f"{scrubbed.missing_layers} layers, {scrubbed.missing_others} other blobs"
    click.echo(f"Missing: {missing}; fetched when they are asked for")
    if scrubbed.fetched:
        click.echo(f"Fetched: {scrubbed.fetched} of those that were missing")


def _what_became(scrubbed: Scrubbed) -> str:
    counts = {
        "healed": scrubbed.healed,
        "not healed": len(scrubbed.unhealed),
        "needed by nothing": scrubbed.unneeded,
    }
    told = [f"{count} {what}" for what, count in counts.items() if count]
    return f" ({', '.join(told)})" if told else ""
