"""``gateway explain``: what a pull would do."""

import asyncio
import json
import time

import click

from gateway.cli.options import as_json, open_gateway, with_settings
from gateway.explain import Explanation, explain
from gateway.oci.location import parse_location
from gateway.settings import Settings
from gateway.store.rows import TagRow


@click.command("explain")
@click.argument("reference", metavar="REF")
@as_json
@with_settings
def command(settings: Settings, reference: str, is_json: bool) -> None:
    """Tell which target a reference has, what would be asked for it, and what is cached."""
    told = asyncio.run(_explain(settings, reference))
    click.echo(json.dumps(_facts(told), indent=2) if is_json else _text(told))


async def _explain(settings: Settings, reference: str) -> Explanation:
    async with open_gateway(settings) as gateway:
        location = parse_location(reference, gateway.own_hosts)
        return await explain(location, gateway.route_of, [gateway.source], gateway.catalog, time.time())


def _facts(told: Explanation) -> dict[str, object]:
    route = told.route
    return {
        "asked": str(told.asked),
        "rule": told.rule,
        "target": str(route.target),
        "variant": route.variant.value,
        "upstream": None if route.upstream is None else route.upstream.key,
        "chain": [{"source": source.name, "asks": list(source.urls)} for source in told.chain],
        "policy": {
            "fresh_for_seconds": route.policy.fresh_for_seconds,
            "recheck_for_seconds": route.policy.recheck_for_seconds,
            "missing_for_seconds": route.policy.missing_for_seconds,
            "digest_mismatch": route.policy.digest_mismatch.value,
        },
        "held": [_held(row, told) for row in told.held],
    }


def _held(row: TagRow, told: Explanation) -> dict[str, object]:
    policy = told.route.policy
    lasts_seconds = policy.recheck_for_seconds if row.is_exact else policy.fresh_for_seconds
    age_seconds = round(told.now - row.confirmed_at)
    return {
        "tag": row.tag,
        "digest": str(row.digest),
        "source": row.source,
        "origin": row.origin,
        "age_seconds": age_seconds,
        "is_fresh": 0 <= age_seconds < lasts_seconds,
    }


def _text(told: Explanation) -> str:
    facts = _facts(told)
    rule = "no rule matches: the name is its own target" if told.rule is None else told.rule
    lines = [
        f"asked     {told.asked}",
        f"rule      {rule}",
        f"target    {facts['target']}  ({facts['variant']})",
    ]
    for source in told.chain:
        lines += [f"asks      {source.name}: {url}" for url in source.urls]
    lines += [_held_line(row, told) for row in told.held] or ["cached    nothing"]
    return "\n".join(lines)


def _held_line(row: TagRow, told: Explanation) -> str:
    held = _held(row, told)
    state = "fresh" if held["is_fresh"] else "stale"
    return (
        f"cached    {row.tag}  {row.digest}  {state}, confirmed {held['age_seconds']} s ago by {row.source}"
    )
