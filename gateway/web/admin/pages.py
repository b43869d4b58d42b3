"""What a page of the admin's desk is, and how it is drawn."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gateway.access.roles import Role, SignedIn
from gateway.oci.digest import short_digest
from gateway.oci.errors import OciError, Situation
from gateway.rules.quantities import rough_duration
from gateway.web.admin.bodies import written
from gateway.web.admin.notices import notice_of

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"
_HEADINGS = {Situation.SOURCES_DOWN: "Not available just now"}


@dataclass(frozen=True, slots=True)
class Visit:
    """A page asked for, or a form sent, by somebody who is signed in."""

    request: Request
    asker: SignedIn
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_editor(self) -> bool:
        return self.asker.role is Role.EDITOR

    def query(self, name: str, default: str = "") -> str:
        return self.request.query_params.get(name, default)


@dataclass(frozen=True, slots=True)
class Page:
    """``path`` is below /admin; ``do`` answers a visit. A POST has a form of at most ``max_form_bytes``."""

    path: str
    do: Callable[[Visit], Awaitable[Response]]
    method: str = "GET"
    role: Role = Role.VIEWER
    max_form_bytes: int = 64 * 1024


class Drawer:
    """Draws pages from templates: text is text in them, whatever stands in it.

    ``now`` gives seconds since the epoch.
    """

    def __init__(self, version: str, now: Callable[[], float]) -> None:
        self._now = now
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["version"] = version
        self._templates.filters |= {
            "iso": iso_time,
            "ago": self._ago,
            "ahead": self._ahead,
            "duration": rough_duration,
            "size": shown_size,
            "short": short_digest,
            "url": with_query,
        }

    def prepare(self) -> None:
        """Compile every template now, that no page waits for it."""
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def page(self, template: str, visit: Visit | None, code: int = 200, /, **values: object) -> Response:
        """``visit`` is None for whom nobody knows yet; ``code`` is the answer's status."""
        notice = None if visit is None else notice_of(visit.request.query_params)
        content = self._templates.get_template(template).render(visit=visit, notice=notice, **values)
        return HTMLResponse(content, code, {"Cache-Control": "no-store"})

    def error_page(self, request: Request, error: OciError) -> Response:
        """What went wrong; what somebody wrote comes back where it may go well the next time."""
        what = error.situation.value
        values = {
            "heading": _HEADINGS.get(error.situation, what[0].upper() + what[1:]),
            "status": error.status,
            "message": error.message,
            "is_posted": request.method == "POST",
            "target": path_of(request),
            "kept": written(request),
        }
        return self.page("error.html", None, error.status, **values)

    def _ago(self, seconds: float | None) -> str:
        return "never" if seconds is None else shown_age(self._now() - seconds)

    def _ahead(self, seconds: float) -> str:
        left = seconds - self._now()
        return "now" if left < 10 else f"in {rough_duration(left)}"


def path_of(request: Request) -> str:
    """What was asked for, as a link leads there."""
    query = request.scope["query_string"].decode("latin-1")
    return quote(request.scope["path"]) + (f"?{query}" if query else "")


def redirect(path: str, **query: str) -> Response:
    """Go on with a GET; ``path`` is one of our own."""
    return RedirectResponse(with_query(path, **query), 303, {"Cache-Control": "no-store"})


def with_query(path: str, **query: str | int | None) -> str:
    """A path of ours with what of the query there is."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def shown_age(seconds: float) -> str:
    """How long ago, in the largest unit that fits."""
    return "just now" if seconds < 10 else f"{rough_duration(seconds)} ago"


def shown_size(size_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size_bytes) < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"
