"""``gateway wire``: configuration for clients, made of the rules in force."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import click

from gateway.cli.options import as_json, leaving_no_folder, open_gateway, with_settings
from gateway.oci.urls import HttpUrl
from gateway.rules.model import RuleSet
from gateway.settings import Settings
from gateway.settings_values import parse_public_url
from gateway.wired import Wired, Wishes
from gateway.wiring import CLIENTS, wire

_MODE = 0o644
_MAX_CERTIFICATE_BYTES = 1 << 20


class NotWritten(Exception):
    """A file that cannot be read or written, or is there and says something else."""


def _as_url(_context: click.Context, _option: click.Parameter, text: str | None) -> HttpUrl | None:
    try:
        return None if text is None else parse_public_url(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("wire")
@click.argument("client", metavar="CLIENT", type=click.Choice(list(CLIENTS)))
@click.option(
    "--url", callback=_as_url, help="where clients reach this gateway  [PUBLIC_URL, or HOST and PORT]"
)
@click.option("--ca", "ca_file", metavar="FILE", help="the certificate that clients have to trust, as PEM")
@click.option(
    "--all", "has_default", is_flag=True, help="containerd, k3s, rke2: for every other registry too"
)
@click.option(
    "--only",
    "is_exclusive",
    is_flag=True,
    help="containerd, k3s, rke2, podman: nobody else is asked where this gateway cannot answer",
)
@click.option("--output", metavar="DIR", help="write the files there instead of printing them")
@click.option("--force", "is_forced", is_flag=True, help="write over files that say something else")
@as_json
@with_settings
def command(  # noqa: PLR0917 (click hands over one argument for each option)
    settings: Settings,
    client: str,
    url: HttpUrl | None,
    ca_file: str | None,
    has_default: bool,
    is_exclusive: bool,
    output: str | None,
    is_forced: bool,
    is_json: bool,
) -> None:
    """Print what makes CLIENT ask this gateway: its own configuration, made of the rules in force.

    CLIENT is one of containerd, k3s, rke2, docker, podman (also Skopeo, Buildah, CRI-O), harbor, helm,
    argocd, flux, helmfile, renovate. Nobody is asked, and without --output nothing is written.
    """
    place = url or settings.public_url or _own_url(settings)
    ca = None if ca_file is None else _certificate(Path(ca_file))
    with leaving_no_folder(settings) as looked_at:
        rules = asyncio.run(_rules(looked_at))
    wired = wire(client, rules, place, Wishes(ca, has_default, is_exclusive))
    if output is not None:
        _write(Path(output), wired, is_forced=is_forced)
    if is_json:
        click.echo(json.dumps(_facts(wired), indent=2))
    else:
        click.echo("\n".join(_written(output, wired) if output is not None else _printed(wired)))
    for note in (*wired.notes, *_unreachable(place)):
        click.echo(f"note: {note}", err=True)


async def _rules(settings: Settings) -> RuleSet:
    async with open_gateway(settings) as gateway:
        return gateway.switch.in_force.rule_set


def _own_url(settings: Settings) -> HttpUrl:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return HttpUrl("http", host, settings.port)


def _certificate(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            text = stream.read(_MAX_CERTIFICATE_BYTES).decode("ascii")
    except OSError as error:
        raise NotWritten(f"{click.format_filename(file)} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY-----" in text:
        raise NotWritten(f"{click.format_filename(file)} is no certificate as PEM, and that alone")
    return text


def _write(folder: Path, wired: Wired, *, is_forced: bool) -> None:
    """All, or none where one is there and says something else."""
    places = [(folder / one.name, one.text.encode()) for one in wired.files]
    try:
        other = [place for place, content in places if place.exists() and place.read_bytes() != content]
        if other and not is_forced:
            told = ", ".join(click.format_filename(place) for place in other)
            raise NotWritten(f"{told}: there already, and says something else; --force writes over it")
        for place, content in places:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            place.chmod(_MODE)
    except OSError as error:
        file = click.format_filename(error.filename or folder)
        raise NotWritten(f"{file} cannot be written: {error.strerror}") from error


def _written(folder: str, wired: Wired) -> Iterator[str]:
    return (f"Wrote: {click.format_filename(Path(folder, one.name))}" for one in wired.files)


def _printed(wired: Wired) -> Iterator[str]:
    return (f"# --- {one.name}\n{one.text}" for one in wired.files)


def _facts(wired: Wired) -> dict[str, object]:
    return {"files": {one.name: one.text for one in wired.files}, "notes": list(wired.notes)}


def _unreachable(url: HttpUrl) -> Iterator[str]:
    """An address that means another machine to each client, or none."""
    with suppress(ValueError):
        address = ip_address(url.host.strip("[]"))
        if address.is_loopback or address.is_unspecified:
            yield f"{url.host} leads other machines nowhere: --url, or PUBLIC_URL, says how they come here"
