"""threats.md 1b, S1 to S12, through the whole gateway: nothing is dialled or kept, no reason is told."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.composed import HOST, Composed, FakeDns, composed, upstream
from tests.sources.raw_server import Say, raw_server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ELSEWHERE: Mapping[str, Sequence[str]] = {
    "S4": ["sources/test_egress.py::test_a_name_is_looked_up_once_a_connection_so_that_it_cannot_be_rebound"],
    "S7": [
        "oci/test_urls.py::test_what_could_be_read_in_two_ways_is_refused",
        "test_conversion_threats.py::test_what_a_repository_sends",
        "test_upstream_credentials.py::test_who_is_asked_for_a_token_and_with_what",
    ],
    "S8": [
        "rules/test_route.py::test_an_allowlist_denies_everything_else",
        "rules/test_route_by_rules.py::test_an_allowlist_lists_the_hosts_that_are_written_in_rewrites",
    ],
    "S9": ["sources/test_egress.py::test_variables_for_proxies_are_not_obeyed"],
}
NOBODY = "nobody.example.test"
PUBLIC = "93.184.216.34"

_connects: list[object] = []
_is_watching = False


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and _is_watching:
        _connects.append(arguments[1])


sys.addaudithook(_note)


@contextmanager
def dials() -> Iterator[list[object]]:
    """Every address that a socket of this process is told to connect to meanwhile."""
    global _is_watching  # noqa: PLW0603 (an audit hook stays for good)
    _connects.clear()
    _is_watching = True
    try:
        yield _connects
    finally:
        _is_watching = False


async def ask(at: Composed, name: str) -> tuple[int, str]:
    """Status and body, with the name taken out of it."""
    reply = await at.manifest(f"{name}/x", "1.0.0")
    return reply.status_code, reply.text.replace(name, "<name>")


async def require_refused(folder: Path, names: Sequence[str], dns: FakeDns, rules: str = "") -> None:
    async with composed(folder, rules, dns) as at:
        unknown = await ask(at, NOBODY)
        before = await at.stored()
        for name in names:
            with dials() as dialled:
                assert await ask(at, name) == unknown, name
            assert dialled == [], name
        assert unknown[0] == 404
        assert '"NAME_UNKNOWN"' in unknown[1]
        assert await at.stored() == before


@pytest.mark.parametrize(
    "name",
    [
        "metadata.google.internal",
        "kubernetes.default.svc",
        "printer.local",
        "db.svc.cluster.local",
        "x.localhost",
    ],
)
async def test_s1_a_name_of_somebodys_inside_is_not_even_looked_up(name: str, tmp_path: Path) -> None:
    dns = FakeDns({name: ["10.0.0.1"]})
    await require_refused(tmp_path, [name], dns)
    assert set(dns.asked) == {NOBODY}


@pytest.mark.parametrize(
    "name",
    [
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.100.100.200", "localhost"),
        *("2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0", "192.168.1", "1.1.1.1", "0xa9fea9fe"),
    ],
)
async def test_s1_s2_an_address_however_it_is_spelled_is_no_host(name: str, tmp_path: Path) -> None:
    dns = FakeDns()
    async with composed(tmp_path, "", dns) as at:
        before = await at.stored()
        with dials() as dialled:
            status, body = await ask(at, name)
        assert (status, dialled, dns.asked) == (404, [], [])
        assert '"NAME_UNKNOWN"' in body
        assert await at.stored() == before


@pytest.mark.parametrize(
    "answers",
    [
        *(["127.0.0.1"], ["10.0.0.7"], ["169.254.169.254"], ["100.64.0.1"], ["198.18.0.1"], ["240.0.0.1"]),
        *(["0.0.0.0"], ["224.0.0.1"], [PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC]),  # noqa: S104
        *(["::1"], ["::ffff:127.0.0.1"], ["::127.0.0.1"], ["64:ff9b::a9fe:a9fe"], ["2002:7f00:1::"]),
        *(["fd00:ec2::254"], ["fe80::1"], ["fec0::1"], ["ff02::1"], ["64:ff9b:1::1"], [PUBLIC, "::1"]),
    ],
    ids=" ".join,
)
async def test_s3_s5_one_private_answer_reads_as_no_such_name(answers: Sequence[str], tmp_path: Path) -> None:
    name = "ok.example.test"
    await require_refused(tmp_path, [name], FakeDns({name: answers}))


LOCATIONS = [
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/",
    "https://127.0.0.1:6443/",
    "https://[::1]/",
    "https://rebound.example.test/",
    "https://2130706433/",
    "https://user:secret@example.test/",
    r"https://good.example.test\@evil.example.test/",
    "https://evil.example.test%2f.good.example.test/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "javascript:alert(1)",
    "//127.0.0.1:22/",
    "https:/x",
    "https://127。0。0。1/",
    "",
]


@pytest.mark.parametrize("location", LOCATIONS)
async def test_s6_s7_a_redirect_to_the_inside_is_not_followed(location: str, tmp_path: Path) -> None:
    """Of the upstream's own private place: what it points at is no place of its own."""

    async def redirect(_target: str, say: Say) -> None:
        await say(f"HTTP/1.1 302 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())

    async with raw_server(redirect) as server:
        rules = f"upstreams:\n{upstream(server.origin, kind='helm')}"
        dns = FakeDns({"rebound.example.test": ["127.0.0.1"], "evil.example.test": ["127.0.0.1"]})
        async with composed(tmp_path, rules, dns) as at:
            before = await at.stored()
            with dials() as dialled:
                reply = await at.manifest(f"{HOST}/x", "1.0.0")
            assert reply.status_code >= 400
            assert "Traceback" not in reply.text
            assert "secret@" not in reply.text
            assert {_port(address) for address in dialled} == {httpx.URL(server.origin).port}
            assert await at.stored() == before


async def test_s6_a_chain_of_redirects_ends(tmp_path: Path) -> None:
    asked: list[str] = []

    async def redirect(target: str, say: Say) -> None:
        asked.append(target)
        await say(f"HTTP/1.1 302 X\r\nLocation: {target}x\r\nContent-Length: 0\r\n\r\n".encode())

    async with raw_server(redirect) as server:
        async with composed(tmp_path, f"upstreams:\n{upstream(server.origin, kind='helm')}") as at:
            reply = await at.manifest(f"{HOST}/x", "1.0.0")
        assert (reply.status_code, len(asked)) == (502, 6)


async def test_s10_what_answers_what_is_closed_and_what_is_silent_read_the_same(tmp_path: Path) -> None:
    """Of addresses that are not dialled: nobody finds out by us what is open inside."""
    names = [f"{kind}.example.test" for kind in ("open", "closed", "filtered")]
    dns = FakeDns(dict(zip(names, (["127.0.0.1"], ["127.0.0.2"], ["10.255.255.1"]), strict=True)))
    await require_refused(tmp_path, names, dns)


def test_every_row_has_a_test() -> None:
    here = Path(__file__).read_text()
    missing = [
        row
        for row in (f"S{number}" for number in range(1, 11))
        if f"_{row.lower()}_" not in here and row not in ELSEWHERE
    ]
    assert missing == []
    for name in (name for names in ELSEWHERE.values() for name in names):
        path, _, function = name.partition("::")
        assert f"def {function}(" in (Path(__file__).parent / path).read_text(), name


def _port(address: object) -> object:
    return address[1] if isinstance(address, tuple) else address
