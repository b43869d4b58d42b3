"""Every setting as a flag, and what commands share."""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Concatenate, ParamSpec, TypeVar

import click

from gateway.access.readers import admit_operator
from gateway.app import Gateway, compose, rule_desk
from gateway.logs import configure_logs
from gateway.rule_revisions import InForce
from gateway.settings import SETTINGS, Settings, SettingsError, load_settings
from gateway.settings_values import LogLevel, parse_size
from gateway.sources.http import Observer, unobserved
from gateway.store.data_dir import DataDir

P = ParamSpec("P")
R = TypeVar("R")


def with_settings(function: Callable[Concatenate[Settings, P], R]) -> Callable[P, R]:
    """Hand the command its Settings, from its flags, the environment and the config file."""
    return with_settings_but()(function)


def with_settings_but(*names: str) -> Callable[[Callable[Concatenate[Settings, P], R]], Callable[P, R]]:
    """As ``with_settings``, without the flags of these settings: on the command they mean something else."""
    rows = [row for row in SETTINGS if row.name not in names]

    def decorate(function: Callable[Concatenate[Settings, P], R]) -> Callable[P, R]:
        @wraps(function)
        def command(*args: P.args, **kwargs: P.kwargs) -> R:
            flags = {row.name: kwargs.pop(f"set_{row.field}") for row in rows}
            flags["config"] = kwargs.pop("set_config")
            return function(_settings(flags), *args, **kwargs)

        for row in reversed(rows):
            default = "" if row.default is None else f"  [{row.default}]"
            flag = f"{row.flag}/--no-{row.flag.removeprefix('--')}" if row.is_switch else row.flag
            command = click.option(flag, f"set_{row.field}", help=row.help + default, default=None)(command)
        return click.option("--config", "set_config", metavar="FILE", help="a YAML file of settings")(command)

    return decorate


def _settings(flags: Mapping[str, object]) -> Settings:
    given = {name: _as_written(value) for name, value in flags.items() if value is not None}
    try:
        return load_settings(os.environ, given, Path.read_text)
    except SettingsError as error:
        raise click.UsageError("\n".join(str(problem) for problem in error.problems)) from None


def _as_written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_json(function: Callable[P, R]) -> Callable[P, R]:
    """``--json``: facts for programs, one JSON value on standard output."""
    return click.option("--json", "is_json", is_flag=True, help="print JSON")(function)


def as_size(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """The value of an option that is a size, in bytes; None where it is not given."""
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@contextmanager
def leaving_no_folder(settings: Settings) -> Iterator[Settings]:
    """Settings to look by: where there is no data directory, none is made."""
    if settings.data_dir.exists():
        yield settings
        return
    with TemporaryDirectory(prefix="gateway-") as folder:
        yield replace(settings, data_dir=Path(folder))


@asynccontextmanager
async def open_gateway(settings: Settings, observe: Observer = unobserved) -> AsyncIterator[Gateway]:
    """The parts of a gateway on the data directory, also beside a running server; quiet but for warnings."""
    level = settings.log_level if "LOG_LEVEL" in settings.given else LogLevel.ERROR
    configure_logs(level, settings.log_format)
    data_dir = DataDir(settings.data_dir, settings.database_url)
    try:
        data_dir.prepare()
        gateway = compose(
            settings, data_dir, _in_force(settings, data_dir), observe=observe, admit=admit_operator
        )
        try:
            yield gateway
        finally:
            await gateway.close()
    finally:
        data_dir.close()


def _in_force(settings: Settings, data_dir: DataDir) -> InForce:
    """The rules that a server on the data directory has, or would have by now."""
    desk = rule_desk(settings, data_dir)
    try:
        found = desk.in_force()
    finally:
        desk.engines.dispose()
    if found.trouble is not None:
        told = f"gateway: the rules of revision {found.revision} are used: {found.trouble}"
        hint = "a server with other settings may have others: give the same here, by GATEWAY_… or --config"
        click.echo(f"{told}\n({hint})", err=True)
    return found
