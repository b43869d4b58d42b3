"""The fake Helm repository is honest, and each of its faults is the fault it says."""

import gzip
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio.to_thread
import httpx
import pytest
import trustme
import yaml

from tests.fakes.charts import chart_yaml_of, make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.messages import Faults
from tests.fakes.server import server_tls

pytestmark = pytest.mark.slow  # many small tests, seconds together

CHART = make_chart("demo", "1.2.3", {"templates/a.yaml": b"a: 1\n"}, appVersion="1.10")


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(CHART), prefix="charts") as repo:
        yield repo


@pytest.fixture
def client(repo: HelmRepo) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=repo.url + "/", trust_env=False, timeout=10) as client:
        yield client


def test_it_serves_an_index_whose_digest_and_urls_lead_to_the_archive(client: httpx.Client) -> None:
    (entry,) = yaml.safe_load(client.get("index.yaml").content)["entries"]["demo"]
    archive = client.get(entry["urls"][0]).content
    assert archive == CHART
    assert chart_yaml_of(archive)["appVersion"] == "1.10"


def test_making_a_chart_twice_gives_the_same_bytes() -> None:
    assert make_chart("demo", "1.2.3", {"templates/a.yaml": b"a: 1\n"}, appVersion="1.10") == CHART


def test_head_is_get_without_the_body(client: httpx.Client) -> None:
    told, given = client.head("index.yaml"), client.get("index.yaml")
    assert (told.status_code, told.headers, told.content) == (given.status_code, given.headers, b"")


def test_what_is_not_there_is_404_inside_and_outside_the_prefix(repo: HelmRepo, client: httpx.Client) -> None:
    repo.remove("index.yaml")
    paths = ("index.yaml", "no.tgz", "/index.yaml", "/")
    assert [client.get(path).status_code for path in paths] == [404] * 4


def test_one_connection_carries_many_requests_and_all_are_counted(
    repo: HelmRepo, client: httpx.Client
) -> None:
    for _ in range(3):
        client.get("index.yaml", params={"token": "a b"}, headers={"X-Asked": "yes"})
    client.head("index.yaml")
    assert (repo.count_of("index.yaml"), repo.count(), repo.connection_count) == (3, 4, 1)
    asked = repo.requests[0]
    assert (asked.target, asked.path) == ("/charts/index.yaml?token=a+b", "/charts/index.yaml")
    assert asked.headers["x-asked"] == "yes"


@pytest.mark.parametrize(
    ("asks", "answers"), [("etag", "if-none-match"), ("last-modified", "if-modified-since")]
)
def test_a_known_state_is_304_until_the_file_changes(
    repo: HelmRepo, client: httpx.Client, asks: str, answers: str
) -> None:
    condition = {answers: client.get("index.yaml").headers[asks]}
    same = client.get("index.yaml", headers=condition)
    assert (same.status_code, same.content, "content-length" in same.headers) == (304, b"", False)
    repo.put("index.yaml", b"apiVersion: v1\nentries: {}\n")
    assert client.get("index.yaml", headers=condition).status_code == 200


def test_without_validators_nothing_can_be_revalidated(repo: HelmRepo, client: httpx.Client) -> None:
    repo.has_validators = False
    assert {"etag", "last-modified"}.isdisjoint(client.get("index.yaml").headers)
    assert client.get("index.yaml", headers={"if-none-match": "*"}).status_code == 200


def test_gzip_is_only_for_who_accepts_it_and_keeps_revalidating(repo: HelmRepo, client: httpx.Client) -> None:
    repo.gzips = True
    plain = client.get("index.yaml", headers={"accept-encoding": "identity"})
    packed = client.get("index.yaml", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["etag"] == f"W/{plain.headers['etag']}"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) == len(gzip.compress(plain.content, 6, mtime=0))
    again = {"accept-encoding": "gzip", "if-none-match": packed.headers["etag"]}
    assert client.get("index.yaml", headers=again).status_code == 304


def test_a_folder_is_served_as_it_lies_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "repo" / "sub").mkdir(parents=True)
    (tmp_path / "repo" / "sub" / "a b.tgz").write_bytes(CHART)
    (tmp_path / "secret").write_bytes(b"no")
    with HelmRepo(tmp_path / "repo") as repo, httpx.Client(trust_env=False) as client:
        assert client.get(f"{repo.url}/sub/a%20b.tgz").content == CHART
        assert client.get(f"{repo.url}/%2e%2e/secret").status_code == 404
        repo.put("sub/a b.tgz", b"newer")
        assert client.get(f"{repo.url}/sub/a%20b.tgz").content == b"newer"


