"""What lies just below a name, as far as rules say: names they spell out, and ways to charts of a place."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from gateway.rules.match import Look, Matcher
from gateway.rules.model import RuleSet
from gateway.rules.route import Route, Routing

PROBE: Final = "zz-what-nobody-calls-a-chart"


@dataclass(frozen=True, slots=True)
class Way:
    """Names ``head…tail`` of which the rules make charts ``chart_head…chart_tail`` of the route's place."""

    head: str
    tail: str
    route: Route
    chart_head: str
    chart_tail: str

    def name_of(self, chart: str) -> str | None:
        """By which name a chart of the place is asked for; None where this way does not lead to it."""
        end = len(chart) - len(self.chart_tail)
        middle = chart[len(self.chart_head) : end]
        if not middle or f"{self.chart_head}{middle}{self.chart_tail}" != chart:
            return None
        return f"{self.head}{middle}{self.tail}"


def ways_of(name: str, routing: Routing) -> Iterator[Way]:
    """Those whose place is the same for every chart."""
    head, _, tail = name.partition(PROBE)
    for one in routing.routes:
        chart_head, found, chart_tail = one.target.chart.partition(PROBE)
        if found and PROBE not in f"{one.target.place}{chart_tail}":
            yield Way(head, tail, one, chart_head, chart_tail)


def names_of(ways: Sequence[Way], targets: Iterable[str]) -> Iterator[str]:
    """By which names what is held at a way's place is asked for."""
    by_place: dict[str, list[Way]] = {}
    for way in ways:
        by_place.setdefault(way.route.target.place, []).append(way)
    for target in targets:
        place, _, chart = target.rpartition("/")
        for way in by_place.get(place, ()):
            name = way.name_of(chart)
            if name is not None:
                yield name


def written_names(rule_set: RuleSet, prefix: str, host: str) -> Iterator[str]:
    """The names just below that rules are about; a probe stands where a rule leaves some of them open."""
    for rule in rule_set.rules.enabled:
        pattern = rule.look.repository
        *above, last = ("",) if pattern is None or pattern.segments is None else pattern.segments
        if last in ("", "*", "**") or last.count("*") > 1 or not _may_stand_above(above, prefix):
            continue
        name = below(prefix, last.replace("*", PROBE))
        if rule.look.captures(host, name) is not None:
            yield name


def _may_stand_above(segments: Sequence[str], prefix: str) -> bool:
    """Whether segments of a glob may mean a prefix: of 10,000 rules few do, and each match takes its time."""
    wanted = prefix.split("/") if prefix else []
    if "**" not in segments and len(segments) != len(wanted):
        return False
    pairs = takewhile(lambda pair: pair[0] != "**", zip(segments, wanted, strict=False))
    return all("*" in segment or segment == part for segment, part in pairs)


def synced_names(rule_set: RuleSet) -> Iterator[str]:
    """The charts that lists name in full."""
    for wanted in rule_set.sync:
        for entry in wanted.charts:
            if entry.repository.is_glob and not entry.repository.captures:
                yield entry.repository.text


def hosts_that_count(rule_set: RuleSet) -> Matcher:
    """What takes the hosts that some rule is about. Of many rules it takes long to make."""
    hosts = (rule.look.host for rule in rule_set.rules.enabled)
    return Matcher([Look(host, None) for host in {host.text: host for host in hosts if host}.values()])


def below(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def is_just_below(prefix: str, name: str) -> bool:
    above, _, last = name.rpartition("/")
    return above == prefix and bool(last)
