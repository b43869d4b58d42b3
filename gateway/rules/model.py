"""What rules.yaml says, as values."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gateway.helm.ranges import VersionRange
from gateway.oci.urls import HttpUrl, parse_upstream_url
from gateway.rules import docker_hub
from gateway.rules.match import Look, Matcher
from gateway.rules.rewrites import Captures, Rewrite
from gateway.rules.sync_lists import SyncList
from gateway.rules.tree import Place
from gateway.rules.visibility import Visibility

_ALL_SHOWN = Visibility()
LOCAL_SUFFIXES = (".internal", ".local", ".localhost", ".svc", ".cluster.local")


class DigestMismatch(StrEnum):
    """What to do when an archive has another digest than the index says."""

    REFUSE = "refuse"
    WARN = "warn"


class EgressMode(StrEnum):
    """Who may be dialled: any public host, only listed ones, nobody."""

    PUBLIC = "public"
    ALLOWLIST = "allowlist"
    OFFLINE = "offline"


class UpstreamKind(StrEnum):
    """What answers at an upstream; ``auto`` is a Helm repository, a registry, or both."""

    AUTO = "auto"
    HELM = "helm"
    REGISTRY = "registry"
    CHARTPROXY = "chartproxy"


class SourceName(StrEnum):
    """The ways to a target's content, as a ``chain`` lists them."""

    REGISTRY = "registry"
    CHARTPROXY = "chartproxy"
    HELM = "helm"


class Deleted(StrEnum):
    """What becomes of a held tag that upstream deleted."""

    KEEP = "keep"
    DROP = "drop"


class Drift(StrEnum):
    """What an exact chart version means whose content changed upstream: the old, or the new."""

    KEEP = "keep"
    FOLLOW = "follow"


class Access(StrEnum):
    """Who may read what came from an upstream: anyone, or who has signed in."""

    ANONYMOUS = "anonymous"
    PRIVATE = "private"


class SecretOrigin(StrEnum):
    ENVIRONMENT = "environment"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class SecretName:
    """Where a secret is found: an environment variable, or a file in SECRETS_DIR."""

    origin: SecretOrigin
    name: str


@dataclass(frozen=True, slots=True)
class Policy:
    """How long answers hold, and what is permitted.

    ``channels``: tags that mean the newest version in a range. ``classic`` is of rules with a host: the
    host's own classic paths are answered too.
    """

    fresh_for_seconds: float = 300.0
    recheck_for_seconds: float = 86_400.0
    stale_for_seconds: float = math.inf
    missing_for_seconds: float = 30.0
    deleted: Deleted = Deleted.KEEP
    drift: Drift = Drift.KEEP
    chain: tuple[SourceName, ...] | None = None
    chartproxy: str | None = None
    digest_mismatch: DigestMismatch = DigestMismatch.REFUSE
    provenance: bool = False
    rewrite_dependencies: bool = False
    visibility: Visibility = _ALL_SHOWN
    channels: Mapping[str, VersionRange] = field(default_factory=dict)
    deny: str | None = None
    classic: bool = False


def _as_it_is(policy: Policy) -> Policy:
    return policy


@dataclass(frozen=True, slots=True)
class Upstream:
    """A host, or a place on one, that differs from ``https://<key>/``, anonymous and public.

    ``urls`` are tried in order. ``policy`` is this upstream's own over the defaults, ``has_own_chartproxy``
    that its chart proxy was written here, and not in the defaults. Files are names within SECRETS_DIR.
    """

    key: str
    urls: tuple[HttpUrl, ...]
    kind: UpstreamKind = UpstreamKind.AUTO
    username: SecretName | None = None
    password: SecretName | None = None
    token: SecretName | None = None
    token_hosts: tuple[str, ...] = ()
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    allow_private: bool = False
    trusted_by: tuple[str, ...] = ()
    stated_access: Access | None = None
    policy: Policy = Policy()
    has_own_chartproxy: bool = False
    place: Place = field(default=Place(), compare=False)

    @property
    def url(self) -> HttpUrl:
        """The first of ``urls``."""
        return self.urls[0]

    @property
    def host(self) -> str:
        """The key's host, without a port."""
        return _host_of(self.key)

    @property
    def deny(self) -> str | None:
        return self.policy.deny

    @property
    def access(self) -> Access:
        """As written; else private where we sign in."""
        if self.stated_access is not None:
            return self.stated_access
        return Access.PRIVATE if self.has_credentials or self.cert_file else Access.ANONYMOUS

    @property
    def has_credentials(self) -> bool:
        """Whether rules.yaml says as whom to sign in; a client certificate is something else."""
        return self.username is not None or self.token is not None

    @property
    def is_public(self) -> bool:
        """Whether everybody finds the same there, under the same name, and without signing in."""
        is_like_ours = self.ca_file is None and not self.allow_private and self.urls == (usual_url(self.key),)
        return (
            is_like_ours and self.access is Access.ANONYMOUS and not (self.has_credentials or self.cert_file)
        )


def usual_url(key: str) -> HttpUrl:
    """Where a key is dialled unless ``url`` says otherwise; raise UrlError."""
    nominal = parse_upstream_url(f"https://{key}")
    return replace(nominal, host=docker_hub.DIALLED) if docker_hub.is_on(key) else nominal


