"""threats.md 1d, U12 to U15: what an upstream gets to see of our credentials, and of a client's."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.composed import FakeDns, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.registry import BlobHost, FakeRegistry
from tests.fakes.tokens import Credentials, TokenServer
from tests.lies import LyingRegistry
from tests.threats import (
    APP,
    HOST,
    IMAGE,
    LAYER,
    NAME,
    SIGNED,
    TAG,
    Told,
    auth_like,
    blob_path,
    receive,
    registry_line,
    registry_rules,
    serving,
    settings_of,
    told,
)

pytestmark = pytest.mark.slow  # many small tests, seconds together

MIB = 1 << 20
REALM_HOST = "tokens.example.test"
UNKNOWN_NAME = (404, "NAME_UNKNOWN", None)
OPEN = (200, None, None)
BAD_REALM = (502, "UNKNOWN", "bad_realm")
DOWN = (503, "UNAVAILABLE", "unavailable")
OPENED = {**SIGNED, "access": "anonymous"}  # signed in, and open to all: the rules say so
CHART = make_chart("demo", "1.0.0")


@dataclass(frozen=True, slots=True)
class Realm:
    """A spelling of the realm, what clients are told without and with credentials, and what it is sent.

    ``{own}`` is the registry's own origin, ``{host}`` its host and port.
    """

    id: str
    realm: str
    anonymous: Told
    signed: Told
    sees_credentials: bool = False
    token_hosts: str = "[]"


REALMS = [
    Realm("its own", "{own}/token", OPEN, OPEN, sees_credentials=True),
    Realm("a foreign host", f"https://{REALM_HOST}/t", OPEN, OPEN),
    Realm("one of token_hosts", f"https://{REALM_HOST}/t", OPEN, OPEN, True, f"[{REALM_HOST}]"),
    Realm(
        "one that ends like one of token_hosts",
        f"https://{REALM_HOST}/t",
        OPEN,
        OPEN,
        False,
        "[example.test]",
    ),
    Realm("a foreign host by http", f"http://{REALM_HOST}/t", BAD_REALM, BAD_REALM),
    Realm("a metadata address", "https://169.254.169.254/", BAD_REALM, BAD_REALM),
    Realm("a metadata address by http", "http://169.254.169.254/", BAD_REALM, BAD_REALM),
    Realm("localhost", "https://localhost/t", BAD_REALM, BAD_REALM),
    Realm("IPv6 loopback", "https://[::1]/t", BAD_REALM, BAD_REALM),
    Realm("user and password", "https://u:p@{host}/token", BAD_REALM, BAD_REALM),
    Realm("a foreign host behind a password", f"https://{{host}}@{REALM_HOST}/t", BAD_REALM, BAD_REALM),
    Realm("a backslash", f"https://{{host}}\\@{REALM_HOST}/t", BAD_REALM, BAD_REALM),
    Realm("no scheme", "/token", BAD_REALM, BAD_REALM),
    Realm("a file", "file:///etc/passwd", BAD_REALM, BAD_REALM),
    Realm("a blank", " ", BAD_REALM, BAD_REALM),
    Realm("a host that resolves to a private address", "https://private.example.org/t", DOWN, DOWN),
    Realm("a host that does not resolve", "https://nowhere.example.org/t", DOWN, DOWN),
    Realm(
        "another port of a foreign host",
        f"https://{REALM_HOST}:8443/t",
        (502, "UNKNOWN", "bad_url"),
        (502, "UNKNOWN", "bad_url"),
    ),
]


@pytest.mark.anyio
@pytest.mark.parametrize("is_signed", [False, True], ids=["anonymous", "signed in"])
@pytest.mark.parametrize("row", [pytest.param(row, id=f"U12 {row.id}") for row in REALMS])
async def test_who_is_asked_for_a_token_and_with_what(row: Realm, is_signed: bool, tmp_path: Path) -> None:
    dns = FakeDns({"private.example.org": ["93.184.216.34", "10.1.2.3"]})
    with ExitStack() as stack:
        registry = stack.enter_context(FakeRegistry(auth="bearer"))
        foreign = stack.enter_context(TokenServer(registry.issuer))
        registry.realm = row.realm.format(own=registry.origin, host=f"127.0.0.1:{registry.port}")
        IMAGE.push_to(registry, APP, TAG)
        more = {"token_hosts": row.token_hosts, "missing_for": "0s", **(OPENED if is_signed else {})}
        rules = registry_rules(registry.origin, **more) + _realm_line(foreign, row)
        async with serving(tmp_path, rules, dns, settings=settings_of(tmp_path)) as gateway:
            before = await gateway.stored()
            answer = await gateway.manifest(NAME, TAG)
            expected = row.signed if is_signed else row.anonymous
            assert told(answer) == expected, answer.text
            assert (await gateway.stored() == before) == (expected != OPEN)
        asked = [*foreign.requests, *(one for one in registry.requests if one.path == "/token")]
        assert bool(asked) == (expected == OPEN)
        seen = {one.headers.get("authorization") for one in asked}
        basic = registry.issuer.account.authorization
        assert seen == (set() if not asked else {basic if row.sees_credentials and is_signed else None})
        assert all(auth_like(one.headers) <= {"authorization"} for one in foreign.requests)
        assert set(dns.asked) <= {"127.0.0.1", "private.example.org", "nowhere.example.org"}


def _realm_line(foreign: TokenServer, row: Realm) -> str:
    """The key that makes the foreign host stand for a fake; both are trusted to be private, no more."""
    if REALM_HOST not in row.realm:
        return ""
    return upstream(foreign.origin, REALM_HOST, trusted_by=f"[{HOST}]")


@pytest.mark.anyio
async def test_u12_credentials_for_a_foreign_realm_that_has_its_own_are_not_sent_unless_it_is_listed(
    tmp_path: Path,
) -> None:
    with FakeRegistry(auth="bearer") as registry, TokenServer(registry.issuer) as foreign:
        registry.realm = f"https://{REALM_HOST}/t"
        IMAGE.push_to(registry, APP, TAG)
        signed = upstream(foreign.origin, REALM_HOST, trusted_by=f"[{HOST}]", **SIGNED)
        async with serving(tmp_path, registry_rules(registry.origin) + signed) as gateway:
            assert told(await gateway.manifest(NAME, TAG)) == OPEN
        assert [one.headers.get("authorization") for one in foreign.requests] == [None]


@pytest.mark.anyio
async def test_u12_a_realm_that_redirects_is_not_followed(tmp_path: Path) -> None:
    with FakeRegistry(auth="bearer") as registry, TokenServer(registry.issuer) as elsewhere:
        IMAGE.push_to(registry, APP, TAG)
        registry.faults_of_tokens().redirects_to = elsewhere.realm
        async with serving(tmp_path, registry_rules(registry.origin, **OPENED)) as gateway:
            before = await gateway.stored()
            assert told(await gateway.manifest(NAME, TAG)) == (502, "UNKNOWN", "bad_redirect")
            assert await gateway.stored() == before
        assert elsewhere.count() == 0


TOKENS = [
    pytest.param(b"x" * (10 * MIB), "too_large", id="U13 ten MB"),
    pytest.param(b'{"token": "' + b"x" * 64 * 1024 + b'"}', "too_large", id="U13 a little more than 64 KiB"),
    pytest.param(b"[" * 60_000, "bad_token", id="U11 brackets"),
    pytest.param(b'{"token": "a b"}', "bad_token", id="U13 a blank in it"),
    pytest.param(b'{"token": "a\\r\\nX-Evil: 1"}', "bad_token", id="U13 a header in it"),
    pytest.param(b'{"token": 7}', "bad_token", id="U13 a number"),
    pytest.param(b"{}", "bad_token", id="U13 none"),
    pytest.param(b'{"token": "a", "expires_in": %s}' % (b"9" * 5000), "bad_token", id="U11 5,000 digits"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("body", "reason"), TOKENS)
async def test_a_token_that_is_none_is_refused(body: bytes, reason: str, tmp_path: Path) -> None:
    with LyingRegistry() as registry:
        registry.auth = "bearer"
        IMAGE.push_to(registry, APP, TAG)
        registry.lie("/token", body)
        async with serving(tmp_path, registry_rules(registry.origin)) as gateway:
            before = await gateway.stored()
            answer = await gateway.manifest(NAME, TAG)
            assert told(answer) == (502, "UNKNOWN", reason), answer.text
            assert await gateway.stored() == before
            registry.be_honest()
            assert told(await gateway.manifest(NAME, TAG)) == OPEN


@pytest.mark.anyio
@pytest.mark.parametrize(
    "expires_in", [-1, 0, "x", None, True, 10**18, 0.5, [], {}], ids=lambda value: f"U13 {value!r}"
)
async def test_a_token_lasts_a_minute_at_least_whatever_it_says(expires_in: object, tmp_path: Path) -> None:
    with FakeRegistry(auth="bearer") as registry:
        registry.issuer.expires_in = expires_in
        IMAGE.push_to(registry, APP, TAG)
        async with serving(tmp_path, registry_rules(registry.origin)) as gateway:
            assert told(await gateway.manifest(NAME, TAG)) == OPEN
            assert (await receive(gateway, blob_path())).content == LAYER
        assert registry.count("/token") == 1


@pytest.mark.anyio
async def test_u13_a_token_is_for_one_repository_of_one_upstream(tmp_path: Path) -> None:
    """What was got with credentials opens nothing for the same registry under another key."""
    other = "public.example.test"
    with FakeRegistry(auth="bearer") as registry:
        for name in (APP, "team/other"):
            IMAGE.push_to(registry, name, TAG)
        registry.issuer.private_names.add(APP)
        rules = registry_rules(registry.origin, **OPENED) + registry_line(registry.origin, other)
        async with serving(tmp_path, rules) as gateway:
            assert told(await gateway.manifest(NAME, TAG)) == OPEN
            assert told(await gateway.manifest(f"{HOST}/team/other", TAG)) == OPEN
            assert len(registry.issuer.issued) == 2
            assert told(await gateway.manifest(f"{other}/{APP}", TAG)) == UNKNOWN_NAME
            assert told(await gateway.manifest(f"{other}/{APP}", str(IMAGE.digest))) == UNKNOWN_NAME


@pytest.mark.anyio
@pytest.mark.parametrize("auth", ["basic", "bearer"])
async def test_u14_a_redirect_to_another_origin_takes_nothing_along(auth: str, tmp_path: Path) -> None:
    """B is another port of the same host; A's blobs lie there."""
    with FakeRegistry(auth="basic" if auth == "basic" else "bearer") as registry, BlobHost(registry) as other:
        IMAGE.push_to(registry, APP, TAG)
        registry.blobs_at = other.origin
        cdn = upstream(other.origin, "cdn.example.test", trusted_by=f"[{HOST}]")
        async with serving(tmp_path, registry_rules(registry.origin, **OPENED) + cdn) as gateway:
            await gateway.manifest(NAME, TAG)
            assert (await receive(gateway, blob_path())).content == LAYER
        assert other.count() == 1
        assert not any(auth_like(one.headers) for one in other.requests)
        assert "authorization" in registry.requests[-1].headers


