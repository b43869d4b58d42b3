"""``gateway refresh``: ask upstream now, whatever the rules say of the age of what is held."""

import asyncio
import json
import sys
from collections.abc import Sequence

import click

from gateway.caretaker import refresher
from gateway.cli.options import as_json, open_gateway, with_settings
from gateway.oci.location import parse_location
from gateway.refresh import Refreshed
from gateway.settings import Settings


@click.command("refresh")
@click.argument("references", metavar="REF…", nargs=-1, required=True)
@as_json
@with_settings
def command(settings: Settings, references: tuple[str, ...], is_json: bool) -> None:
    """Ask upstream now: of name:TAG that tag, of a name alone its list and all that is held of it.

    A server on the same data directory sees what came of it. Exits with 1 where something could not be asked.
    """
    done = asyncio.run(_refresh(settings, references))
    if is_json:
        click.echo(json.dumps([_facts(one) for one in done], indent=2))
    else:
        for one in done:
            click.echo(f"{one.what}: {one.verdict.value}{': ' if one.detail else ''}{one.detail}")
    sys.exit(1 if any(one.is_failure for one in done) else 0)


async def _refresh(settings: Settings, references: Sequence[str]) -> list[Refreshed]:
    async with open_gateway(settings) as gateway:
        asking = refresher(gateway)
        locations = [parse_location(text, gateway.own_hosts) for text in references]
        return [one for location in locations for one in await asking.refresh(location)]


def _facts(one: Refreshed) -> dict[str, object]:
    return {"what": one.what, "target": one.target, "verdict": one.verdict.value, "detail": one.detail}
