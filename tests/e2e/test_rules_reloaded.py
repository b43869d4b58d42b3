"""Rules change under running gateways: every process follows, nobody is refused, and what is bad is told."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from gateway.oci.postgres_url import PostgresUrl
from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, Site, eventually
from tests.e2e.postgres_site import PostgresSite
from tests.e2e.test_postgres_outages import has_grown

pytestmark = pytest.mark.e2e

Record = Callable[[str, object], None]

ASKED = "/v2/team/app/manifests/1"
BAD = "version: 1\nrulez: []\n"
WITHIN_SECONDS = 2.0


def saying(word: str) -> str:
    """Rules by which whoever asks is told a word."""
    return f'version: 1\nrules: [{{repository: "team/**", deny: "{word}"}}]\n'


class Everyone:
    """One connection to each worker of a server, which stays open."""

    def __init__(self, server: Server) -> None:
        found: dict[int, HTTPConnection] = {}

        def has_all() -> bool:
            for idle in found.values():
                _get(idle, "/v2/")  # else it would be closed before all are found
            connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
            _get(connection, "/v2/")
            holder = _holder(server, connection)  # the system chooses
            if holder in found:
                connection.close()
            else:
                found[holder] = connection
            return server.worker_pids() <= found.keys()

        eventually(has_all, PATIENCE_SECONDS)
        self._connections = list(found.values())

    def say(self, word: str) -> bool:
        """Whether each of them is told this word, and nobody anything but a refusal."""
        told = [_get(connection, ASKED) for connection in self._connections]
        assert {status for status, _ in told} == {403}
        return all(f"team/app: {word}" in body for _, body in told)

    def rules(self) -> Sequence[dict[str, object]]:
        """What ``/readyz`` has of the rules, told by each."""
        told = [_get(connection, "/readyz") for connection in self._connections]
        assert {status for status, _ in told} == {200}
        return [json.loads(body)["rules"] for _, body in told]

    def are_troubled_by(self, word: str) -> bool:
        return all(word in str(one["trouble"]) for one in self.rules())

    def are_well(self) -> bool:
        return all(one["trouble"] is None for one in self.rules())

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def _holder(server: Server, connection: HTTPConnection) -> int:
    """The worker at the other end."""
    port = connection.sock.getsockname()[1]
    return next(
        worker.pid
        for worker in server.workers()
        for one in worker.net_connections("tcp4")
        if one.raddr and one.raddr.port == port
    )


def _get(connection: HTTPConnection, path: str) -> tuple[int, str]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


@contextmanager
def everyone(server: Server) -> Iterator[Everyone]:
    found = Everyone(server)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def site(site: Site) -> Site:
    site.write_rules(saying("first"))
    return site


def rename_into_place(site: Site, text: str) -> None:
    (site.folder / "rules.new").write_text(text)
    (site.folder / "rules.new").rename(site.folder / "rules.yaml")


@pytest.mark.parametrize("edit", [Site.write_rules, rename_into_place])
def test_an_edit_shows_in_all_workers_within_two_seconds(
    site: Site, edit: Callable[[Site, str], None], record_property: Record
) -> None:
    with site.serve(workers=4) as server, everyone(server) as clients:
        assert clients.say("first")
        taken = []
        for word in ("second", "third", "fourth", "fifth", "first"):
            edit(site, saying(word))
            taken.append(eventually(partial(clients.say, word), WITHIN_SECONDS))
        assert {one["revision"] for one in clients.rules()} == {6}
        record_property("seconds_until_all_workers_follow", taken)
        print(f"until 4 workers follow: {min(taken):.2f} to {max(taken):.2f} s")  # noqa: T201


def test_a_bad_edit_keeps_serving_and_every_worker_tells_what_is_wrong(site: Site) -> None:
    with site.serve(workers=4) as server, everyone(server) as clients:
        site.write_rules(BAD)
        eventually(lambda: clients.are_troubled_by("rules.yaml:2:1: newer rules are refused"), WITHIN_SECONDS)
        assert clients.say("first")
        assert [event["reason"] for event in server.events("rules_refused")] == [
            "rules.yaml:2:1: rulez: unknown key (did you mean rules?)"
        ]
        site.write_rules(saying("second"))
        eventually(lambda: clients.say("second") and clients.are_well(), WITHIN_SECONDS)
    site.write_rules(BAD)
    with site.serve(workers=2) as server, everyone(server) as clients:
        assert clients.say("second")
        assert clients.are_troubled_by("rules.yaml:2:1: newer rules are refused")  # from the first moment
        (site.folder / "rules.yaml").unlink()
        assert clients.say("second")
        site.write_rules(saying("third"))
        eventually(lambda: clients.say("third") and clients.are_well(), WITHIN_SECONDS)


def test_a_rollback_beside_the_server_is_followed_and_stays_over_a_restart(site: Site) -> None:
    with site.serve(workers=2) as server, everyone(server) as clients:
        site.write_rules(saying("second"))
        eventually(lambda: clients.say("second"), WITHIN_SECONDS)
        site.run("rules", "rollback", "1").require_ok()
        eventually(lambda: clients.say("first"), WITHIN_SECONDS)
    with site.serve() as server, everyone(server) as clients:
        assert clients.say("first")
        assert [one["revision"] for one in clients.rules()] == [3]
        site.write_rules(saying("third"))
        eventually(lambda: clients.say("third"), WITHIN_SECONDS)


def test_replicas_on_one_database_follow_each_others_files_and_rollbacks(
    tmp_path: Path, postgres_url: PostgresUrl, record_property: Record
) -> None:
    sites = [PostgresSite(tmp_path / name, postgres_url) for name in ("one", "two")]
    for site in sites:
        site.folder.mkdir()
        site.write_rules(saying("first"))
    with ExitStack() as stack:
        servers = [stack.enter_context(site.serve(workers=2)) for site in sites]
        clients = [stack.enter_context(everyone(server)) for server in servers]

        def follow(word: str) -> float:
            return eventually(lambda: all(some.say(word) for some in clients), WITHIN_SECONDS)

        taken = [follow("first")]
        for number, word in enumerate(("second", "third", "fourth")):
            sites[number % 2].write_rules(saying(word))
            taken.append(follow(word))
        sites[1].run("rules", "rollback", "2").require_ok()
        taken.append(follow("second"))
        sites[0].write_rules(BAD)
        eventually(lambda: clients[0].are_troubled_by("rules.yaml:2:1"), WITHIN_SECONDS)
        assert clients[1].are_well()  # its own file is good
        assert all(some.say("second") for some in clients)
        revisions = {one["revision"] for some in clients for one in some.rules()}
        assert revisions == {5}
        record_property("seconds_until_replicas_follow", taken)
        print(f"until 2 replicas follow: {min(taken):.2f} to {max(taken):.2f} s")  # noqa: T201


def test_when_the_worker_that_watches_is_killed_its_successor_watches(site: Site) -> None:
    with site.serve(workers=4) as server:
        for word in ("second", "third", "fourth"):
            if word == "third":  # before anybody can have seen it
                site.write_rules(saying(word))
            workers = server.workers()  # nobody outside knows which of them it is
            for worker in workers:
                worker.kill()
            psutil.wait_procs(workers, PATIENCE_SECONDS)
            eventually(lambda: len(server.worker_pids()) == 4, PATIENCE_SECONDS)
            if word != "third":
                site.write_rules(saying(word))
            with everyone(server) as clients:
                eventually(partial(clients.say, word), WITHIN_SECONDS)
        assert [event["revision"] for event in server.events("rules_taken_in")] == [1, 2, 3, 4]
        assert len(server.events("worker_died")) == 12


@contextmanager
def load(server: Server, answers: list[int]) -> Iterator[None]:
    """Four clients that ask again and again, until the server has gone or the block ends."""
    is_over = threading.Event()

    def ask() -> None:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
        while not is_over.is_set():
            try:
                answers.append(_get(connection, ASKED)[0])
            except OSError:
                connection.close()
                is_over.wait(0.05)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_told_to_end_amid_load_and_edits_it_ends_cleanly(site: Site) -> None:
    answers: list[int] = []
    with site.serve(workers=4) as server, load(server, answers):
        for number in range(4):
            enough = len(answers) + 200
            site.write_rules(saying(f"number {number}"))
            eventually(partial(has_grown, answers, enough), PATIENCE_SECONDS)
        site.write_rules(saying("last"))
        started = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - started < 5.0
        assert "Traceback" not in server.log
        assert not server.events("worker_killed")
    assert set(answers) == {403}
