"""What rules cost: a request routed by many of them, and a file of them loaded."""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from statistics import median, quantiles

from bench.figures import AtMost, Figure
from bench.memory import resident_megabytes
from gateway.oci.errors import OciError
from gateway.oci.repository import Repository
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.route import Wanted, route

_RULES = 1_000
_MANY_RULES = 10_000
_ROUNDS = 5
_WARMING = 30_000
_ASKED = 30_000
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_SHAPES = (
    '- {{repository: "team-{0}/*", rewrite: charts.example.com/team-{0}/$1, fresh_for: 1m}}',
    '- {{repository: "dept-{0}/**/charts/*", rewrite: "dept-{0}.example.com/$1/$2"}}',
    '- {{repository: "~org-{0}-([a-z0-9]+)/(?P<chart>.+)", rewrite: "org.example.com/$1/${{chart}}"}}',
    '- {{repository: "~.*/(?:app|chart)-{0}-[a-z]*", provenance: true}}',
    '- {{host: "*-{0}.example.com", repository: "**", rewrite: "charts.example.com/$0"}}',
)
_NAMES = ("team-{}/{}", "dept-{}/{}/charts/x", "org-{}-eu/{}", "charts.example.com/{1}/app-{0}-x")


def run() -> Sequence[Figure]:
    small, large = load_rules(_text(_RULES)), load_rules(_text(_MANY_RULES))
    for rule_set, count in ((small, _RULES), (large, _MANY_RULES)):
        _route_all(rule_set, islice(_names(count), _WARMING))
    return [
        _routing(f"{_RULES:,} rules: a request routed, median", small, _RULES, AtMost(25)),
        _loading(f"{_RULES:,} rules: loaded", _RULES, AtMost(80)),
        _loading(f"{_MANY_RULES:,} rules: loaded", _MANY_RULES, None),
        _routing(f"{_MANY_RULES:,} rules: a request routed, median", large, _MANY_RULES, None),
    ]


def _text(count: int) -> str:
    """A file of as many rules, of every shape in turn, and of some upstreams."""
    upstreams = "".join(f"  u{number}.example.com/stable: {{missing_for: 1m}}\n" for number in range(20))
    rules = "\n".join(_SHAPES[number % len(_SHAPES)].format(number) for number in range(count))
    return f"version: 1\nupstreams:\n{upstreams}rules:\n{rules}\n"


def _names(count: int) -> Iterator[Wanted]:
    """Names nobody asked for yet: one of the first rules' names, one of the last ones', and one of none."""
    chance = random.Random(1)
    while True:
        fresh = "".join(chance.choices(_LETTERS, k=12))
        for near in (0, count - len(_SHAPES)):
            shape = chance.randrange(len(_NAMES))
            yield Wanted(Repository.parse(_NAMES[shape].format(near + shape, fresh)))
        yield Wanted(Repository.parse(f"charts.example.org/{fresh}/{fresh[::-1]}"), "gateway.example.org")


def _routing(what: str, rule_set: RuleSet, count: int, target: AtMost | None) -> Figure:
    before = resident_megabytes(os.getpid())
    microseconds = _route_all(rule_set, islice(_names(count), _WARMING, _WARMING + _ASKED))
    grown = resident_megabytes(os.getpid()) - before
    percentile = quantiles(microseconds, n=100)[98]
    how = f"fresh names: early, late, never; 99 % in {percentile:.0f} µs; memory + {grown:.0f} MB"
    return Figure(what, median(microseconds), "µs", target, how)


def _route_all(rule_set: RuleSet, names: Iterator[Wanted]) -> Sequence[float]:
    """The microseconds of each."""
    return [_seconds(partial(_route, rule_set, wanted)) * 1e6 for wanted in names]


def _route(rule_set: RuleSet, wanted: Wanted) -> None:
    try:
        route(rule_set, wanted)
    except OciError:
        return


def _loading(what: str, count: int, target: AtMost | None) -> Figure:
    text = _text(count)
    milliseconds = [_busy_seconds(lambda: load_rules(text)) * 1000 for _ in range(_ROUNDS)]
    how = f"of {len(text) / 1000:.0f} kB; time of the processor; most {max(milliseconds):.0f}"
    return Figure(what, median(milliseconds), "ms", target, how)


def _busy_seconds(work: Callable[[], object]) -> float:
    """Without what other processes took meanwhile."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
