"""``gateway pin``, ``unpin``: keep what a reference leads to, whatever the quota says."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence

import click

from gateway.caretaker import pin_desk
from gateway.cli.options import as_json, open_gateway, with_settings
from gateway.cli.shown import iso_time
from gateway.oci.location import Location, parse_location
from gateway.pins import PinDesk
from gateway.settings import Settings
from gateway.store.pins import Pin


@click.command("pin")
@click.argument("references", metavar="[REF]…", nargs=-1)
@click.option("--list", "is_list", is_flag=True, help="list what is pinned")
@as_json
@with_settings
def pin(settings: Settings, references: tuple[str, ...], is_list: bool, is_json: bool) -> None:
    """Keep what each REF leads to, down to the last layer, whatever the quota says.

    A tag is pinned as whatever it names by then; name@DIGEST pins one content.
    """
    if is_list is bool(references):
        raise click.UsageError("expected references to pin, or --list")
    if is_list:
        _list(asyncio.run(_pins(settings)), is_json=is_json)
        return
    done = asyncio.run(_each(settings, references, PinDesk.pin))
    _tell(references, done, ("pinned", "pinned already"), is_json=is_json)


@click.command("unpin")
@click.argument("references", metavar="REF…", nargs=-1, required=True)
@as_json
@with_settings
def unpin(settings: Settings, references: tuple[str, ...], is_json: bool) -> None:
    """Let what each REF leads to be evicted again."""
    done = asyncio.run(_each(settings, references, PinDesk.unpin))
    _tell(references, done, ("unpinned", "not pinned"), is_json=is_json)
    sys.exit(0 if all(done) else 1)


async def _each(
    settings: Settings, references: Sequence[str], do: Callable[[PinDesk, Location], Awaitable[bool]]
) -> list[bool]:
    async with open_gateway(settings) as gateway:
        locations = [parse_location(text, gateway.own_hosts) for text in references]
        return [await do(pin_desk(gateway), location) for location in locations]


async def _pins(settings: Settings) -> Sequence[Pin]:
    async with open_gateway(settings) as gateway:
        return await pin_desk(gateway).list_all()


def _tell(references: Sequence[str], done: Sequence[bool], words: tuple[str, str], *, is_json: bool) -> None:
    told = {text: words[0] if is_done else words[1] for text, is_done in zip(references, done, strict=True)}
    if is_json:
        click.echo(json.dumps(told, indent=2))
        return
    for text, word in told.items():
        click.echo(f"{text}: {word}")


def _list(pins: Sequence[Pin], *, is_json: bool) -> None:
    if is_json:
        click.echo(json.dumps([_facts(one) for one in pins], indent=2))
        return
    for one in pins:
        click.echo(f"{_reference(one)}\t{one.target}\t{iso_time(one.made_at)}")
    if not pins:
        click.echo("nothing is pinned", err=True)


def _facts(pin: Pin) -> dict[str, object]:
    return {
        "name": pin.name,
        "reference": pin.reference,
        "target": str(pin.target),
        "made_at": iso_time(pin.made_at),
    }


def _reference(pin: Pin) -> str:
    return f"{pin.name}{'@' if ':' in pin.reference else ':'}{pin.reference}"
