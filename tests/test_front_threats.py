"""threats.md 1c: every row has its tests; and its exact inputs by raw socket that stand nowhere else."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import pytest
import structlog

from gateway.oci.digest import Digest
from tests.composed import upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.sources.raw_server import answer, raw_server, saying
from tests.threats import IMAGE, NAME, TAG, registry_rules, serving
from tests.web.live import Live, live, parse_reply, request_bytes

pytestmark = pytest.mark.slow  # a whole gateway

LAYER = make_chart("redis", "1.2.3")
REDIS = "/v2/charts.example.test/redis"
BLOB = f"{REDIS}/blobs/{Digest.of(LAYER)}"
HOST = b"Host: gateway.test\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"

# H8: nothing reads an admin body yet. H10: HTTP/2 is not spoken, but a connection has its limit of requests.
# H11: no rule names a header. H12: there are no access rules yet.
HELD_BY: Mapping[str, Sequence[tuple[str, str]]] = {
    "H1": [
        ("web/test_front.py", "a_body_with_a_length_that_is_chunked_too_ends_the_connection"),
    ],
    "H2": [
        ("test_hypercorn_fit.py", "a_body_of_many_chunks_that_nobody_reads_ends_with_its_answer"),
        ("test_front_threats.py", "what_is_not_one_plain_request_is_refused_and_nothing_after_it_runs"),
    ],
    "H3": [
        ("test_front_threats.py", "what_is_not_one_plain_request_is_refused_and_nothing_after_it_runs"),
        ("web/test_front.py", "a_head_that_readers_could_differ_about_is_refused_and_ends_the_connection"),
        ("test_hypercorn_fit.py", "a_strict_head_has_the_lines_of_a_lenient_one_however_it_comes"),
    ],
    "H4": [
        ("test_front_threats.py", "what_asks_for_http_2_is_answered_in_http_1_1"),
        ("test_hypercorn_fit.py", "a_worker_does_not_start_on_a_server_that_is_not_adapted"),
        ("web/test_gate.py", "http_2_is_spoken_with_tls_only"),
    ],
    "H5": [
        ("web/test_front.py", "the_host_a_client_names_is_in_no_answer_and_in_nothing_that_is_kept"),
    ],
    "H6": [
        ("test_front_threats.py", "what_is_too_much_is_431"),
        ("web/test_gate.py", "accept_has_at_most_8_kib_in_however_many_headers"),
        ("web/test_gate.py", "1500_headers_and_an_endless_accept_are_refused"),
    ],
    "H7": [
        ("web/test_front.py", "a_range_that_is_none_or_many_gets_the_whole"),
        ("web/test_front.py", "a_range_outside_of_the_blob_cannot_be_met"),
        ("web/test_front.py", "manifests_and_lists_have_no_ranges"),
    ],
    "H8": [
        ("test_hypercorn_fit.py", "who_takes_nothing_for_a_minute_is_reset"),
        ("test_hypercorn_fit.py", "who_reads_slowly_is_not_cut_until_it_stops"),
        ("test_hypercorn_fit.py", "a_request_that_does_not_come_in_time_is_not_waited_for"),
        ("web/test_front.py", "a_body_where_none_is_read_is_refused_and_ends_the_connection"),
        ("e2e/test_clients_that_stall.py", "five_hundred_that_read_nothing_cost_little_and_hold_nobody_up"),
    ],
    "H9": [
        (
            "test_hypercorn_fit.py",
            "a_client_that_has_gone_costs_nothing_more_and_the_log_tells_how_much_it_was_sent",
        ),
        ("test_hypercorn_fit.py", "who_leaves_while_its_next_request_waits_leaves_nothing_behind"),
        ("web/test_streaming.py", "a_client_that_leaves_at_a_kibibyte_ends_nothing"),
        (
            "e2e/test_clients_that_stall.py",
            "five_hundred_that_leave_leave_no_file_open",
        ),
    ],
    "H10": [
        ("test_front_threats.py", "a_connection_has_its_thousand_requests_and_ends"),
    ],
    "H11": [
        (
            "test_upstream_credentials.py",
            "u15_nothing_of_a_clients_travels_up_and_nothing_of_an_upstreams_down",
        ),
        ("test_front_threats.py", "no_header_of_an_upstreams_becomes_one_of_ours"),
    ],
    "H12": [
        ("web/test_front.py", "a_page_that_is_none_is_refused"),
        ("web/test_front.py", "a_last_that_no_list_can_hold_is_refused"),
        ("web/test_front.py", "a_page_of_none_is_empty_and_leads_nowhere"),
        ("web/test_front.py", "pages_led_by_links_are_the_whole_list_once"),
    ],
    "H13": [
        ("web/test_front.py", "a_blob_is_bytes_to_every_browser"),
        ("web/test_front.py", "lengths_are_exact_and_nothing_is_encoded_whatever_a_client_accepts"),
    ],
}


def test_every_row_of_the_threat_list_has_tests_that_exist() -> None:
    assert list(HELD_BY) == [f"H{number}" for number in range(1, 14)]
    for file, name in (test for tests in HELD_BY.values() for test in tests):
        text = Path(__file__).parent.joinpath(file).read_text()
        assert re.search(rf"^(async )?def test_{name}\(", text, re.MULTILINE), (file, name)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with (
        HelmRepo(repository_of(LAYER)) as repo,
        live(
            tmp_path_factory.mktemp("front"), "upstreams:\n" + upstream(repo.url, "charts.example.test")
        ) as running,
    ):
        assert running.get(f"{REDIS}/manifests/1.2.3").status == 200
        yield running


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(
            b"GET /v2/ HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\n\r\n5\r\nAAAAAXX2\r\n45\r\n0\r\n\r\n",
            id="H2 malformed chunk: no body is read, whatever it is",
        ),
        pytest.param(
            b"POST /v2/ HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\n\r\n5\r\nAAAAAXX2\r\n45\r\n0\r\n\r\n",
            id="H2 malformed chunk of a method that is not offered",
        ),
        pytest.param(b"GET /v2/ HTTP/1.1\nHost: a\n\n", id="H3 bare LF"),
        pytest.param(b"GET /v2/ HTTP/1.1\nHost: a\r\n\r\n", id="H3 bare LF after the request line"),
        pytest.param(b"GET /v2/ HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", id="H3 bare LF after a header"),
        pytest.param(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\n", id="H3 bare LF at the end"),
        pytest.param(b"GET /v2/ HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", id="H3 bare CR"),
        pytest.param(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", id="H3 obs-fold"),
        pytest.param(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", id="H3 obs-fold by a tab"),
        pytest.param(b"GET /v2/ HTTP/1.1\r\n Host: a\r\n\r\n", id="H3 obs-fold of nothing"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="H4 PRI"),
    ],
)
def test_what_is_not_one_plain_request_is_refused_and_nothing_after_it_runs(
    gateway: Live, sent: bytes
) -> None:
    received = gateway.exchange(sent + SMUGGLED)
    assert parse_reply(received).status == 400
    assert received.count(b"\r\ndate: ") == 1


@pytest.mark.parametrize("connection", [b"Upgrade, HTTP2-Settings", b"Upgrade", b"close"])
def test_what_asks_for_http_2_is_answered_in_http_1_1(gateway: Live, connection: bytes) -> None:
    """H4: past a proxy, and past its rules about paths."""
    received = gateway.exchange(
        b"GET /v2/ HTTP/1.1\r\n" + HOST + b"Connection: " + connection + b"\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n" + request_bytes("GET", b"/v2/")
    )
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"HTTP/1.1") == received.count(b"{}") == 1 + (connection != b"close")


@pytest.mark.parametrize(
    "head", [b"Accept: " + b"a/b," * 3700 + b"\r\n", b"X: y\r\n" * 1500, b"X: " + b"y" * 20_000 + b"\r\n"]
)
def test_what_is_too_much_is_431(gateway: Live, head: bytes) -> None:
    """H6: in one segment, where h11 counts nothing."""
    received = gateway.exchange(b"GET /v2/ HTTP/1.1\r\n" + HOST + head + b"\r\n" + SMUGGLED)
    assert parse_reply(received).status == 431
    assert received.count(b"\r\ndate: ") == 1


def test_a_connection_has_its_thousand_requests_and_ends(gateway: Live) -> None:
    """H10."""
    received = gateway.exchange((b"GET /v2/ HTTP/1.1\r\n" + HOST + b"\r\n") * 1100)
    assert 1000 <= received.count(b"HTTP/1.1 200") == received.count(b"HTTP/1.1") < 1010


@pytest.mark.anyio
async def test_no_header_of_an_upstreams_becomes_one_of_ours(tmp_path: Path) -> None:
    """H11."""
    evil = [
        "Docker-Content-Digest: sha256:x\r\nSet-Cookie: a",
        f"Content-Type: {IMAGE.media_type}",
        "Link: </evil>; rel=next",
        "X-Evil: evil\x01",
        "ETag: evil",
        "Cache-Control: evil",
    ]
    async with (
        raw_server(saying(answer(IMAGE.manifest, *evil))) as server,
        serving(tmp_path, registry_rules(server.origin)) as running,
    ):
        reply = await running.client.get(f"/v2/{NAME}/manifests/{TAG}")
    assert "evil" not in str(reply.headers)
    assert {"set-cookie", "link"}.isdisjoint(reply.headers)
    assert reply.headers.get("docker-content-digest", str(Digest.of(IMAGE.manifest))) == str(
        Digest.of(IMAGE.manifest)
    )


def test_no_noise_is_answered_by_a_fault_of_ours(gateway: Live) -> None:
    """A few bytes of a request changed or lost: an answer below 500, or none, and a connection that ends."""
    random = Random(6)
    good = [
        b"GET /v2/ HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
        f"GET {BLOB} HTTP/1.1\r\n".encode() + HOST + b"Range: bytes=1-9\r\nConnection: close\r\n\r\n",
        b"GET /v2/_catalog?n=1&last=a HTTP/1.1\r\n"
        + HOST
        + b"Upgrade: websocket\r\nConnection: close\r\n\r\n",
    ]
    for _ in range(300):
        received = gateway.exchange(_spoilt(random, random.choice(good)) + b"\r\n\r\n")
        assert re.fullmatch(rb"(HTTP/1.1 [1-4].*)?", received[:10], re.DOTALL), received


def _spoilt(random: Random, request: bytes) -> bytes:
    spoilt = bytearray(request)
    for _ in range(random.randint(1, 4)):
        position = random.randrange(len(spoilt))
        spoilt[position : position + random.randint(0, 2)] = random.randbytes(random.randint(0, 2))
    return bytes(spoilt)
