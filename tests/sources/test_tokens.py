"""The token dance: who is asked for a token, what he may see, and how long a token is used."""

import asyncio
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.oci.outcomes import Corrupt, Denied, Missing, Unavailable
from gateway.sources.tokens import Refusal
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry
from tests.fakes.tokens import TokenServer
from tests.sources.registry_parts import (
    NAME,
    REGISTRY_HOST,
    SIGNED,
    RegistryParts,
    registry_at,
    registry_parts,
)

pytestmark = pytest.mark.slow  # many small tests, seconds together

IMAGE = OCI.image(10)
REALM_HOST = "tokens.example.test"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry(auth="bearer") as fake:
        IMAGE.push_to(fake, NAME, "1")
        yield fake


@pytest.fixture
def realm(fake: FakeRegistry) -> Iterator[TokenServer]:
    """A realm on another host than the registry's."""
    with TokenServer(fake.issuer) as realm:
        fake.realm = f"https://{REALM_HOST}/token"
        yield realm


def _authorizations(fake: FakeRegistry | TokenServer, path: str = "/token") -> list[str | None]:
    return [request.headers.get("authorization") for request in fake.requests if request.path == path]


def _trusting(realm: TokenServer) -> str:
    return registry_at(realm.origin, REALM_HOST, kind="helm", trusted_by=f"[{REGISTRY_HOST}]")


async def _pull(parts: RegistryParts, name: str = NAME) -> None:
    fetched = await parts.fetch("1", name)
    assert fetched.manifest.content == IMAGE.manifest


@pytest.mark.anyio
async def test_a_token_is_asked_for_once_and_used_for_all_that_follows(fake: FakeRegistry) -> None:
    async with registry_parts(registry_at(fake.origin)) as parts:
        await _pull(parts)
        await parts.registry.versions(parts.route())
    assert fake.count("/token") == 1
    assert [request.path.rpartition("/")[2] for request in fake.requests] == ["1", "token", "1", "1", "list"]
    asked = parse_qs(urlsplit(fake.requests[1].target).query)
    assert asked == {"service": ["fake"], "scope": [f"repository:{NAME}:pull"]}


@pytest.mark.anyio
async def test_a_realm_keeps_its_own_query_and_scopes_are_asked_for_each(fake: FakeRegistry) -> None:
    fake.challenge = (
        f'Bearer realm="{fake.origin}/token?account=x",scope="repository:{NAME}:pull repository:other:pull"'
    )
    async with registry_parts(registry_at(fake.origin)) as parts:
        await _pull(parts)
    asked = parse_qs(urlsplit(fake.requests[1].target).query)
    assert asked == {"account": ["x"], "scope": [f"repository:{NAME}:pull", "repository:other:pull"]}


@pytest.mark.anyio
async def test_a_challenge_without_a_scope_means_pulling_this_repository(fake: FakeRegistry) -> None:
    fake.challenge = f'Bearer realm="{fake.origin}/token"'
    async with registry_parts(registry_at(fake.origin)) as parts:
        await _pull(parts)
    assert parse_qs(urlsplit(fake.requests[1].target).query) == {"scope": [f"repository:{NAME}:pull"]}


@pytest.mark.anyio
async def test_twenty_who_need_a_token_get_the_same_one(fake: FakeRegistry) -> None:
    async with registry_parts(registry_at(fake.origin)) as parts:
        await asyncio.gather(*[_pull(parts) for _ in range(20)])
    assert fake.count("/token") == 1


@pytest.mark.anyio
async def test_each_repository_has_a_token_of_its_own(fake: FakeRegistry) -> None:
    IMAGE.push_to(fake, "team/other", "1")
    async with registry_parts(registry_at(fake.origin)) as parts:
        await _pull(parts)
        await _pull(parts, "team/other")
        await _pull(parts)
    assert fake.count("/token") == 2


