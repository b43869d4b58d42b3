"""``gateway list``: what is held."""

import asyncio
import json

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from gateway.cli.options import as_json, open_gateway, with_settings
from gateway.cli.shown import iso_time, minute
from gateway.oci.digest import short_digest
from gateway.rules.route import PLAIN
from gateway.settings import Settings
from gateway.store.rows import HeldRow


@click.command("list")
@as_json
@with_settings
def command(settings: Settings, is_json: bool) -> None:
    """List what is held: by name, tag and digest."""
    held = asyncio.run(_held(settings))
    if is_json:
        click.echo(json.dumps([_facts(one) for one in held], indent=2))
    elif not held:
        click.echo(f"nothing is held in {settings.data_dir}", err=True)
    elif Console().is_terminal:
        Console().print(held_table(held))
    else:
        for one in held:
            row = one.row
            click.echo(
                "\t".join(
                    [f"{one.name}:{row.tag}", str(row.digest), str(one.size_bytes), row.source, row.variant]
                )
            )


async def _held(settings: Settings) -> list[HeldRow]:
    async with open_gateway(settings) as gateway:
        return await gateway.storage.catalog.held()


def _facts(held: HeldRow) -> dict[str, object]:
    return {
        "name": held.name,
        "target": str(held.row.target),
        "tag": held.row.tag,
        "variant": held.row.variant,
        "digest": str(held.row.digest),
        "size_bytes": held.size_bytes,
        "source": held.row.source,
        "origin": held.row.origin,
        "kept_at": iso_time(held.row.kept_at),
        "confirmed_at": iso_time(held.row.confirmed_at),
    }


def held_table(held: list[HeldRow]) -> Table:
    """For people: times to the minute, in UTC, and as much of a digest as tells it from others."""
    table = Table("name", "tag", "size", "kept (UTC)", "from", "digest", box=None, pad_edge=False)
    table.columns[0].overflow = table.columns[5].overflow = "fold"
    for one in held:
        row = one.row
        tag = row.tag if row.variant == PLAIN.value else f"{row.tag} ({row.variant})"
        table.add_row(
            one.name, tag, decimal(one.size_bytes), minute(row.kept_at), row.source, short_digest(row.digest)
        )
    return table
