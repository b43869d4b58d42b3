"""``gateway explain``: what a pull would do."""

import asyncio
import json
import math
import time

import click

from gateway.cli.options import as_json, open_gateway, with_settings
from gateway.explain import Explanation, SourceTold, explain
from gateway.oci.location import parse_location
from gateway.rules.freshness import Standing, standing
from gateway.rules.model import Access, EgressMode, Policy, SourceName
from gateway.settings import Settings
from gateway.store.rows import TagRow

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))


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
        is_offline = settings.offline or gateway.rule_set.egress.mode is EgressMode.OFFLINE
        parts = (gateway.puller.route, gateway.sources.by_name, gateway.catalog)
        return await explain(location, *parts, time.time(), is_offline=is_offline)


def _facts(told: Explanation) -> dict[str, object]:
    route = told.route
    return {
        "asked": str(told.asked),
        "rule": told.rule,
        "target": str(route.target),
        "variant": route.variant.value,
        "upstream": None if route.upstream is None else route.upstream.key,
        "access": route.access.value,
        "is_offline": told.is_offline,
        "chartproxy": route.chartproxy,
        "chain": [{"source": source.name, "asks": list(source.urls)} for source in told.chain],
        "policy": {
            "fresh_for_seconds": route.policy.fresh_for_seconds,
            "recheck_for_seconds": route.policy.recheck_for_seconds,
            "stale_for_seconds": _finite(route.policy.stale_for_seconds),
            "missing_for_seconds": route.policy.missing_for_seconds,
            "deleted": route.policy.deleted.value,
            "drift": route.policy.drift.value,
            "digest_mismatch": route.policy.digest_mismatch.value,
        },
        "held": [_held(row, told) for row in told.held],
    }


def _held(row: TagRow, told: Explanation) -> dict[str, object]:
    state = standing(told.route.policy, row.confirmed_at, told.now, is_exact=row.is_exact)
    return {
        "tag": row.tag,
        "digest": str(row.digest),
        "source": row.source,
        "origin": row.origin,
        "age_seconds": round(told.now - row.confirmed_at),
        "is_fresh": state is Standing.FRESH,
    }


def _text(told: Explanation) -> str:
    route = told.route
    lines = [
        f"asked     {told.asked}",
        f"rule      {told.rule or 'none: the name is its own target'}",
        f"target    {route.target}  ({route.variant})",
        f"upstream  {'none: https, anonymous, public' if route.upstream is None else route.upstream.key}",
        f"policy    {_policy(route.policy)}",
    ]
    if route.access is Access.PRIVATE:
        lines.append("access    private: answers 401")
    lines += _asked(told)
    lines += [_held_line(row, told) for row in told.held] or ["cached    nothing"]
    return "\n".join(lines)


def _policy(policy: Policy) -> str:
    fresh, recheck = _duration(policy.fresh_for_seconds), _duration(policy.recheck_for_seconds)
    missing = _duration(policy.missing_for_seconds)
    stale = "forever" if math.isinf(policy.stale_for_seconds) else _duration(policy.stale_for_seconds)
    return (
        f"fresh {fresh}, recheck {recheck}, stale {stale}, missing {missing}, deleted: {policy.deleted}, "
        f"drift: {policy.drift}, digest mismatch: {policy.digest_mismatch}"
    )


def _finite(seconds: float) -> float | None:
    """For JSON, which has no word for forever."""
    return None if math.isinf(seconds) else seconds


def _duration(seconds: float) -> str:
    """In the largest unit that divides it, as rules.yaml would have it."""
    fitting = ((unit, size) for unit, size in _UNITS if seconds and seconds % size == 0)
    unit, size = next(fitting, ("s", 1))
    return f"{seconds / size:g}{unit}"


def _asked(told: Explanation) -> list[str]:
    if told.is_offline:
        return ["asks      nobody: offline"]
    return [
        f"asks      {source.name}: {url}{_condition(source, told)}"
        for source in told.chain
        for url in source.urls
    ]


def _condition(source: SourceTold, told: Explanation) -> str:
    is_guessed = told.route.is_registry_guessed and source.name == SourceName.REGISTRY
    return "  (if it is a registry: it is asked once)" if is_guessed else ""


def _held_line(row: TagRow, told: Explanation) -> str:
    held = _held(row, told)
    state = "fresh" if held["is_fresh"] else "stale"
    return (
        f"cached    {row.tag}  {row.digest}  {state}, confirmed {held['age_seconds']} s ago by {row.source}"
    )
