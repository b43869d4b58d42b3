"""Every key of rules.yaml, a row each: how it is read, and where it goes."""

from dataclasses import dataclass, replace

from gateway.helm.ranges import VersionRange
from gateway.rules import egress_values, rule_values, sync_values, values
from gateway.rules.model import (
    Access,
    Deleted,
    DigestMismatch,
    Drift,
    Egress,
    EgressMode,
    Policy,
    SourceName,
    Upstream,
    UpstreamKind,
)
from gateway.rules.patterns import Pattern, Subject
from gateway.rules.rule_values import Expected, TagPatterns
from gateway.rules.section import Change, Row, Table, elsewhere, lift, row, table
from gateway.rules.sync_lists import Older, SyncEntry
from gateway.rules.tree import Node, Place, ScalarNode

_NOTHING = ScalarNode(Place(), "", is_plain=True)


@dataclass(frozen=True, slots=True)
class Sections:
    """The top of rules.yaml, its parts not read yet; ``version`` 0 where there is none."""

    version: int = 0
    defaults: Node = _NOTHING
    egress: Node = _NOTHING
    upstreams: Node = _NOTHING
    rules: Node = _NOTHING
    sync: Node = _NOTHING
    tests: Node = _NOTHING


@dataclass(frozen=True, slots=True)
class RuleDraft:
    """An entry of ``rules`` as it is read key by key; what its rewrites mean depends on its patterns."""

    name: str | None = None
    host: Pattern | None = None
    repository: Pattern | None = None
    rewrites: tuple[ScalarNode, ...] = ()
    stated: frozenset[str] = frozenset()
    changes: tuple[Change[Policy], ...] = ()
    is_enabled: bool = True


@dataclass(frozen=True, slots=True)
class SyncDraft:
    """An entry of ``sync``, its own entries not read yet."""

    name: str = ""
    every_seconds: float | None = None
    charts: Node = _NOTHING
    images: Node = _NOTHING


@dataclass(frozen=True, slots=True)
class AskDraft:
    """An entry of ``tests``."""

    ask: str | None = None
    host: str = ""
    expected: Expected | None = None


def _as_it_is(node: Node) -> Node:
    return node


SECTIONS: Table[Sections] = table(
    [
        row("version", values.version_one, lambda top, version: replace(top, version=version)),
        row("defaults", _as_it_is, lambda top, node: replace(top, defaults=node)),
        row("egress", _as_it_is, lambda top, node: replace(top, egress=node)),
        row("upstreams", _as_it_is, lambda top, node: replace(top, upstreams=node)),
        row("rules", _as_it_is, lambda top, node: replace(top, rules=node)),
        row("sync", _as_it_is, lambda top, node: replace(top, sync=node)),
        row("tests", _as_it_is, lambda top, node: replace(top, tests=node)),
    ]
)


def _want_provenance(policy: Policy, wanted: bool) -> Policy:
    """Of two that exclude each other the one that stands nearer counts."""
    return replace(policy, provenance=wanted, rewrite_dependencies=policy.rewrite_dependencies and not wanted)


def _want_rewritten(policy: Policy, wanted: bool) -> Policy:
    return replace(policy, rewrite_dependencies=wanted, provenance=policy.provenance and not wanted)


def _show_tags(policy: Policy, found: TagPatterns) -> Policy:
    return replace(policy, visibility=replace(policy.visibility, allow=found.allow, deny=found.deny))


def _limit_versions(policy: Policy, found: VersionRange) -> Policy:
    return replace(policy, visibility=replace(policy.visibility, versions=found))


def _hide_new(policy: Policy, age_seconds: float) -> Policy:
    return replace(policy, visibility=replace(policy.visibility, min_age_seconds=age_seconds))


POLICY: Table[Policy] = table(
    [
        row(
            "chain",
            values.some_of(values.choice(SourceName)),
            lambda policy, sources: replace(policy, chain=sources),
        ),
        row("chartproxy", values.chartproxy, lambda policy, place: replace(policy, chartproxy=place)),
        row("fresh_for", values.duration, lambda policy, time: replace(policy, fresh_for_seconds=time)),
        row("recheck_for", values.duration, lambda policy, time: replace(policy, recheck_for_seconds=time)),
        row(
            "stale_for",
            values.duration_or_forever,
            lambda policy, time: replace(policy, stale_for_seconds=time),
        ),
        row("missing_for", values.duration, lambda policy, time: replace(policy, missing_for_seconds=time)),
        row("deleted", values.choice(Deleted), lambda policy, answer: replace(policy, deleted=answer)),
        row("drift", values.choice(Drift), lambda policy, answer: replace(policy, drift=answer)),
        row(
            "digest_mismatch",
            values.choice(DigestMismatch),
            lambda policy, answer: replace(policy, digest_mismatch=answer),
        ),
        row("provenance", values.boolean, _want_provenance),
        row("rewrite_dependencies", values.boolean, _want_rewritten),
        row("tags", rule_values.tag_patterns, _show_tags),
        row("versions", rule_values.version_range, _limit_versions),
        row("min_age", values.duration, _hide_new),
        row("channels", rule_values.channels, lambda policy, found: replace(policy, channels=found)),
        row("deny", values.message, lambda policy, message: replace(policy, deny=message)),
        elsewhere("classic", "it stands on rules that have a `host` alone"),
    ]
)

CLASSIC: Row[Policy] = row("classic", values.boolean, lambda policy, yes: replace(policy, classic=yes))

