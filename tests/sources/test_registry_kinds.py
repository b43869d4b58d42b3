"""Is it a registry? What counts as an answer, how long it is believed, and when it is asked again."""

import asyncio
from collections.abc import Iterator

import pytest

from gateway.oci.outcomes import Skipped, Unavailable, UnknownHost
from gateway.sources.registry_kinds import RegistryKinds
from tests.fakes.images import OCI
from tests.fakes.messages import Answer, Request
from tests.fakes.registry import FakeRegistry
from tests.fakes.server import FakeServer
from tests.sources.registry_parts import NAME, Memory, RegistryParts, registry_at, registry_parts

pytestmark = pytest.mark.slow  # many small tests, seconds together

VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
DAY_SECONDS = 86_400.0


class Host(FakeServer):
    """Gives one answer to everything."""

    def __init__(self, given: Answer) -> None:
        super().__init__()
        self.given = given

    def answer(self, request: Request) -> Answer:
        return self.given


class FullDisk(Memory):
    """Remembers nothing."""

    async def keep_registry(self, place: str, is_registry: bool, learnt_at: float) -> None:
        raise OSError("no space left on device")


@pytest.fixture
def host() -> Iterator[Host]:
    with Host(Answer(200, VERSION, b"{}")) as host:
        yield host


async def _is_registry(parts: RegistryParts) -> bool:
    return await parts.kinds.is_registry(parts.repository())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "is_registry"),
    [
        (Answer(200, VERSION, b"{}"), True),
        (Answer(401, VERSION), True),
        (Answer(401, {"WWW-Authenticate": 'Bearer realm="https://auth.example.test/token"'}), True),
        (Answer(401, {"WWW-Authenticate": 'Basic realm="x"'}), True),
        (Answer(401, {"WWW-Authenticate": 'Negotiate, Basic realm="x"'}), True),
        (Answer(200, {}, b"{}"), False),
        (Answer(200, {"Content-Type": "text/html"}, b"<html>"), False),
        (Answer(200, {"Docker-Distribution-Api-Version": "registry/1.0"}), False),
        (Answer(401), False),
        (Answer(401, {"WWW-Authenticate": "Negotiate"}), False),
        (Answer(401, {"WWW-Authenticate": 'Bearer realm="x'}), False),
        (Answer(403, VERSION), False),
        (Answer(404, VERSION), False),
        (Answer(404), False),
        (Answer(204), False),
        (Answer(302, {"Location": "http://elsewhere.example.test/"}), False),
    ],
)
async def test_what_an_answer_says_of_its_host(answer: Answer, is_registry: bool, host: Host) -> None:
    host.given = answer
    async with registry_parts(registry_at(host.origin)) as parts:
        assert await _is_registry(parts) == is_registry
        assert await _is_registry(parts) == is_registry
    assert [request.target for request in host.requests] == ["/v2/"]


@pytest.mark.anyio
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_an_outage_is_not_yet_known_and_not_remembered(status: int, host: Host) -> None:
    host.faults.status = status
    async with registry_parts(registry_at(host.origin)) as parts:
        with pytest.raises(Unavailable):
            await parts.registry.find(parts.route(is_guessed=True), "1")
        assert not parts.memory.known
        host.faults.status = None
        parts.clock.advance(60)
        assert await _is_registry(parts)


@pytest.mark.anyio
async def test_a_host_that_is_down_or_has_no_address_is_not_yet_known(host: Host) -> None:
    async with registry_parts(
        registry_at(host.origin), registry_at("https://nowhere.example.test", "nowhere.example.test")
    ) as parts:
        host.go_down()
        with pytest.raises(Unavailable):
            await _is_registry(parts)
        with pytest.raises(UnknownHost):
            await parts.registry.find(parts.route(is_guessed=True, host="nowhere.example.test"), "1")
        assert not parts.memory.known


