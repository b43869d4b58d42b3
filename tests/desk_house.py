"""The admin's desk as it is assembled, asked over ASGI by browsers that keep cookies, and by programs."""

import html
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway.access.roles import Role
from gateway.admin import Places, create_admin
from gateway.app import Clock, Gateway, compose
from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from gateway.settings import Settings
from gateway.sign_in import FirstLink, MadeToken, TokenDesk
from gateway.store.admin_book import AdminBook
from gateway.store.admin_link import LinkFile
from gateway.store.data_dir import DataDir

ORIGIN = "https://desk.example"
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


@dataclass(slots=True)
class Browser:
    """Keeps cookies as one does, and sends forms as pages have them; ``said`` is all that it was answered."""

    client: httpx.AsyncClient
    said: list[str] = field(default_factory=list)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self._heard(await self.client.get(path, headers=headers))

    async def send(
        self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Post a form from a page of the desk; ``headers`` say where it comes from instead."""
        own = {"origin": str(self.client.base_url).rstrip("/")} if headers is None else headers
        return self._heard(await self.client.post(path, data=dict(fields), headers=own))

    async def sign_in(self, secret: str, at: str = "/admin/access") -> httpx.Response:
        """Ask for a page, fill in the form that comes instead, send it."""
        page = await self.get(at)
        return await self.send("/admin/sign-in", {**hidden(page), "token": secret})

    async def form_token(self) -> str:
        return hidden(await self.get("/admin/access"))["form_token"]

    def _heard(self, answer: httpx.Response) -> httpx.Response:
        self.said.append(f"{answer.headers}\n{answer.text}")
        return answer


@dataclass(slots=True)
class DeskHouse:
    """A gateway's desk; ``now`` is what its clocks show."""

    gateway: Gateway
    transport: httpx.ASGITransport
    now: float = 1_795_400_000.0
    browsers: list[Browser] = field(default_factory=list)

    @property
    def tokens(self) -> TokenDesk:
        return TokenDesk(AdminBook(self.gateway.desk.engines), lambda: self.now)

    def browser(self, origin: str = ORIGIN) -> Browser:
        """One that nobody used before."""
        browser = Browser(httpx.AsyncClient(transport=self.transport, base_url=origin))
        self.browsers.append(browser)
        return browser

    async def made(self, role: Role = Role.EDITOR, name: str = "anna") -> MadeToken:
        return await self.tokens.make(name, role, "root")

    async def signed_in(self, role: Role = Role.EDITOR) -> Browser:
        browser = self.browser()
        await browser.sign_in((await self.made(role)).secret)
        return browser

    async def link(self) -> str:
        """The path and query of a new one-time link."""
        book, file = AdminBook(self.gateway.desk.engines), LinkFile(self.gateway.settings.data_dir / "link")
        await FirstLink(book, file, "gateway-1", lambda: self.now, has_admin_token=False).write(ORIGIN)
        return file.path.read_text().strip().removeprefix(ORIGIN)


@asynccontextmanager
async def desk_house(
    settings: Settings, rules: str = "", *, client: tuple[str, int] = ("192.0.2.1", 5000)
) -> AsyncIterator[DeskHouse]:
    """``rules`` is the text of rules.yaml without its version; ``client`` is where requests come from."""
    data_dir = DataDir(settings.data_dir)
    data_dir.prepare()
    house: DeskHouse
    clock = Clock(now=lambda: house.now, monotonic=lambda: house.now)
    gateway = compose(settings, data_dir, InForce(load_rules(f"version: 1\n{rules}")), clock=clock)
    app = create_admin(gateway, Places(ORIGIN.removeprefix("http://"), "localhost:9000"))
    house = DeskHouse(gateway, httpx.ASGITransport(app, raise_app_exceptions=False, client=client))
    try:
        yield house
    finally:
        for browser in house.browsers:
            await browser.client.aclose()
        await gateway.close()
        data_dir.close()


def settings_at(folder: Path, admin_token: str | None = None) -> Settings:
    return Settings(data_dir=folder, rules=folder / "rules.yaml", admin_token=admin_token)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def hidden(page: httpx.Response) -> dict[str, str]:
    """The hidden fields of a page's forms."""
    return {html.unescape(name): html.unescape(text) for name, text in _HIDDEN.findall(page.text)}
