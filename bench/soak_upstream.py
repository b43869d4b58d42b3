"""The upstreams of a soak, of whose answers one in five is bad: ``python -m bench.soak_upstream``."""

import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

from bench.processes import first_line, started
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.messages import Faults
from tests.fakes.registry import FakeRegistry
from tests.fakes.stock import Stock, make_stock

CHARTS: Final = "charts.example.test/stable"
IMAGES: Final = "registry.example.test"
BAD_SHARE: Final = 0.2
_COUNT: Final = 150
_LEAST_BYTES: Final = 20_000
_MOST_BYTES: Final = 300_000
_SEED: Final = 20240506
_SLOW_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Where they are."""

    repository: str
    registry: str

    def rules(self) -> dict[str, object]:
        """What stands in rules.yaml."""
        repository = {"kind": "helm", "url": self.repository, "allow_private": True}
        registry = {"kind": "registry", "url": self.registry, "allow_private": True}
        return {
            "version": 1,
            "defaults": {"fresh_for": "30s"},
            "upstreams": {CHARTS: repository, IMAGES: registry},
        }


def stock() -> Stock:
    """The same in each process: a chart and an image of two layers of each name."""
    return make_stock([f"app-{number}" for number in range(_COUNT)], _sizes)


def _sizes(name: str) -> list[int]:
    chance = Random(f"{_SEED} {name}")
    return [chance.randint(_LEAST_BYTES, _MOST_BYTES) for _ in range(3)]


@contextmanager
def serving() -> Iterator[Upstreams]:
    with started("bench.soak_upstream") as process:
        yield Upstreams(**json.loads(first_line(process)))


class _Moody(dict[str, Faults]):
    """The faults of any path: mostly none, now and then one of those that upstreams have."""

    def get(self, _path: str, _otherwise: object = None) -> Faults:
        if random.random() >= BAD_SHARE:
            return Faults()
        return random.choice(
            (
                Faults(status=500),
                Faults(status=503),
                Faults(reset=True),
                Faults(truncated=True),
                Faults(slow_seconds=_SLOW_SECONDS),
            )
        )


def main() -> None:
    held = stock()
    with HelmRepo(held.files) as repository, FakeRegistry() as registry:
        held.push_to(registry)
        for upstream in (repository, registry):
            upstream.faults_at = _Moody()
        print(json.dumps({"repository": repository.url, "registry": registry.origin}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
