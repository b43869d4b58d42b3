"""``gateway pull``: one reference into the cache, and its chart into a folder when asked."""

import asyncio
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console

from gateway.app import Gateway
from gateway.cli.options import as_json, open_gateway, with_settings
from gateway.cli.progress import shown_transfers
from gateway.helm.version import tag_of
from gateway.oci.descriptor import Descriptor
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location, parse_location
from gateway.oci.manifest import parse_manifest
from gateway.oci.media_types import HELM_CHART_LAYER, HELM_PROVENANCE_LAYER
from gateway.oci.reference import is_tag
from gateway.pull_whole import WholePuller
from gateway.pulled import Pulled
from gateway.rules.route import Wanted
from gateway.settings import Settings
from gateway.sources.http import Observer

_COPY_BYTES = 1 << 20


class DestinationError(Exception):
    """A file cannot be written where it was asked for."""


@dataclass(frozen=True, slots=True)
class _Facts:
    pulled: str
    digest: str
    cache: str
    files: list[str]


@click.command("pull")
@click.argument("reference", metavar="REF")
@click.option(
    "-d",
    "--destination",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="write the chart's .tgz into this folder too",
)
@as_json
@with_settings
def command(settings: Settings, reference: str, destination: Path | None, is_json: bool) -> None:
    """Pull one reference into the cache; without a tag, the newest version that is no pre-release."""
    with shown_transfers(Console(stderr=True)) as observe:
        facts = asyncio.run(_pull(settings, reference, destination, observe))
    if is_json:
        click.echo(json.dumps(asdict(facts), indent=2))
        return
    click.echo(f"Pulled: {facts.pulled}")
    click.echo(f"Digest: {facts.digest}")
    click.echo(f"Cache:  {facts.cache}")
    for path in facts.files:
        click.echo(f"Wrote:  {path}")


async def _pull(settings: Settings, text: str, destination: Path | None, observe: Observer) -> _Facts:
    async with open_gateway(settings, observe) as gateway:
        location = parse_location(text, gateway.own_hosts)
        whole = await WholePuller(gateway.puller).pull(location)
        pulled = whole.pulled
        files = [] if destination is None else await _write(gateway, location, pulled, destination)
        return _Facts(str(whole.location), str(pulled.manifest.digest), pulled.cache.value, files)


async def _write(gateway: Gateway, location: Location, pulled: Pulled, folder: Path) -> list[str]:
    """Write the chart, and its provenance, as ``helm pull`` would name them."""
    manifest = parse_manifest(pulled.manifest.content, pulled.manifest.media_type)
    layers = {edge.descriptor.media_type: edge.descriptor for edge in manifest.edges}
    if HELM_CHART_LAYER not in layers:
        raise OciError(
            Situation.MANIFEST_NOT_KNOWN,
            f"{location} is in the cache now, and no Helm chart: there is no .tgz to write",
        )
    tag = tag_of(manifest.annotations.get("org.opencontainers.image.version", ""))
    if not is_tag(tag):  # whoever made the manifest wrote it
        tag = pulled.manifest.digest.hex[:12]
    name = f"{location.name.segments[-1]}-{tag}.tgz"
    wanted = {name: layers[HELM_CHART_LAYER], f"{name}.prov": layers.get(HELM_PROVENANCE_LAYER)}
    return [
        await _write_blob(gateway, location, descriptor, folder / file_name)
        for file_name, descriptor in wanted.items()
        if descriptor is not None
    ]


async def _write_blob(gateway: Gateway, location: Location, descriptor: Descriptor, path: Path) -> str:
    """Write beside the file's place, then rename: what has the name is whole."""
    blob = (await gateway.puller.blob(Wanted(location.name), descriptor.digest)).blob
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            while file.tell() < blob.size:
                file.write(await blob.read(file.tell(), _COPY_BYTES))
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise DestinationError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        blob.close()
    return str(path)