@pytest.mark.anyio
async def test_two_upstreams_at_one_registry_share_no_token(fake: FakeRegistry) -> None:
    twin = registry_at(fake.origin, "twin.example.test")
    async with registry_parts(registry_at(fake.origin, **SIGNED), twin) as parts:
        await _pull(parts)
        await parts.registry.find(parts.route(host="twin.example.test"), "1")
    assert _authorizations(fake) == [fake.issuer.account.authorization, None]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("expires_in", "good_for_seconds"),
    [(300, 290), (None, 50), (-1, 50), ("x", 50), (True, 50), (1.5, 50), (10**9, 3590), (60, 50), (61, 51)],
)
async def test_a_token_is_used_until_ten_seconds_before_its_end(
    expires_in: object, good_for_seconds: int, fake: FakeRegistry
) -> None:
    fake.issuer.expires_in = expires_in
    async with registry_parts(registry_at(fake.origin)) as parts:
        await _pull(parts)
        parts.clock.advance(good_for_seconds - 1)
        await _pull(parts)
        assert fake.count("/token") == 1
        parts.clock.advance(1)
        await _pull(parts)
        assert fake.count("/token") == 2


@pytest.mark.anyio
async def test_a_token_that_is_no_longer_taken_is_fetched_anew_once(fake: FakeRegistry) -> None:
    async with registry_parts(registry_at(fake.origin)) as parts:
        await _pull(parts)
        fake.revoke_tokens()
        await _pull(parts)
        assert fake.count("/token") == 2
        fake.challenge = f'Bearer realm="{fake.origin}/token",scope="repository:other:pull"'
        fake.revoke_tokens()
        with pytest.raises(Missing):
            await _pull(parts)
        assert fake.count("/token") == 3


@pytest.mark.anyio
@pytest.mark.parametrize("member", ["token", "access_token"])
async def test_either_name_of_a_token_is_read(member: str, fake: FakeRegistry) -> None:
    fake.issuer.member = member
    async with registry_parts(registry_at(fake.origin)) as parts:
        await _pull(parts)


@pytest.mark.anyio
async def test_our_own_realm_sees_the_credentials_and_a_foreign_one_does_not(
    fake: FakeRegistry, realm: TokenServer
) -> None:
    fake.issuer.private_names = {NAME}
    own = registry_at(fake.origin, **SIGNED)
    async with registry_parts(own, _trusting(realm)) as parts:
        with pytest.raises(Denied):
            await _pull(parts)
    assert _authorizations(realm) == [None]
    fake.realm = None
    async with registry_parts(own) as parts:
        await _pull(parts)
    assert _authorizations(fake) == [fake.issuer.account.authorization]


@pytest.mark.anyio
async def test_a_realm_that_the_upstream_names_as_its_token_host_sees_the_credentials(
    fake: FakeRegistry, realm: TokenServer
) -> None:
    fake.issuer.has_anonymous = False
    own = registry_at(fake.origin, token_hosts=f"[{REALM_HOST}]", **SIGNED)
    async with registry_parts(own, _trusting(realm)) as parts:
        await _pull(parts)
    assert _authorizations(realm) == [fake.issuer.account.authorization]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url",
    [
        "http://tokens.example.test/t",
        "https://169.254.169.254/",
        "https://[::1]/t",
        "https://localhost/t",
        "https://user:word@registry.example.test/t",
        "https://tokens.example.test/#t",
        "file:///etc/passwd",
        "//tokens.example.test/t",
        "/token",
        "",
    ],
)
async def test_a_realm_that_no_honest_registry_names_is_never_asked(url: str, fake: FakeRegistry) -> None:
    fake.challenge = f'Bearer realm="{url}",service="fake"'
    async with registry_parts(registry_at(fake.origin, **SIGNED)) as parts:
        with pytest.raises(Corrupt) as caught:
            await _pull(parts)
        assert parts.dns.asked == ["127.0.0.1"]
    assert caught.value.reason == "bad_realm"
    assert fake.count() == 1


@pytest.mark.anyio
async def test_a_realm_that_does_not_resolve_is_an_outage_and_sees_nothing(fake: FakeRegistry) -> None:
    fake.challenge = 'Bearer realm="https://evil.example.test/t",service="fake"'
    async with registry_parts(registry_at(fake.origin, **SIGNED)) as parts:
        with pytest.raises(Unavailable):
            await _pull(parts)


