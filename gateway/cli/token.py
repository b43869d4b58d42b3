"""``gateway token``: who may sign in at the admin's desk, also beside a running server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import click

from gateway.access.roles import Role
from gateway.cli.operator import operator
from gateway.cli.options import as_json, leaving_no_folder, with_settings
from gateway.cli.shown import iso_time
from gateway.rules.quantities import parse_duration
from gateway.settings import Settings
from gateway.sign_in import MadeToken, TokenDesk
from gateway.store.admin_book import AdminBook
from gateway.store.admin_link import LinkFile
from gateway.store.admin_rows import Token
from gateway.store.data_dir import DataDir


def _as_seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    try:
        seconds = None if text is None else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if seconds is not None and seconds <= 0:
        raise click.BadParameter("expected a time above 0")
    return seconds


@click.group("token")
def command() -> None:
    """Make, list and revoke the tokens that the admin's desk takes."""


@command.command("create")
@click.option("--name", default="", help="who or what uses it: the audit says so")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.VIEWER.value,
    help="viewer sees everything but secrets, editor also changes things  [viewer]",
)
@click.option("--expires", metavar="TIME", callback=_as_seconds, help="such as 90d; without it, never")
@as_json
@with_settings
def create(settings: Settings, name: str, role: str, expires: float | None, is_json: bool) -> None:
    """Make a token, and print its secret: this once."""
    made = asyncio.run(_make(settings, name, Role(role), expires))
    if is_json:
        click.echo(json.dumps({**_facts(made.token), "secret": made.secret}, indent=2))
        return
    token = made.token
    ends = "never expires" if token.expires_at is None else f"expires {iso_time(token.expires_at)}"
    click.echo(f"token {token.id}, called {token.name!r}: {token.role}, {ends}; shown this once:", err=True)
    click.echo(made.secret)


@command.command("list")
@as_json
@with_settings
def list_(settings: Settings, is_json: bool) -> None:
    """List the tokens, and a one-time link if there is one, without their secrets."""
    with leaving_no_folder(settings) as looked_at:
        tokens = asyncio.run(_tokens(looked_at))
    if is_json:
        click.echo(json.dumps([_facts(one) for one in tokens], indent=2))
        return
    for one in tokens:
        ends = "never" if one.expires_at is None else iso_time(one.expires_at)
        used = "never" if one.used_at is None else iso_time(one.used_at)
        click.echo(
            f"{one.id}\t{one.role}\t{one.name}\tmade {iso_time(one.made_at)}\texpires {ends}\tused {used}"
        )
    if not tokens:
        click.echo("there are no tokens", err=True)


@command.command("revoke")
@click.argument("token_id", metavar="ID")
@as_json
@with_settings
def revoke(settings: Settings, token_id: str, is_json: bool) -> None:
    """End a token: whoever is signed in with it is signed out at once."""
    token = asyncio.run(_revoke(settings, token_id))
    if is_json:
        click.echo(json.dumps(_facts(token), indent=2))
    else:
        click.echo(f"token {token.id}, called {token.name!r}, is revoked")


async def _make(settings: Settings, name: str, role: Role, expires_in_seconds: float | None) -> MadeToken:
    async with _opened(settings) as desk:
        made = await desk.make(name, role, _actor(), expires_in_seconds=expires_in_seconds)
    LinkFile(settings.data_dir / "admin-link").remove()
    return made


async def _tokens(settings: Settings) -> Sequence[Token]:
    async with _opened(settings) as desk:
        return await desk.list_all()


async def _revoke(settings: Settings, token_id: str) -> Token:
    async with _opened(settings) as desk:
        return await desk.revoke(token_id, _actor())


def _actor() -> str:
    return f"{operator()}, by a command"


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[TokenDesk]:
    data_dir = DataDir(settings.data_dir, settings.database_url)
    try:
        data_dir.prepare()
        engines = data_dir.open_rule_engines()
        try:
            yield TokenDesk(AdminBook(engines), time.time)
        finally:
            await engines.close()
    finally:
        data_dir.close()


def _facts(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "kind": token.kind.value,
        "made_at": iso_time(token.made_at),
        "made_by": token.made_by,
        "expires_at": None if token.expires_at is None else iso_time(token.expires_at),
        "used_at": None if token.used_at is None else iso_time(token.used_at),
    }