@dataclass(frozen=True, slots=True)
class Egress:
    """``hosts``: more hosts that ``allowlist`` allows; a ``*`` is one or more characters of one label."""

    mode: EgressMode = EgressMode.PUBLIC
    hosts: tuple[str, ...] = ()
    ca_file: str | None = None
    proxy: HttpUrl | None = None
    no_proxy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done with the names that match. Without ``rewrites`` a name is its own target.

    ``stated`` are the policy keys that stand on the rule, ``change`` puts them over another policy.
    ``capture_names`` are the numbers of captures that have a name. ``key``: what hits are counted by.
    """

    name: str
    place: Place
    look: Look
    rewrites: tuple[Rewrite, ...] = ()
    stated: frozenset[str] = frozenset()
    change: Callable[[Policy], Policy] = _as_it_is
    deny: str | None = None
    capture_names: tuple[tuple[str, int], ...] = ()
    key: str = field(default="", compare=False)
    is_enabled: bool = True

    def captures(self, host: str, name: str) -> Captures | None:
        """What it takes from a host and a name; None where it does not match."""
        texts = self.look.captures(host, name) if self.is_enabled else None
        return None if texts is None else Captures(name, texts, self.capture_names)

    def targets(self, captures: Captures) -> Sequence[str]:
        """Where it leads, first to last, not held to any grammar yet."""
        return [rewrite.fill(captures) for rewrite in self.rewrites] or [captures.whole]


class Rules:
    """All rules, top to bottom; ``enabled`` ones can be matched. ``hosts`` stand in rewrites of those."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self.enabled = tuple(rule for rule in self._rules if rule.is_enabled)
        self._matcher = Matcher([rule.look for rule in self.enabled])
        written = (rewrite.host for rule in self.enabled for rewrite in rule.rewrites)
        self.hosts = frozenset(host for host in written if host is not None)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rules) and self._rules == other._rules

    def __hash__(self) -> int:
        return hash(tuple(rule.name for rule in self._rules))  # patterns have parts that cannot be hashed

    def first(self, host: str, name: str) -> tuple[Rule, Captures] | None:
        """The first that matches, which decides, and what it takes."""
        number = self._matcher.first(host, name)
        if number is None:
            return None
        rule = self.enabled[number]
        return rule, Captures(name, rule.look.captures_of_match(host, name), rule.capture_names)


@dataclass(frozen=True, slots=True)
class RuleTest:
    """A name, asked under ``host``, leads to ``expected`` in order, or is refused by the code ``refusal``."""

    ask: str
    host: str
    place: Place
    expected: tuple[str, ...] = ()
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All that rules.yaml says. A ``place`` is ``host[:port][/path]``; keys match at segment boundaries.

    ``logins`` are places, as they are dialled, that a docker config.json knows credentials for; ``own_host``
    is this gateway's host[:port] as clients know it. ``private_targets`` hold what came by credentials, under
    these rules or others: an edit alone opens it to nobody.
    """

    defaults: Policy = Policy()
    egress: Egress = Egress()
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)
    tests: tuple[RuleTest, ...] = ()
    sync: tuple[SyncList, ...] = ()
    logins: frozenset[str] = frozenset()
    own_host: str | None = None
    private_targets: frozenset[str] = frozenset()

    def upstream_for(self, place: str) -> Upstream | None:
        """The upstream whose key is the longest prefix of ``place``."""
        prefix = place if self.upstreams else ""
        while prefix:
            upstream = self.upstreams.get(prefix)
            if upstream is not None:
                return upstream
            prefix = prefix.rpartition("/")[0]
        return None

    def login_for(self, place: str) -> str | None:
        """The login that is the longest prefix of ``place``."""
        return next((prefix for prefix in _prefixes(place) if prefix in self.logins), None)

    def policy_for(self, place: str) -> Policy:
        upstream = self.upstream_for(place)
        return self.defaults if upstream is None else upstream.policy

    def denial(self, place: str) -> str | None:
        """Why nothing may be fetched from ``place``; it holds for names, index URLs and redirects alike."""
        deny = self.policy_for(place).deny
        if deny is not None:
            return deny
        return None if self._is_listed(place) else f"{_host_of(place)} is not on this gateway's list of hosts"

    def is_local_name(self, place: str) -> bool:
        """Whether ``place`` is on a host that only an inside network has, and that no key makes an upstream.

        Such a host answers as one that does not resolve.
        """
        return is_local_host(_host_of(place)) and self.upstream_for(place) is None

    def _is_listed(self, place: str) -> bool:
        if self.egress.mode is not EgressMode.ALLOWLIST or self.upstream_for(place) is not None:
            return True
        host = _host_of(place)
        return host in self.rules.hosts or any(_matches(host, pattern) for pattern in self.egress.hosts)


def is_local_host(host: str) -> bool:
    """Whether a name says of itself that only an inside network has it."""
    return f".{host}".endswith(LOCAL_SUFFIXES)


def _host_of(place: str) -> str:
    authority = place.partition("/")[0]
    host, _, port = authority.rpartition(":")
    return host if port.isdigit() and host else authority


def _prefixes(place: str) -> Iterator[str]:
    """``a/b/c``, ``a/b``, ``a``."""
    prefix = place
    while prefix:
        yield prefix
        prefix = prefix.rpartition("/")[0]


def _matches(host: str, pattern: str) -> bool:
    labels, patterns = host.split("."), pattern.split(".")
    return len(labels) == len(patterns) and all(map(_label_matches, labels, patterns))


def _label_matches(label: str, pattern: str) -> bool:
    head, star, tail = pattern.partition("*")
    if not star:
        return label == pattern
    return label.startswith(head) and label.endswith(tail) and len(label) > len(head) + len(tail)