@pytest.mark.anyio
@pytest.mark.parametrize("trusted_by", [None, "[a.example.test]", "[c.example.test]"])
@pytest.mark.parametrize("how", ["url", "redirect"])
async def test_u14_a_chart_on_another_host_gets_that_hosts_credentials_only_where_it_trusts(
    trusted_by: str | None, how: str, tmp_path: Path
) -> None:
    with HelmRepo() as first, HelmRepo(repository_of(CHART)) as second:
        base = "https://b.example.test/" if how == "url" else ""
        for path, content in repository_of(CHART, base=base).items():
            first.put(path, content)
        if how == "redirect":
            first.faults_of("demo-1.0.0.tgz").redirects_to = "https://b.example.test/demo-1.0.0.tgz"
        trust = {} if trusted_by is None else {"trusted_by": trusted_by}
        own = {"username_env": "GATEWAY_SECRET_OTHER", "password_env": "GATEWAY_SECRET_OTHER"}
        rules = f"upstreams:\n{upstream(first.url, 'a.example.test', kind='helm', **OPENED)}"
        rules += upstream(second.url, "b.example.test", **own, **trust)
        secrets = {**settings_of(tmp_path).secrets, "GATEWAY_SECRET_OTHER": "other"}
        settings = settings_of(tmp_path, allow_private_networks=True, secrets=secrets)
        async with serving(tmp_path, rules, settings=settings) as gateway:
            assert told(await gateway.manifest("a.example.test/demo", "1.0.0")) == OPEN
        seen = [one.headers.get("authorization") for one in second.requests]
        is_trusted = trusted_by == "[a.example.test]"
        assert seen == (["Basic b3RoZXI6b3RoZXI="] if is_trusted else [None])
        assert {one.headers.get("authorization") for one in first.requests} == {Credentials().authorization}


