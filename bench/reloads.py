"""What a change of the rules costs those who ask meanwhile: errors, memory, and how long they wait.

A thousand revisions are made while fifty requests a second come in; then files of ten thousand rules are put
in place. Workers look twice a second, so some revisions are passed over.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.figures import AtMost, Figure
from bench.gateways import Running, environment, fetch, running_by
from bench.lagging import Lag, Watched
from bench.memory import resident_megabytes
from bench.processes import started, wait_until
from gateway.store import rule_book_queries as queries
from gateway.store.data_dir import DataDir
from gateway.store.revisions import Draft, RevisionOrigin
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

_WORKERS = 2
_REVISIONS = 1_000
_REVISIONS_PER_SECOND = 12
_RULES = 100
_MANY_RULES = 10_000
_ROUNDS = 5
_CLIENTS = 5
_PER_SECOND = 10  # of each client
_QUIET_SECONDS = 5.0
_PAUSE_SECONDS = 0.1
_WARM = "/v2/charts.example.test/demo/manifests/1.2.3"


@dataclass(frozen=True, slots=True)
class _Answer:
    """``status`` 0 where the connection broke."""

    at: float
    status: int
    milliseconds: float


@dataclass(slots=True)
class _Load:
    """Clients that each ask at a pace, whether the one before was slow or not."""

    port: int
    answers: list[_Answer] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def ask(self, number: int) -> None:
        due = time.perf_counter() + number / _CLIENTS / _PER_SECOND
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.is_over.wait(max(due - time.perf_counter(), 0)):
            status = _status(connection)
            self.answers.append(_Answer(due, status, (time.perf_counter() - due) * 1000))
            due += 1 / _PER_SECOND
        connection.close()

    def between(self, start: float, end: float) -> Sequence[float]:
        return [one.milliseconds for one in self.answers if start <= one.at < end]


def run() -> Sequence[Figure]:
    with TemporaryDirectory() as root, HelmRepo(repository_of(make_chart("demo", "1.2.3"))) as upstream:
        place = {"kind": "helm", "url": upstream.url, "allow_private": True}
        rules = {"version": 1, "upstreams": {"charts.example.test": place}}
        folder = Path(root)
        return [*_many_times(rules, folder / "often"), *_large(rules, folder / "large"), _lag(folder / "lag")]


def _many_times(rules: Mapping[str, object], data_dir: Path) -> Sequence[Figure]:
    with (
        running_by(rules, data_dir, workers=_WORKERS) as gateway,
        _asking(gateway) as load,
        _book(data_dir) as make,
    ):
        _make_paced(
            make, rules, range(_REVISIONS // 10)
        )  # caches fill, and the allocator takes what it needs
        before = [resident_megabytes(worker) for worker in gateway.workers]
        workers = gateway.workers
        _make_paced(make, rules, range(_REVISIONS // 10, _REVISIONS))
        wait_until(partial(_is_at, gateway.port, _REVISIONS + 1))
        after = [resident_megabytes(worker) for worker in gateway.workers]
        statuses = Counter(one.status for one in load.answers)
        assert gateway.workers == workers
    swaps = data_dir.with_name(f"{data_dir.name}.log").read_text().count('"rules_in_force"')
    failed = statuses.total() - statuses[200]
    pairs = ", ".join(f"{one:.0f} → {other:.0f}" for one, other in zip(before, after, strict=True))
    grown = max(other - one for one, other in zip(before, after, strict=True))
    asked = f"{statuses.total()} requests"
    return [
        Figure(f"{_REVISIONS:,} revisions under load: not 200", failed, "answers", AtMost(0), asked),
        Figure(
            "… memory of a worker, grown most", grown, "MB", AtMost(10), f"{pairs} MB; {swaps} swaps in all"
        ),
    ]


def _large(rules: Mapping[str, object], data_dir: Path) -> Sequence[Figure]:
    """Each file comes by rename, and is taken in, followed and swapped while requests come in."""
    file = data_dir.with_name(f"{data_dir.name}-rules.yaml")
    spans: list[tuple[float, float]] = []
    with running_by(rules, data_dir, workers=_WORKERS) as gateway, _asking(gateway) as load:
        begun = time.perf_counter()
        load.is_over.wait(_QUIET_SECONDS)
        quiet = load.between(begun, time.perf_counter())
        for number in range(_ROUNDS):
            new = file.with_suffix(".new")
            new.write_text(_text(rules, _MANY_RULES, number))
            edited = time.perf_counter()
            new.rename(file)
            wait_until(partial(_is_at, gateway.port, number + 2))
            spans.append((edited, time.perf_counter()))
        statuses = {one.status for one in load.answers}
    waited = sorted(milliseconds for span in spans for milliseconds in load.between(*span))
    took = median(end - start for start, end in spans)
    assert statuses == {200}
    how = f"{len(waited)} requests of {_ROUNDS} reloads; without p99 {_p99(quiet):.1f}; most {waited[-1]:.0f}"
    return [
        Figure(f"a file of {_MANY_RULES:,} rules: until {_WORKERS} workers follow", took, "s", None, ""),
        Figure("… a warm request meanwhile, p99", _p99(waited), "ms", None, how),
    ]


def _lag(data_dir: Path) -> Figure:
    """The loop of one worker that follows; whoever is starved of a CPU is not counted."""
    rules = data_dir.with_name("rules.yaml")
    rules.write_text("version: 1\n")
    own = {**environment(data_dir, 0, None), "GATEWAY_RULES": str(rules)}
    log = data_dir.with_name(f"{data_dir.name}.log")
    lags: list[Lag] = []
    with started("bench.lagging", env=own, log=log) as process, _book(data_dir) as make:
        gateway = Watched(process)
        for number in range(_ROUNDS):
            gateway.lags()
            make(_text({"version": 1}, _MANY_RULES, number))
            wait_until(partial(_is_at, gateway.port, number + 2, asked=1))
            lags += gateway.lags()
    late = [lag.own_milliseconds for lag in lags]
    how = f"most {max(late):.0f}; {len(late)} samples of {_ROUNDS} reloads; waiting for a CPU not counted"
    return Figure("… loop lag of a worker meanwhile, p99", _p99(late), "ms", None, how)


@contextmanager
def _asking(gateway: Running) -> Iterator[_Load]:
    fetch(gateway.port, _WARM)
    load = _Load(gateway.port)
    threads = [threading.Thread(target=load.ask, args=(number,)) for number in range(_CLIENTS)]
    with ExitStack() as stack:
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        stack.callback(load.is_over.set)
        yield load


def _status(connection: HTTPConnection) -> int:
    try:
        connection.request("GET", _WARM)
        response = connection.getresponse()
        response.read()
    except (OSError, HTTPException):
        connection.close()
        return 0
    return response.status


@contextmanager
def _book(data_dir: Path) -> Iterator[Callable[[str], None]]:
    """What makes a revision beside a gateway."""
    opened = DataDir(data_dir)
    engines = opened.open_rule_engines()

    def make(text: str) -> None:
        draft = Draft(RevisionOrigin.ADMIN, "bench", text.encode())
        engines.write(queries.add, draft, time.time())

    try:
        yield make
    finally:
        engines.dispose()
        opened.close()


def _make_paced(make: Callable[[str], None], rules: Mapping[str, object], numbers: range) -> None:
    started_at = time.perf_counter()
    for count, number in enumerate(numbers, start=1):
        make(_text(rules, _RULES, number))
        time.sleep(max(started_at + count / _REVISIONS_PER_SECOND - time.perf_counter(), 0))


def _text(rules: Mapping[str, object], count: int, number: int) -> str:
    """Rules of which no two revisions have one in common."""
    lines = [
        f'- {{repository: "team-{number}-{n}/*", rewrite: charts.example.com/team-{n}/$1, fresh_for: 1m}}'
        if n % 2
        else f'- {{repository: "~org-{number}-{n}-([a-z]+)/.+", rewrite: "org.example.com/$1"}}'
        for n in range(count)
    ]
    head = "".join(f"{key}: {json.dumps(value)}\n" for key, value in rules.items())
    return f"{head}rules:\n" + "\n".join(lines) + "\n"


def _is_at(port: int, revision: int, asked: int = 10 * _WORKERS) -> bool:
    """Whether every worker follows it: asked on many connections, since the system chooses who answers."""
    time.sleep(_PAUSE_SECONDS)
    told = {json.loads(fetch(port, "/readyz").body)["rules"]["revision"] for _ in range(asked)}
    return told == {revision}


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]