EGRESS: Table[Egress] = table(
    [
        row("mode", values.choice(EgressMode), lambda egress, mode: replace(egress, mode=mode)),
        row("hosts", values.list_of(values.host_pattern), lambda egress, hosts: replace(egress, hosts=hosts)),
        row("ca_file", values.file_name, lambda egress, name: replace(egress, ca_file=name)),
        row("proxy", egress_values.proxy_url, lambda egress, url: replace(egress, proxy=url)),
        row(
            "no_proxy",
            values.list_of(egress_values.proxy_exception),
            lambda egress, exceptions: replace(egress, no_proxy=exceptions),
        ),
    ]
)


def _name_chartproxy(upstream: Upstream, place: str) -> Upstream:
    policy = replace(upstream.policy, chartproxy=place)
    return replace(upstream, policy=policy, has_own_chartproxy=True)


def _on_upstream(policy_row: Row[Policy]) -> Row[Upstream]:
    return lift(
        policy_row,
        lambda upstream: upstream.policy,
        lambda upstream, policy: replace(upstream, policy=policy),
    )


UPSTREAM: Table[Upstream] = table(
    [
        row("kind", values.choice(UpstreamKind), lambda upstream, kind: replace(upstream, kind=kind)),
        row("url", values.url, lambda upstream, url: replace(upstream, urls=(url,))),
        row("urls", values.some_of(values.url), lambda upstream, urls: replace(upstream, urls=urls)),
        row("username_env", values.secret_variable, lambda upstream, name: replace(upstream, username=name)),
        row("username_file", values.secret_file, lambda upstream, name: replace(upstream, username=name)),
        row("password_env", values.secret_variable, lambda upstream, name: replace(upstream, password=name)),
        row("password_file", values.secret_file, lambda upstream, name: replace(upstream, password=name)),
        row("token_env", values.secret_variable, lambda upstream, name: replace(upstream, token=name)),
        row("token_file", values.secret_file, lambda upstream, name: replace(upstream, token=name)),
        row(
            "token_hosts",
            values.list_of(values.host),
            lambda upstream, hosts: replace(upstream, token_hosts=hosts),
        ),
        row("ca_file", values.file_name, lambda upstream, name: replace(upstream, ca_file=name)),
        row("cert_file", values.file_name, lambda upstream, name: replace(upstream, cert_file=name)),
        row("key_file", values.file_name, lambda upstream, name: replace(upstream, key_file=name)),
        row("allow_private", values.boolean, lambda upstream, yes: replace(upstream, allow_private=yes)),
        row(
            "trusted_by",
            values.list_of(values.host),
            lambda upstream, hosts: replace(upstream, trusted_by=hosts),
        ),
        row(
            "access", values.choice(Access), lambda upstream, access: replace(upstream, stated_access=access)
        ),
        *(_on_upstream(policy_row) for name, policy_row in POLICY.items() if name != "chartproxy"),
        row("chartproxy", values.chartproxy, _name_chartproxy),
    ]
)


def _on_rule(policy_row: Row[Policy]) -> Row[RuleDraft]:
    def read(node: Node) -> Change[RuleDraft]:
        change = policy_row.read(node)
        return lambda draft: replace(
            draft, stated=draft.stated | {policy_row.name}, changes=(*draft.changes, change)
        )

    return Row(policy_row.name, read, policy_row.is_obeyed)


RULE: Table[RuleDraft] = table(
    [
        row("name", rule_values.rule_name, lambda draft, name: replace(draft, name=name)),
        row("host", rule_values.pattern(Subject.HOST), lambda draft, found: replace(draft, host=found)),
        row(
            "repository",
            rule_values.pattern(Subject.REPOSITORY),
            lambda draft, found: replace(draft, repository=found),
        ),
        row("rewrite", rule_values.one_or_more, lambda draft, nodes: replace(draft, rewrites=nodes)),
        row("enabled", values.boolean, lambda draft, yes: replace(draft, is_enabled=yes)),
        *map(_on_rule, (*POLICY.values(), CLASSIC)),
    ]
)

SYNC_LIST: Table[SyncDraft] = table(
    [
        row("name", sync_values.list_name, lambda draft, name: replace(draft, name=name)),
        row("every", sync_values.interval, lambda draft, seconds: replace(draft, every_seconds=seconds)),
        row("charts", _as_it_is, lambda draft, node: replace(draft, charts=node)),
        row("images", _as_it_is, lambda draft, node: replace(draft, images=node)),
    ]
)


def _show_of(entry: SyncEntry, found: TagPatterns) -> SyncEntry:
    return replace(entry, visibility=replace(entry.visibility, allow=found.allow, deny=found.deny))


def _limit_of(entry: SyncEntry, found: VersionRange) -> SyncEntry:
    return replace(entry, visibility=replace(entry.visibility, versions=found))


SYNC_IMAGE: Table[SyncEntry] = table(
    [
        row("repository", sync_values.repository, lambda entry, found: replace(entry, repository=found)),
        row("versions", rule_values.version_range, _limit_of),
        row("tags", sync_values.shown_tags, _show_of),
        row("newest", sync_values.newest, lambda entry, count: replace(entry, newest=count)),
        row("older", values.choice(Older), lambda entry, word: replace(entry, older=word)),
        row("signatures", values.boolean, lambda entry, yes: replace(entry, signatures=yes)),
        row("platforms", sync_values.platforms, lambda entry, found: replace(entry, platforms=found)),
    ]
)

SYNC_CHART: Table[SyncEntry] = table(
    [
        *SYNC_IMAGE.values(),
        row("dependencies", values.boolean, lambda entry, yes: replace(entry, dependencies=yes)),
        row("images", values.boolean, lambda entry, yes: replace(entry, images=yes)),
    ]
)

TEST: Table[AskDraft] = table(
    [
        row("ask", rule_values.name_asked, lambda draft, name: replace(draft, ask=name)),
        row("host", rule_values.host_asked, lambda draft, host: replace(draft, host=host)),
        row("target", rule_values.expected, lambda draft, found: replace(draft, expected=found)),
    ]
)
