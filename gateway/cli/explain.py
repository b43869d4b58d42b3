"""``gateway explain``: what a pull would do, and why."""

import asyncio
import json
from collections.abc import Collection
from dataclasses import replace

import click

from gateway.cli.explanation import text_of
from gateway.cli.options import as_json, leaving_no_folder, open_gateway, with_settings_but
from gateway.explain_facts import facts
from gateway.explained import Explanation
from gateway.oci.location import Location, parse_location
from gateway.rules.route import Wanted
from gateway.settings import Settings
from gateway.web.paths import parse_namespace, within


@click.command("explain")
@click.argument("reference", metavar="REF")
@click.option(
    "--host",
    metavar="HOST",
    help="the host under which a client asks, for rules that look at it; else what stands before the name",
)
@click.option(
    "--ns", "namespace", metavar="HOST", help="what a mirroring client such as containerd puts into ?ns="
)
@click.option("--all", "is_all", is_flag=True, help="every rule that was tried, and every tag that is held")
@as_json
@with_settings_but("HOST")
def command(  # noqa: PLR0917 (click hands over one argument for each option)
    settings: Settings, reference: str, host: str | None, namespace: str | None, is_all: bool, is_json: bool
) -> None:
    """Tell which rule decides, where a reference leads, who would be asked, and what is cached.

    Nobody is asked, and nothing is changed. A name that is refused is explained too.
    """
    with leaving_no_folder(settings) as looked_at:
        told = asyncio.run(_explain(looked_at, reference, host, namespace))
    click.echo(json.dumps(facts(told), indent=2) if is_json else text_of(told, is_all=is_all))


async def _explain(
    settings: Settings, reference: str, host: str | None, namespace: str | None
) -> Explanation:
    async with open_gateway(settings) as gateway:
        location = parse_location(reference, gateway.own_hosts)
        asked_host = host_asked(reference, location, host)
        location = in_namespace(location, namespace, {*gateway.own_hosts, asked_host})
        return await gateway.explainer.explain(location, Wanted(location.name, asked_host))


def in_namespace(location: Location, namespace: str | None, own_hosts: Collection[str]) -> Location:
    """The same as a client asks for it that says of which host it wants a mirror; its own means nothing."""
    if namespace is None or namespace in own_hosts:
        return location
    name = within(location.name.name, parse_namespace(namespace), is_namespace=True)
    return replace(location, name=name)


def host_asked(reference: str, location: Location, given: str | None) -> str:
    """The host that rules see: as given, else what of the reference is no part of the name.

    In lower case, without port, brackets and the last dot.
    """
    leading, _, rest = reference.removeprefix("oci://").partition("/")
    is_left_out = rest.startswith(location.name.name)
    host = (given if given is not None else leading if is_left_out else "").lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")
