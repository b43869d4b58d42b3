"""The Rules pages of a real gateway without a server: its catalog, its revisions, and who asks."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from sqlalchemy import insert

from gateway.access.roles import Role
from gateway.rule_editing import RuleEditor
from gateway.rule_trials import Trials
from gateway.store.revisions import RevisionOrigin
from gateway.store.tables import repositories
from gateway.web.admin.catalog_commands import Front
from gateway.web.admin.pages import Drawer
from gateway.web.admin.rules_pages import Hits, pages
from tests.composed import composed
from tests.rule_house import Book
from tests.web.admin_house import FORM_TOKEN, as_browser, open_desk

FRONT = Front("charts.example:9000", is_plain=True)
RULES = """\
version: 1
rules:
  # what the platform team asked for
  - name: short refs
    repository: "argo/*"
    rewrite: argoproj.github.io/argo-helm/$1
  - repository: "prom/*"
    rewrite: [ghcr.io/prometheus-community/charts/$1, prometheus-community.github.io/helm-charts/$1]
tests:
  - {ask: argo/argo-cd, target: argoproj.github.io/argo-helm/argo-cd}
"""


@dataclass(frozen=True, slots=True)
class HitsTold:
    hits: int
    last_at: float


@dataclass(slots=True)
class Form(HTMLParser):
    """The fields of the page's only POST form as a browser would send them, and what its buttons go to."""

    fields: dict[str, str] = field(default_factory=dict)
    action: str = ""
    buttons: dict[str, str] = field(default_factory=dict)
    _within: bool = False
    _area: str | None = None
    _select: str | None = None
    _button: str | None = None
    _text: str = ""

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._within = given.get("method") == "post" and given.get("action") != "/admin/sign-out"
            self.action = given["action"] if self._within else self.action
        elif self._within:
            self._field(tag, given)

    def _field(self, tag: str, given: Mapping[str, str]) -> None:
        match tag:
            case "input" if given.get("type") not in ("radio", "checkbox"):
                self.fields[given["name"]] = given.get("value", "")
            case "textarea":
                self._area, self._text = given["name"], ""
            case "select":
                self._select = given["name"]
                self.fields.setdefault(given["name"], "")
            case "option" if self._select and "selected" in given:
                self.fields[self._select] = given.get("value", "")
            case "button":
                self._button, self._text = given.get("formaction", self.action), ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._within = False
        elif tag == "textarea" and self._area is not None:
            self.fields[self._area], self._area = self._text.removeprefix("\n"), None
        elif tag == "button" and self._button is not None:
            self.buttons[self._text.strip()], self._button = self._button, None


@dataclass(frozen=True, slots=True)
class Site:
    """``hits`` are told of rules by their keys."""

    client: httpx.AsyncClient
    editor: RuleEditor
    book: Book
    noted: list[tuple[str, str]]
    hits: dict[str, HitsTold]

    async def get(self, path: str, role: Role = Role.EDITOR) -> httpx.Response:
        return await self.client.get(path, headers=as_browser(role))

    async def shown(self, path: str, role: Role = Role.EDITOR) -> str:
        """The page's HTML."""
        answer = await self.get(path, role)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def press(self, html: str, button: str, **typed: str) -> httpx.Response:
        """Fill in the page's form, and press one of its buttons."""
        form = read_form(html)
        return await self.send(form.buttons[button], {**form.fields, **typed})

    async def send(self, path: str, fields: Mapping[str, str], role: Role = Role.EDITOR) -> httpx.Response:
        data = {"form_token": FORM_TOKEN, **fields}
        return await self.client.post(path, data=data, headers=as_browser(role))

    def texts(self) -> list[str]:
        """Of all revisions, first to last."""
        return self.book.texts()

    def know(self, name: str, target: str) -> None:
        """Have the catalog know a name that a client asked for."""
        row = {"name": name, "target": target, "first_pulled_at": 1.0}
        self.book.engines.write(lambda connection: connection.execute(insert(repositories), row))


def read_form(html: str) -> Form:
    form = Form()
    form.feed(html)
    return form


@asynccontextmanager
async def rules_site(
    folder: Path, rules: str | None = RULES, *, is_read_only: bool = False, trouble: str | None = None
) -> AsyncIterator[Site]:
    """A gateway with one revision, of these rules, or none; it is not in force anywhere but here."""
    noted: list[tuple[str, str]] = []
    hits: dict[str, HitsTold] = {}

    async def note(actor: str, action: str, subject: str, detail: str = "") -> None:
        noted.append((actor, action))

    async def hits_of(keys: Sequence[str]) -> Mapping[str, Hits]:
        return {key: hits[key] for key in keys if key in hits}

    async with composed(folder, "") as at:
        gateway = at.gateway
        book = Book(gateway.desk.engines)
        if rules is not None:
            book.add(RevisionOrigin.FILE, rules)
        editor = RuleEditor(
            gateway.desk,
            Trials(
                names=gateway.storage.engines,
                explainer=lambda: gateway.explainer,
                own_hosts=gateway.own_hosts,
            ),
            note,
            is_read_only=is_read_only,
            trouble=lambda: trouble,
            now=lambda: 1_800_000_000.0,
        )
        drawer = Drawer("test", lambda: 1_800_000_000.0)
        async with open_desk(pages=pages(editor, drawer, hits_of, FRONT), drawer=drawer) as client:
            yield Site(client, editor, book, noted, hits)


def path_of(answer: httpx.Response) -> str:
    """Where an answer leads, without its query."""
    return urlsplit(answer.headers["location"]).path