@pytest.mark.anyio
async def test_a_realm_that_redirects_is_not_followed(fake: FakeRegistry, realm: TokenServer) -> None:
    fake.realm = None
    fake.faults_of_tokens().redirects_to = realm.realm
    async with registry_parts(registry_at(fake.origin, **SIGNED)) as parts:
        with pytest.raises(Corrupt) as caught:
            await _pull(parts)
    assert caught.value.reason == "bad_redirect"
    assert realm.count() == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("member", "reason"), [("token " * 20_000, "too_large"), ("nothing", "bad_token")], ids=["large", "none"]
)
async def test_an_answer_that_holds_no_token_is_refused(member: str, reason: str, fake: FakeRegistry) -> None:
    fake.issuer.member = member
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Corrupt) as caught:
            await _pull(parts)
    assert caught.value.reason == reason


@pytest.mark.anyio
async def test_a_page_in_place_of_a_token_is_refused(fake: FakeRegistry) -> None:
    fake.faults_of_tokens().html = True
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Corrupt) as caught:
            await _pull(parts)
    assert caught.value.reason == "bad_token"


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_a_token_server_that_is_broken_is_an_outage(status: int, fake: FakeRegistry) -> None:
    fake.faults_of_tokens().status = status
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Unavailable):
            await _pull(parts)


@pytest.mark.anyio
async def test_a_token_server_that_limits_us_is_obeyed(fake: FakeRegistry) -> None:
    faults = fake.faults_of_tokens()
    faults.status, faults.headers = 429, {"Retry-After": "7"}
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Unavailable) as caught:
            await _pull(parts)
    assert (caught.value.is_rate_limited, caught.value.retry_after_seconds) == (True, 7)


@pytest.mark.anyio
async def test_without_a_token_for_strangers_it_is_missing_and_wrong_credentials_are_denied(
    fake: FakeRegistry,
) -> None:
    fake.issuer.has_anonymous = False
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Missing):
            await _pull(parts)
    wrong = {**SIGNED, "password_env": "GATEWAY_SECRET_USER"}
    async with registry_parts(registry_at(fake.origin, **wrong)) as parts:
        with pytest.raises(Denied):
            await _pull(parts)


@pytest.mark.anyio
async def test_a_registry_may_ask_for_a_password_itself(fake: FakeRegistry) -> None:
    fake.auth = "basic"
    async with registry_parts(registry_at(fake.origin, **SIGNED)) as parts:
        await _pull(parts)
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Missing):
            await _pull(parts)
    wrong = {**SIGNED, "password_env": "GATEWAY_SECRET_USER"}
    asked_before = fake.count()
    async with registry_parts(registry_at(fake.origin, **wrong)) as parts:
        with pytest.raises(Denied):
            await _pull(parts)
    assert fake.count() - asked_before == 1


@pytest.mark.anyio
async def test_who_comes_late_to_a_refusal_takes_the_token_that_is_there(fake: FakeRegistry) -> None:
    async with registry_parts(registry_at(fake.origin)) as parts:
        await _pull(parts)
        held = parts.tokens.held(parts.repository())
        late = Refusal(f'Bearer realm="{fake.origin}/token"', None, has_credentials=False)
        assert await parts.tokens.renewed(parts.repository(), late) is held
    assert fake.count("/token") == 1


@pytest.mark.anyio
async def test_a_registry_that_wants_a_password_after_a_token_gets_it(fake: FakeRegistry) -> None:
    async with registry_parts(registry_at(fake.origin, **SIGNED)) as parts:
        await _pull(parts)
        fake.auth = "basic"
        await _pull(parts)


@pytest.mark.anyio
@pytest.mark.parametrize("challenge", ["", "Negotiate", 'Digest realm="x"'])
async def test_a_registry_that_wants_what_we_have_not_is_missing(challenge: str, fake: FakeRegistry) -> None:
    fake.challenge = challenge or " "
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Missing):
            await _pull(parts)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "challenge",
    ['Bearer realm="x', "Basic " + "x" * 9000, 'Bearer realm="x" y', f'Bearer scope="{"x" * 1100}"'],
)
async def test_a_challenge_that_cannot_be_read_is_refused(challenge: str, fake: FakeRegistry) -> None:
    fake.challenge = challenge
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Corrupt) as caught:
            await _pull(parts)
    assert caught.value.reason == "bad_challenge"
