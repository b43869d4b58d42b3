"""Every key of rules.yaml, a row each: how it is read, where it goes, and which are for later."""

from dataclasses import dataclass, replace

from gateway.rules import values
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
from gateway.rules.section import Row, Table, later, lift, row, table
from gateway.rules.tree import Node, Place, ScalarNode

_NOTHING = ScalarNode(Place(), "", is_plain=True)


@dataclass(frozen=True, slots=True)
class Sections:
    """The top of rules.yaml, its parts not read yet; ``version`` 0 where there is none."""

    version: int = 0
    defaults: Node = _NOTHING
    egress: Node = _NOTHING
    upstreams: Node = _NOTHING


def _as_it_is(node: Node) -> Node:
    return node


SECTIONS: Table[Sections] = table(
    [
        row("version", values.version_one, lambda top, version: replace(top, version=version)),
        row("defaults", _as_it_is, lambda top, node: replace(top, defaults=node)),
        row("egress", _as_it_is, lambda top, node: replace(top, egress=node)),
        row("upstreams", _as_it_is, lambda top, node: replace(top, upstreams=node)),
        later("rules"),
        later("sync"),
        later("tests"),
    ]
)

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
        row("provenance", values.boolean, lambda policy, wanted: replace(policy, provenance=wanted)),
        row("deny", values.message, lambda policy, message: replace(policy, deny=message)),
        later("tags"),
        later("versions"),
        later("min_age", default="0"),
        later("channels"),
        later("rewrite_dependencies", default="false"),
        later("classic", default="false"),
    ]
)

EGRESS: Table[Egress] = table(
    [
        row("mode", values.choice(EgressMode), lambda egress, mode: replace(egress, mode=mode)),
        row("hosts", values.list_of(values.host_pattern), lambda egress, hosts: replace(egress, hosts=hosts)),
        row("ca_file", values.file_name, lambda egress, name: replace(egress, ca_file=name)),
        later("proxy"),
        later("no_proxy"),
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
