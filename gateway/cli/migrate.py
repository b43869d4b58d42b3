"""``gateway migrate``: bring the catalog's schema up to date."""

import json

import click

from gateway.cli.options import as_json, with_settings
from gateway.settings import Settings
from gateway.store.data_dir import DataDir


@click.command("migrate")
@as_json
@with_settings
def command(settings: Settings, is_json: bool) -> None:
    """Bring the catalog's schema up to date; `serve` does it by itself."""
    data_dir = DataDir(settings.data_dir, settings.database_url)
    try:
        revisions = list(data_dir.prepare())
    finally:
        data_dir.close()
    if is_json:
        click.echo(json.dumps({"catalog": data_dir.database, "migrated": revisions}))
    elif revisions:
        click.echo(f"{data_dir.database}: ran {', '.join(revisions)}")
    else:
        click.echo(f"{data_dir.database}: up to date")
