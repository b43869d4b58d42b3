"""The clients of a soak: they pull what is popular more often, look at every byte, and keep count."""

import hashlib
import json
import random
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, IncompleteRead
from itertools import accumulate
from math import inf
from typing import Final, Self

from bench.soak_upstream import CHARTS, IMAGES
from tests.fakes.stock import VERSION, Article, Stock

CLIENTS: Final = 8
_LONGEST_PAUSE_SECONDS: Final = 0.08
_PATIENCE_SECONDS: Final = 60.0
_LAYER_SHARE: Final = 0.12  # of the pulls, that want the layers too: else no quota could be held
_PART_SHARE: Final = 0.3
_UPSTREAM_TROUBLE: Final = frozenset({429, 502, 503})
_UPSTREAM_FAILED: Final = re.compile(
    rf"({re.escape(CHARTS)}|{re.escape(IMAGES)}) (answered|failed before|broke off|sends too slowly)"
    r"|no connection to |the exchange with |127\.0\.0\.1 (fell silent|broke off)"
)
_SHOWN_ERRORS: Final = 20


@dataclass(frozen=True, slots=True)
class Content:
    """What an answer has to be, whole or its second quarter."""

    size: int
    whole: str
    part: str

    @classmethod
    def of(cls, content: bytes) -> Self:
        part = content[len(content) // 4 : len(content) // 2]
        return cls(len(content), hashlib.sha256(content).hexdigest(), hashlib.sha256(part).hexdigest())

    @property
    def range(self) -> str:
        return f"bytes={self.size // 4}-{self.size // 2 - 1}"


@dataclass(frozen=True, slots=True)
class Pullable:
    """``light``: what is never evicted, so that who had it once may have it whatever happens."""

    light: Mapping[str, Content]
    layers: Mapping[str, Content]
    tags_path: str


@dataclass(slots=True)
class Count:
    """What the clients met; ``own_errors``: what no upstream is to blame for, ``shown`` the first of them."""

    requests: int = 0
    received_bytes: int = 0
    refetches: int = 0
    upstream_errors: int = 0
    upstream_cuts: int = 0
    own_errors: int = 0
    shown: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` ends where it was cut."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool

    @property
    def is_content(self) -> bool:
        return self.status in (200, 206)

    @property
    def is_hit(self) -> bool:
        return self.headers.get("x-cache") == "hit"

    def blames_upstream(self) -> bool:
        """Whether it says that it has nothing because of who was asked; a HEAD says so by its status."""
        if self.status not in _UPSTREAM_TROUBLE or "retry-after" not in self.headers:
            return False
        return not self.body or bool(_UPSTREAM_FAILED.match(json.loads(self.body)["errors"][0]["message"]))


class Clients:
    """Each asks on a connection of its own: first for all there is, then for this and that, with pauses."""

    def __init__(self, port: int, stock: Stock) -> None:
        self._port = port
        articles = [*stock.charts_at(CHARTS), *stock.images_at(IMAGES)]
        random.Random(1).shuffle(articles)
        self._pullables = [_pullable(article) for article in articles]
        self._first = deque(self._pullables)
        self._seen_all_at = inf
        self._weights = list(accumulate(1 / rank for rank in range(1, len(articles) + 1)))
        self._had: set[str] = set()
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self.count = Count()

    @property
    def seconds_since_all_was_seen(self) -> float:
        """Below 0 until then."""
        return time.monotonic() - self._seen_all_at

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            connection = HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_SECONDS)
            try:
                while new := self._next_new():
                    self._pull(connection, new, wants_layers=True)
                while not self._is_over.wait(random.uniform(0, _LONGEST_PAUSE_SECONDS)):
                    (pullable,) = random.choices(self._pullables, cum_weights=self._weights)
                    self._pull(connection, pullable, wants_layers=random.random() < _LAYER_SHARE)
            except (OSError, HTTPException) as error:
                self._note_own(f"{type(error).__name__}: {error}")
            finally:
                connection.close()

    def _next_new(self) -> Pullable | None:
        with self._lock:
            if self._first:
                return self._first.popleft()
            self._seen_all_at = min(self._seen_all_at, time.monotonic())
            return None

    def _pull(self, connection: HTTPConnection, pullable: Pullable, *, wants_layers: bool) -> None:
        for path, content in pullable.light.items():
            method = random.choice(("GET", "GET", "HEAD"))
            if not self._ask(connection, method, path, content):
                return
        if wants_layers:
            for path, content in pullable.layers.items():
                part = content.range if random.random() < _PART_SHARE else None
                self._ask(connection, "GET", path, content, part, may_go=True)
        self._ask_for_tags(connection, pullable.tags_path)

    def _ask(
        self,
        connection: HTTPConnection,
        method: str,
        path: str,
        content: Content,
        part: str | None = None,
        *,
        may_go: bool = False,
    ) -> bool:
        """Return whether it was answered as it has to be."""
        answer = self._answer(connection, method, path, {} if part is None else {"Range": part})
        if not answer.is_content:
            return self._note_refusal(path, answer, is_held=path in self._had and not may_go)
        if not answer.is_whole:
            return self._note_cut(path, answer)
        if not _is_right(answer, content, method, part):
            return self._note_own(f"{method} {path}: wrong content, status {answer.status}")
        with self._lock:
            self.count.refetches += may_go and path in self._had and not answer.is_hit
            if method == "GET" or "/manifests/" in path:
                self._had.add(path)
        return True

    def _ask_for_tags(self, connection: HTTPConnection, path: str) -> bool:
        answer = self._answer(connection, "GET", path, {})
        if not answer.is_content:
            return self._note_refusal(path, answer, is_held=path in self._had)
        if json.loads(answer.body)["tags"] != [VERSION]:
            return self._note_own(f"{path}: {answer.body[:200]!r}")
        self._had.add(path)
        return True

    def _answer(
        self, connection: HTTPConnection, method: str, path: str, headers: Mapping[str, str]
    ) -> Answer:
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        try:
            body, is_whole = response.read(), True
        except IncompleteRead as error:
            body, is_whole = error.partial, False
            connection.close()  # the next request opens it anew
        with self._lock:
            self.count.requests += 1
            self.count.received_bytes += len(body)
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, body, is_whole)

    def _note_refusal(self, path: str, answer: Answer, *, is_held: bool) -> bool:
        if is_held or not answer.blames_upstream():
            return self._note_own(f"{path}: {answer.status} {answer.body[:300]!r}, held: {is_held}")
        with self._lock:
            self.count.upstream_errors += 1
        return False

    def _note_cut(self, path: str, answer: Answer) -> bool:
        """What arrives as it is sent ends where the upstream ended it for good."""
        if answer.is_hit:
            return self._note_own(f"{path}: cut after {len(answer.body)} bytes, and it was held")
        with self._lock:
            self.count.upstream_cuts += 1
        return False

    def _note_own(self, what: str) -> bool:
        with self._lock:
            self.count.own_errors += 1
            if len(self.count.shown) < _SHOWN_ERRORS:
                self.count.shown.append(what)
        return False


def _pullable(article: Article) -> Pullable:
    """Manifest by tag and digest, config; then the layers."""
    paths = list(article)
    contents = {path: Content.of(content) for path, content in article.items()}
    light = (paths[0], paths[-1], paths[1])
    tags_path = f"{paths[0].rpartition('/manifests/')[0]}/tags/list"
    return Pullable(
        {path: contents[path] for path in light}, {path: contents[path] for path in paths[2:-1]}, tags_path
    )


def _is_right(answer: Answer, content: Content, method: str, part: str | None) -> bool:
    if method == "HEAD":
        told = (answer.headers.get("content-length"), answer.headers.get("docker-content-digest"))
        return told == (str(content.size), f"sha256:{content.whole}")
    found = hashlib.sha256(answer.body).hexdigest()
    return (answer.status, found) == ((200, content.whole) if part is None else (206, content.part))