@pytest.mark.anyio
async def test_it_is_believed_for_a_day_and_then_until_something_else_was_learnt(host: Host) -> None:
    async with registry_parts(registry_at(host.origin)) as parts:
        assert await _is_registry(parts)
        host.given = Answer(404)
        parts.clock.advance(DAY_SECONDS - 1)
        assert await _is_registry(parts)
        await parts.kinds.settle()
        assert host.count() == 1
        parts.clock.advance(1)
        host.faults.status = 503
        assert await _is_registry(parts)
        await parts.kinds.settle()
        parts.clock.advance(60)
        host.faults.status = None
        assert await _is_registry(parts)
        await parts.kinds.settle()
        assert not await _is_registry(parts)
        assert host.count() == 3


@pytest.mark.anyio
async def test_nobody_waits_for_a_silent_host_where_something_is_believed(host: Host) -> None:
    async with registry_parts(registry_at(host.origin)) as parts:
        assert await _is_registry(parts)
        parts.clock.advance(DAY_SECONDS)
        host.faults.silent = True
        assert await _is_registry(parts)
        assert host.count() <= 2


@pytest.mark.anyio
async def test_in_doubt_and_nobody_to_ask_the_old_belief_stands(host: Host) -> None:
    async with registry_parts(registry_at(host.origin)) as parts:
        assert await _is_registry(parts)
        parts.clock.advance(600)
        parts.kinds.doubt(parts.repository())
        host.go_down()
        assert await _is_registry(parts)


@pytest.mark.anyio
async def test_what_is_remembered_of_a_time_to_come_is_not_believed(host: Host) -> None:
    async with registry_parts(registry_at(host.origin)) as parts:
        await _is_registry(parts)
        parts.clock.advance(-1)
        await _is_registry(parts)
        await parts.kinds.settle()
    assert host.count() == 2


@pytest.mark.anyio
async def test_a_host_that_leads_back_to_us_is_left_out_and_not_remembered(host: Host) -> None:
    host.given = Answer(502, {"X-Gateway-Refused": "loop"})
    async with registry_parts(registry_at(host.origin)) as parts:
        with pytest.raises(Skipped):
            await _is_registry(parts)
        assert not parts.memory.known


@pytest.mark.anyio
async def test_what_cannot_be_remembered_is_answered_all_the_same(host: Host) -> None:
    async with registry_parts(registry_at(host.origin)) as parts:
        kinds = RegistryKinds(parts.http, FullDisk(), parts.clock)
        for _ in range(2):
            assert await kinds.is_registry(parts.repository())
    assert host.count() == 2


@pytest.mark.anyio
async def test_in_doubt_it_is_asked_again_at_most_every_ten_minutes(host: Host) -> None:
    host.given = Answer(404)
    async with registry_parts(registry_at(host.origin)) as parts:
        assert not await _is_registry(parts)
        for _ in range(5):
            parts.kinds.doubt(parts.repository())
            assert not await _is_registry(parts)
        assert host.count() == 1
        parts.clock.advance(600)
        parts.kinds.doubt(parts.repository())
        host.given = Answer(200, VERSION)
        assert await _is_registry(parts)
        parts.clock.advance(600)
        assert await _is_registry(parts)
    assert host.count() == 2


@pytest.mark.anyio
async def test_many_who_ask_at_once_are_one_question(host: Host) -> None:
    async with registry_parts(registry_at(host.origin)) as parts:
        assert all(await asyncio.gather(*[_is_registry(parts) for _ in range(20)]))
    assert host.count() == 1


@pytest.mark.anyio
async def test_only_a_guessed_registry_is_asked_what_it_is() -> None:
    with FakeRegistry() as fake:
        OCI.image(10).push_to(fake, NAME, "1")
        fake.has_version_header = False
        async with registry_parts(registry_at(fake.origin)) as parts:
            assert (await parts.registry.find(parts.route(), "1")).version == "1"
            assert fake.count("/v2/") == 0
            with pytest.raises(Skipped):
                await parts.registry.find(parts.route(is_guessed=True), "1")