@pytest.mark.anyio
async def test_u15_nothing_of_a_clients_travels_up_and_nothing_of_an_upstreams_down(tmp_path: Path) -> None:
    sent = {
        "Authorization": "Basic Y2xpZW50OnNlY3JldA==",
        "Cookie": "session=client-secret",
        "Proxy-Authorization": "Basic Y2xpZW50",
        "X-JFrog-Art-Api": "client-secret",
        "Private-Token": "client-secret",
        "X-Forwarded-For": "198.51.100.7",
        "Referer": "https://client.example/secret",
    }
    with FakeRegistry() as registry, HelmRepo(repository_of(CHART)) as repo:
        evil = {
            "WWW-Authenticate": 'Basic realm="evil"',
            "Set-Cookie": "evil=1",
            "X-Evil": "1",
            "Server": "evil",
        }
        registry.faults.headers = repo.faults.headers = evil
        IMAGE.push_to(registry, APP, TAG)
        rules = registry_rules(registry.origin, missing_for="0s") + upstream(repo.url, "a.example.test")
        async with serving(tmp_path, rules) as gateway:
            registry.auth = "basic"
            refused = await gateway.client.get(f"/v2/{HOST}/team/none/manifests/1", headers=sent)
            registry.auth = "none"
            paths = [
                f"{NAME}/manifests/{TAG}",
                f"{NAME}/tags/list",
                f"{NAME}/manifests/9",
                "a.example.test/demo/manifests/1.0.0",
            ]
            answers = [await gateway.client.get(f"/v2/{path}", headers=sent) for path in paths]
            answers.append(await gateway.client.get(blob_path(), headers=sent))
        assert [answer.status_code for answer in (refused, *answers)] == [404, 200, 200, 404, 200, 200]
        for answer in (refused, *answers):
            assert not {"www-authenticate", "set-cookie", "x-evil", "server"} & set(answer.headers)
            assert b"evil" not in answer.content
        for one in (*registry.requests, *repo.requests):
            assert not _secrets_in(one.headers), one


def _secrets_in(headers: Mapping[str, str]) -> list[str]:
    return [text for text in headers.values() if "client" in text or "Y2xp" in text or "198.51" in text]
