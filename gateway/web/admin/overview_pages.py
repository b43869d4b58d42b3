"""The overview: what was served and from where, what wants attention, and how to begin."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from gateway.access.roles import Role
from gateway.activity import ActivityDesk
from gateway.activity_seen import Span
from gateway.event_tap import Severity
from gateway.sign_in import is_expired
from gateway.store.admin_rows import Token, TokenKind
from gateway.web.admin.attention import Signs, matters
from gateway.web.admin.catalog_commands import Front
from gateway.web.admin.pages import Drawer, Page, Visit
from gateway.web.admin.served_shown import shown, when

_PULLS = 12
_EVENTS = 100
_UPSTREAMS = 8
_SPANS = {Span.HOUR: "Last hour", Span.DAY: "Last day", Span.WEEK: "Last week"}


@dataclass(frozen=True, slots=True)
class Overview:
    """``rules_trouble`` tells what is wrong with newer rules; ``now`` gives seconds since the epoch.

    ``tokens`` lists those that somebody made, ``has_admin_token`` says that the setting lets in, too.
    """

    activity: ActivityDesk
    rules_trouble: Callable[[], str | None]
    front: Front
    tokens: Callable[[], Awaitable[Sequence[Token]]]
    has_admin_token: bool
    now: Callable[[], float]
    drawer: Drawer

    def pages(self) -> list[Page]:
        return [Page("/", self._overview)]

    async def _overview(self, visit: Visit) -> Response:
        span = _span(visit.query("span"))
        served = await self.activity.served(span)
        storage = await self.activity.storage()
        upstreams = await self.activity.upstreams()
        pulls = await self.activity.newest_pulls(_PULLS)
        signs = Signs(
            rules_trouble=self.rules_trouble(),
            has_editor_token=self.has_admin_token or await self._has_editor_token(),
            storage=storage,
            upstreams=upstreams,
            events=[
                *await self.activity.events(severity=Severity.ERROR, limit=_EVENTS),
                *await self.activity.events(severity=Severity.WARNING, limit=_EVENTS),
            ],
        )
        return self.drawer.page(
            "overview.html",
            visit,
            span=span,
            spans=_SPANS,
            served=shown(served),
            when=when,
            storage=storage,
            upstreams=upstreams[:_UPSTREAMS],
            upstream_count=len(upstreams),
            pulls=pulls,
            matters=matters(signs, self.now()),
            front=self.front,
            is_fresh=not pulls and not storage.tags,
        )

    async def _has_editor_token(self) -> bool:
        return any(
            one.kind is TokenKind.TOKEN and one.role == Role.EDITOR and not is_expired(one, self.now())
            for one in await self.tokens()
        )


def _span(text: str) -> Span:
    return Span(text) if text in list(Span) else Span.DAY
