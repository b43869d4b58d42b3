"""An explanation as facts for programs: what ``--json`` prints, and the admin API shows."""

from collections.abc import Mapping

from gateway.explained import Explanation, HeldTold, RuleTried, SourceTold, TargetTold
from gateway.rules.freshness import Standing

Facts = dict[str, object]


def facts(told: Explanation) -> Facts:
    """JSON values only; nothing in them is a secret."""
    return {
        "asked": str(told.asked),
        "host": told.host,
        "rule": None if told.rule is None else told.rule.number,
        "rules": [_rule(tried) for tried in told.tried],
        "channel": None
        if told.channel is None
        else {"versions": str(told.channel.versions), "tag": told.channel.tag},
        "targets": [_target(told, target) for target in told.targets],
        "tag_stays_at": None if told.home is None else str(told.home),
        "refusal": _refusal(told),
        "is_offline": told.is_offline,
    }


def _rule(tried: RuleTried) -> Facts:
    rule = tried.rule
    return {
        "number": tried.number,
        "name": rule.name,
        "line": rule.place.line,
        "host": None if rule.look.host is None else rule.look.host.text,
        "repository": None if rule.look.repository is None else rule.look.repository.text,
        "rewrite": [rewrite.text for rewrite in rule.rewrites],
        "matched": tried.why_not is None,
        "why_not": tried.why_not,
        "captures": None if tried.captures is None else tried.captures.told(),
    }


def _target(told: Explanation, target: TargetTold) -> Facts:
    route = target.route
    return {
        "target": str(route.target),
        "variant": route.variant.value,
        "upstream": None if route.upstream is None else route.upstream.key,
        "access": route.access.value,
        "policy": _policy(target),
        "chartproxy": route.chartproxy,
        "chain": [_source(source) for source in target.chain],
        "hidden": target.hidden,
        "is_asked": told.is_asked(target),
        "held": [_held(held, told.now) for held in target.held],
        "has_digest": target.has_digest,
    }


def _policy(told: TargetTold) -> Mapping[str, Mapping[str, object]]:
    return {value.key: {"value": value.value, "from": value.origin.value} for value in told.policy}


def _source(told: SourceTold) -> Facts:
    return {
        "source": told.name.value,
        "asks": list(told.urls),
        "why_not": told.why_not,
        "is_guessed": told.is_guessed,
        "is_registry": told.is_registry,
    }


def _held(told: HeldTold, now: float) -> Facts:
    row = told.row
    return {
        "tag": row.tag,
        "digest": str(row.digest),
        "source": row.source,
        "origin": row.origin,
        "age_seconds": round(now - row.confirmed_at),
        "standing": told.standing.value,
        "is_fresh": told.standing is Standing.FRESH,
        "is_of_chain": told.is_of_chain,
    }


def _refusal(told: Explanation) -> Facts | None:
    if told.refusal is None:
        return None
    return {
        "code": told.refusal.code.value,
        "status": told.refusal.status,
        "message": told.refusal.message,
    }
