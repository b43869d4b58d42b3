"""Every setting as a flag, and what commands share."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from gateway.access.readers import admit_operator
from gateway.app import Gateway, compose, read_rules
from gateway.logs import configure_logs
from gateway.settings import SETTINGS, Settings, SettingsError, load_settings
from gateway.settings_values import LogLevel
from gateway.sources.http import Observer, unobserved
from gateway.store.data_dir import DataDir

P = ParamSpec("P")
R = TypeVar("R")


def with_settings(function: Callable[Concatenate[Settings, P], R]) -> Callable[P, R]:
    """Hand the command its Settings, from its flags, the environment and the config file."""

    @wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        flags = {row.name: kwargs.pop(f"set_{row.field}") for row in SETTINGS}
        flags["config"] = kwargs.pop("set_config")
        given = {name: _as_written(value) for name, value in flags.items() if value is not None}
        try:
            settings = load_settings(os.environ, given, Path.read_text)
        except SettingsError as error:
            raise click.UsageError("\n".join(str(problem) for problem in error.problems)) from None
        return function(settings, *args, **kwargs)

    for row in reversed(SETTINGS):
        default = "" if row.default is None else f"  [{row.default}]"
        flag = f"{row.flag}/--no-{row.flag.removeprefix('--')}" if row.is_switch else row.flag
        command = click.option(flag, f"set_{row.field}", help=row.help + default, default=None)(command)
    return click.option("--config", "set_config", metavar="FILE", help="a YAML file of settings")(command)


def _as_written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_json(function: Callable[P, R]) -> Callable[P, R]:
    """``--json``: facts for programs, one JSON value on standard output."""
    return click.option("--json", "is_json", is_flag=True, help="print JSON")(function)


@asynccontextmanager
async def open_gateway(settings: Settings, observe: Observer = unobserved) -> AsyncIterator[Gateway]:
    """The parts of a gateway on the data directory, also beside a running server; quiet but for warnings."""
    level = settings.log_level if "LOG_LEVEL" in settings.given else LogLevel.ERROR
    configure_logs(level, settings.log_format)
    data_dir = DataDir(settings.data_dir, settings.database_url)
    try:
        data_dir.prepare()
        gateway = compose(settings, data_dir, read_rules(settings), observe=observe, admit=admit_operator)
        try:
            yield gateway
        finally:
            await gateway.close()
    finally:
        data_dir.close()
