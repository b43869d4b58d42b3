"""The gateway and a bare ASGI application that sends the same answer: load on one, then on the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import bare
from bench.gateways import Answer, fetch
from bench.load import Load, load

_HYPERCORN_ADDS = frozenset({"date", "connection"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """``in_pieces``: the bare application reads the file as it sends, a MiB at a time."""

    port: int
    path: str
    connections: int
    in_pieces: bool
    rounds: int = 9
    seconds: float = 1.5

    def run(self, scratch: Path) -> Sequence[tuple[Load, Load]]:
        """Return what the gateway and the bare application did in each round."""
        answer = fetch(self.port, self.path)
        body = scratch / "body"
        body.write_bytes(answer.body)
        with bare.serving(body, _own_headers(answer), in_pieces=self.in_pieces) as bare_port:
            if fetch(bare_port, self.path).body != answer.body:
                raise RuntimeError("the bare application sends something else")
            return [(self._load(self.port), self._load(bare_port)) for _ in range(self.rounds)]

    def _load(self, port: int) -> Load:
        return load(port, self.path, self.connections, self.seconds)


def percentage(rounds: Sequence[tuple[Load, Load]]) -> float:
    """The median of the rounds' own ratios: what else the machine does meanwhile slows both."""
    return median(100 * own.per_second / other.per_second for own, other in rounds)


def medians(rounds: Sequence[tuple[Load, Load]], rate: Callable[[Load], float]) -> tuple[float, float]:
    return median(rate(own) for own, _ in rounds), median(rate(other) for _, other in rounds)


def _own_headers(answer: Answer) -> Sequence[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers if name.lower() not in _HYPERCORN_ADDS]