def test_tls_is_verified_against_its_own_authority() -> None:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with HelmRepo({"a": b"1"}, tls=server_tls(authority, "charts.test")) as repo:
        with httpx.Client(trust_env=False, verify=trusting) as client:
            assert client.get(f"{repo.url}/a").content == b"1"
        with (
            httpx.Client(trust_env=False) as stranger,
            pytest.raises(httpx.ConnectError, match="CERTIFICATE"),
        ):
            stranger.get(f"{repo.url}/a")


def test_down_ends_connections_and_refuses_new_ones_until_it_comes_up(
    repo: HelmRepo, client: httpx.Client
) -> None:
    client.get("index.yaml")
    place = repo.url
    repo.go_down()
    for _ in range(2):
        with pytest.raises(httpx.ConnectError):
            client.get("index.yaml")
    repo.come_up()
    assert client.get("index.yaml").status_code == 200
    assert repo.url == place


@pytest.mark.parametrize(
    ("fault", "patience_seconds", "error"),
    [
        (Faults(silent=True), 0.1, httpx.ReadTimeout),
        (Faults(slow_seconds=60), 0.1, httpx.ReadTimeout),
        (Faults(reset=True), 10, httpx.ReadError),
        (Faults(truncated=True), 10, httpx.RemoteProtocolError),
    ],
    ids=["silent", "slow", "reset", "truncated"],
)
def test_a_fault_is_what_a_client_calls_it(
    repo: HelmRepo, client: httpx.Client, fault: Faults, patience_seconds: float, error: type[Exception]
) -> None:
    repo.faults = fault
    with pytest.raises(error):
        client.get("index.yaml", timeout=patience_seconds)
    repo.faults = Faults()
    assert client.get("index.yaml").status_code == 200


def _is_html(answer: httpx.Response) -> bool:
    return answer.headers["content-type"].startswith("text/html") and b"<html>" in answer.content


@pytest.mark.parametrize(
    ("fault", "holds"),
    [
        (Faults(slow_seconds=0.01), lambda answer: answer.content == CHART),
        (Faults(drip_seconds=1e-6), lambda answer: answer.content == CHART),
        (
            Faults(wrong_bytes=True),
            lambda answer: answer.content != CHART and len(answer.content) == len(CHART),
        ),
        (
            Faults(status=429, headers={"Retry-After": "7"}),
            lambda answer: (answer.status_code, answer.headers["retry-after"]) == (429, "7"),
        ),
        (
            Faults(redirects_to="http://elsewhere.test/x"),
            lambda answer: answer.is_redirect and answer.headers["location"] == "http://elsewhere.test/x",
        ),
        (Faults(html=True), _is_html),
    ],
    ids=["slow", "drip", "wrong bytes", "status", "redirect", "html"],
)
def test_a_fault_of_one_file_leaves_the_others_as_they_are(
    repo: HelmRepo, client: httpx.Client, fault: Faults, holds: Callable[[httpx.Response], bool]
) -> None:
    repo.faults_at["/charts/demo-1.2.3.tgz"] = fault
    assert holds(client.get("demo-1.2.3.tgz"))
    assert client.get("index.yaml").content == repository_of(CHART)["index.yaml"]


def test_a_silent_file_answers_those_who_waited_when_released(repo: HelmRepo, client: httpx.Client) -> None:
    repo.faults_of("index.yaml").silent = True
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(client.get, "index.yaml") for _ in range(4)]
        repo.wait_for_requests(4)
        assert not any(answer.done() for answer in waiting)
        repo.release()
        assert [answer.result().status_code for answer in waiting] == [200] * 4


@pytest.mark.anyio
async def test_an_async_test_may_wait_for_a_request_while_it_makes_it(repo: HelmRepo) -> None:
    repo.faults.silent = True
    async with httpx.AsyncClient(trust_env=False) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, f"{repo.url}/index.yaml")
        await anyio.to_thread.run_sync(repo.wait_for_requests, 1)
        repo.release()
    assert repo.count_of("index.yaml") == 1


def test_closing_it_leaves_no_one_waiting() -> None:
    with httpx.Client(trust_env=False) as client, ThreadPoolExecutor(1) as pool:
        with HelmRepo({"a": b""}) as repo:
            repo.faults.silent = True
            answer = pool.submit(client.get, f"{repo.url}/a")
            repo.wait_for_requests(1)
        assert isinstance(answer.exception(), httpx.TransportError)
