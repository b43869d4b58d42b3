"""Upstreams as pages: how each stands, what it last said, and a button that asks it now."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.responses import Response

from gateway.access.roles import Role
from gateway.activity import ActivityDesk
from gateway.activity_seen import UpstreamHealth, UpstreamState
from gateway.sources.upstream_check import CheckedUpstream, CheckResult
from gateway.web.admin.pages import Drawer, Page, Visit, redirect

_SHOWN = 100
_REMEMBERED = 200
_STATES: Mapping[str, str] = {
    "": "All",
    UpstreamHealth.PAUSED: "Paused",
    UpstreamHealth.FAILING: "Failing",
    UpstreamHealth.PROBING: "Being tried",
    UpstreamHealth.OK: "Answering",
    UpstreamHealth.UNASKED: "Not asked yet",
}
_MEANS: Mapping[CheckResult, str] = {
    CheckResult.OK: "it answers",
    CheckResult.UNAUTHORIZED: "it answers, but not to us: look at its credentials in the rules",
    CheckResult.NOT_FOUND: "it answers that nothing is there: look at its url in the rules",
    CheckResult.REFUSED: "nobody was asked: the rules or OFFLINE say no",
    CheckResult.UNRESOLVED: "its name does not resolve, or its address may not be dialled",
    CheckResult.UNREACHABLE: "no connection came about",
    CheckResult.TIMEOUT: "no answer came in time",
    CheckResult.TLS: "its certificate is not trusted, or TLS failed: look at ca_file in the rules",
    CheckResult.WRONG_ANSWER: "what answers is neither a registry nor a Helm repository",
    CheckResult.RATE_LIMITED: "it says that it was asked too often",
}


@dataclass(frozen=True, slots=True)
class LastTest:
    """What came of asking a place, when (seconds since the epoch), and who did."""

    place: str
    checked: CheckedUpstream
    at: float
    asker: str


@dataclass(frozen=True, slots=True)
class UpstreamPages:
    """Remembers what came of tests as long as the process runs. ``now`` gives seconds since the epoch."""

    activity: ActivityDesk
    now: Callable[[], float]
    drawer: Drawer
    _tests: OrderedDict[str, LastTest] = field(default_factory=OrderedDict)

    def pages(self) -> list[Page]:
        return [
            Page("/upstreams", self._list),
            Page("/upstreams/test", self._test, "POST", Role.EDITOR),
        ]

    async def _list(self, visit: Visit) -> Response:
        query, state = visit.query("query").strip(), visit.query("state")
        known = await self.activity.upstreams()
        found = [one for one in known if _is_meant(one, query.lower(), state)]
        return self.drawer.page(
            "upstreams.html",
            visit,
            upstreams=found[:_SHOWN],
            left_off=len(found) - len(found[:_SHOWN]),
            known=len(known),
            tests=self._tests,
            tested=self._tests.get(visit.query("tested")),
            means=_MEANS,
            query=query,
            state=state,
            states=_STATES,
        )

    async def _test(self, visit: Visit) -> Response:
        place = visit.form.get("place", "").strip()
        checked = await self.activity.test(place)
        self._tests[place] = LastTest(place, checked, self.now(), visit.asker.name)
        self._tests.move_to_end(place)
        if len(self._tests) > _REMEMBERED:
            self._tests.popitem(last=False)
        asked = {name: visit.form.get(name, "") for name in ("query", "state")}
        return redirect("/admin/upstreams", tested=place, **asked)


def _is_meant(one: UpstreamState, query: str, state: str) -> bool:
    return state in ("", one.state) and any(query in text.lower() for text in (one.origin, *one.keys))
