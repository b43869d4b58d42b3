"""TLS that cannot be trusted is an outage, never a connection."""

import ssl
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from gateway.oci.outcomes import Unavailable
from gateway.sources.http import HttpLimits
from gateway.sources.transports import TlsFiles
from tests.sources.asking import ERRAND, EveryoneMay, asking, fetched, outcome_of
from tests.sources.raw_server import answer, raw_server, resetting_server, saying

pytestmark = pytest.mark.slow  # real sockets, seconds together

GOOD = answer(b"good")
AUTHORITY = trustme.CA()


def _tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _good() -> ssl.SSLContext:
    return _tls(AUTHORITY.issue_cert("127.0.0.1"))


def _expired() -> ssl.SSLContext:
    return _tls(AUTHORITY.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)))


def _for_another_name() -> ssl.SSLContext:
    return _tls(AUTHORITY.issue_cert("other.example.org"))


def _self_signed() -> ssl.SSLContext:
    return _tls(trustme.CA().issue_cert("127.0.0.1"))


def _too_old() -> ssl.SSLContext:
    context = _good()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.fixture
def directory(tmp_path: Path) -> EveryoneMay:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    return EveryoneMay(tls=TlsFiles(ca_file=tmp_path / "ca.pem"))


@pytest.mark.anyio
async def test_what_can_be_trusted_is(directory: EveryoneMay) -> None:
    async with raw_server(saying(GOOD), _good()) as server, asking(directory=directory) as http:
        assert await fetched(http, server.url()) == b"good"


@pytest.mark.anyio
@pytest.mark.parametrize("tls", [_expired, _for_another_name, _self_signed, _too_old])
async def test_what_cannot_is_an_outage_that_counts(
    tls: Callable[[], ssl.SSLContext], directory: EveryoneMay
) -> None:
    async with raw_server(saying(GOOD), tls()) as server, asking(directory=directory) as http:
        for _ in range(3):
            outcome = await outcome_of(http, server.url())
            assert isinstance(outcome, Unavailable)
            assert outcome.message == "no connection to 127.0.0.1"
        assert http.is_troubled(server.url(), ERRAND)
        paused = await outcome_of(http, server.url())
        assert isinstance(paused, Unavailable)
        assert paused.retry_after_seconds is not None
    assert not server.heads


@pytest.mark.anyio
async def test_what_speaks_no_tls_is_an_outage(directory: EveryoneMay) -> None:
    limits = HttpLimits(connect_seconds=0.05)
    async with raw_server(saying(GOOD)) as server, asking(limits, directory) as http:
        server.scheme = "https"
        assert isinstance(await outcome_of(http, server.url()), Unavailable)


@pytest.mark.anyio
@pytest.mark.parametrize("read_bytes", [0, 1, 100])
async def test_a_reset_in_the_middle_of_the_handshake_is_an_outage(
    read_bytes: int, directory: EveryoneMay
) -> None:
    async with resetting_server(read_bytes) as server, asking(directory=directory) as http:
        for _ in range(4):
            assert isinstance(await outcome_of(http, server.url()), Unavailable)
        assert len(server.heads) == 3
