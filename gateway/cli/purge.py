"""``gateway purge``: forget what references lead to; the next pull fetches it anew."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click
from rich.filesize import decimal

from gateway.caretaker import purger
from gateway.cli.options import as_json, open_gateway, with_settings
from gateway.oci.digest import short_digest
from gateway.oci.location import parse_location
from gateway.settings import Settings
from gateway.store.purge_rows import Purge


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    is_whole: bool
    unpins: bool
    is_dry: bool
    is_sure: bool


@click.command("purge")
@click.argument("references", metavar="REF…", nargs=-1, required=True)
@click.option("--all-tags", "is_whole", is_flag=True, help="all of a name, where REF has no tag")
@click.option("--unpin", "unpins", is_flag=True, help="also what is pinned, and its pin")
@click.option("--dry-run", "is_dry", is_flag=True, help="tell what would be forgotten, and forget nothing")
@click.option("--yes", "is_sure", is_flag=True, help="do not ask")
@as_json
@with_settings
def command(  # noqa: PLR0917 (click hands over one argument for each option)
    settings: Settings,
    references: tuple[str, ...],
    is_whole: bool,
    unpins: bool,
    is_dry: bool,
    is_sure: bool,
    is_json: bool,
) -> None:
    """Forget what each REF leads to, in every variant, and that nobody had it; also beside a running server.

    What nothing else names is set aside, and leaves the disk an hour later. The next pull asks upstream.
    """
    if not (is_dry or is_sure or sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here: --yes purges, --dry-run tells what would go")
    wish = _Wish(is_whole=is_whole, unpins=unpins, is_dry=is_dry, is_sure=is_sure or is_dry)
    done = asyncio.run(_purge(settings, references, wish))
    if is_json:
        facts = [_facts(text, one, is_dry=is_dry) for text, one in zip(references, done, strict=True)]
        click.echo(json.dumps(facts, indent=2))
    else:
        for text, one in zip(references, done, strict=True):
            click.echo("\n".join(_lines(text, one, is_dry=is_dry)))
    sys.exit(1 if any(one.is_refused for one in done) else 0)


async def _purge(settings: Settings, references: Sequence[str], wish: _Wish) -> list[Purge]:
    """All of them are read, and asked for, before the first is forgotten."""
    async with open_gateway(settings) as gateway:
        purging = purger(gateway)
        locations = [parse_location(text, gateway.own_hosts) for text in references]
        dooms = [await purging.doom(one, is_whole=wish.is_whole, unpins=wish.unpins) for one in locations]
        if not wish.is_sure:
            for text, doom in zip(references, dooms, strict=True):
                told = await purging.foretell(doom)
                click.echo("\n".join(_lines(text, told, is_dry=True)), err=True)
            click.confirm("Forget it?", abort=True, err=True)
        return [await (purging.foretell(doom) if wish.is_dry else purging.purge(doom)) for doom in dooms]


def _lines(text: str, purge: Purge, *, is_dry: bool) -> Iterator[str]:
    would = "would be " if is_dry else ""
    for one in purge.tags:
        yield f"{would}forgotten: {one.target}:{one.tag} ({one.variant})  {short_digest(one.digest)}"
    for pin in purge.pinned:
        hint = ": --unpin removes the pin, too" if purge.is_refused else ""
        yield f"pinned: {pin.name} {pin.reference}{hint}"
    if purge.is_refused:
        return
    if purge.is_empty:
        yield f"{text}: nothing of it is held"
        return
    size = decimal(sum(size_bytes for _, size_bytes in purge.blobs))
    manifests = f"{len(purge.manifests)} manifests {would}forgotten"
    yield f"{text}: {manifests}, {len(purge.blobs)} files ({size}) {would}set aside"
    if len(purge.names) > 1:
        yield f"names that lead there: {', '.join(purge.names)}"


def _facts(text: str, purge: Purge, *, is_dry: bool) -> dict[str, object]:
    return {
        "reference": text,
        "dry_run": is_dry,
        "refused": purge.is_refused,
        "tags": [
            {"target": str(one.target), "tag": one.tag, "variant": one.variant, "digest": str(one.digest)}
            for one in purge.tags
        ],
        "manifests": [str(digest) for digest in purge.manifests],
        "blobs": [{"digest": str(digest), "bytes": size_bytes} for digest, size_bytes in purge.blobs],
        "pinned": [{"name": pin.name, "reference": pin.reference} for pin in purge.pinned],
        "names": list(purge.names),
    }
