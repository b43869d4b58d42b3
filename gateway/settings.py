"""What the operator sets: flags, environment and a config file, read once into one frozen object."""

# ruff: noqa: RUF009 (the calls in Settings return dataclasses.field(…), as the rule wants)

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gateway import settings_values as values
from gateway.helm.document import DocumentError, parse_document
from gateway.oci.postgres_url import PostgresUrl
from gateway.oci.urls import HttpUrl
from gateway.rules.spelling import nearest
from gateway.rules.values import SECRET_PREFIX
from gateway.settings_values import LogFormat, LogLevel, Network, RulesEditedIn

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PREFIX = "GATEWAY_"
CONFIG = "CONFIG"
NOT_YET = frozenset(
    {
        "BLOBS",
        "HTTP_SERVER",
        "TLS_CERT",
        "TLS_CLIENT_CA",
        "TLS_KEY",
    }
)
_KUBERNETES = ("GATEWAY_*SERVICE_*", "GATEWAY_*PORT_*")
_KUBERNETES_VALUE = "tcp://"
_USERINFO = re.compile(r"//.*@")

Value = TypeVar("Value")
Subject = TypeVar("Subject", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table: what parsing, flags and documentation are made from; ``default`` as written.

    One that is secret has no flag, is never repeated, and may be in a file: ``GATEWAY_<NAME>_FILE`` names it.
    """

    field: str
    help: str
    default: str | None
    parse: Callable[[str], object]
    is_secret: bool = False

    @property
    def name(self) -> str:
        """As documented; the unit that a field carries is in the value here."""
        return self.field.removesuffix("_bytes").removesuffix("_seconds").upper()

    @property
    def variable(self) -> str:
        return PREFIX + self.name

    @property
    def flag(self) -> str:
        return _flag(self.name)

    @property
    def is_switch(self) -> bool:
        """Whether the flag may stand without a value."""
        return self.parse is values.parse_boolean


def _setting(default: str, parse: Callable[[str], Value], help_text: str) -> Value:
    return field(default=parse(default), metadata={"row": (help_text, default, parse)})


def _unset(parse: Callable[[str], Value], help_text: str) -> Value | None:
    return field(default=None, metadata={"row": (help_text, None, parse)})


def _secret(parse: Callable[[str], Value], help_text: str) -> Value | None:
    return field(default=None, repr=False, metadata={"row": (help_text, None, parse, True)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Its fields are the table of settings, each also ``GATEWAY_<NAME>`` and ``--<name>``, units left out.

    A secret has no flag: other users of the machine see those.
    """

    host: str = _setting("127.0.0.1", values.parse_host, "address to listen on")
    port: int = _setting("9000", values.whole_number(0, 65535), "port to listen on; 0 takes a free one")
    admin_host: str = _setting("127.0.0.1", values.parse_host, "address of the admin's desk and the metrics")
    admin_port: int | None = _setting(
        "9001", values.parse_admin_port, "port of the admin's desk; 0 takes a free one, off has none"
    )
    admin_token: str | None = _secret(
        values.parse_admin_token, "token that the admin's desk takes, as editor"
    )
    data_dir: Path = _setting("./data", values.parse_path, "directory of the catalog and the blobs")
    database_url: Path | PostgresUrl | None = _unset(
        values.parse_database_url, "catalog database (SQLite in DATA_DIR)"
    )
    rules: Path = _setting(
        "rules.yaml", values.parse_path, "file of rules; none at the default place means no rules"
    )
    rules_edited_in: RulesEditedIn = _setting("both", values.choice(RulesEditedIn), "both, file or admin")
    secrets_dir: Path | None = _unset(values.parse_path, "directory where *_file keys of rules.yaml lie")
    offline: bool = _setting("false", values.parse_boolean, "dial nobody; serve what is held")
    workers: int = _setting("1", values.whole_number(1, 256), "number of worker processes")
    public_url: HttpUrl | None = _unset(values.parse_public_url, "how clients reach this gateway")
    trusted_proxies: tuple[Network, ...] = _setting(
        "none", values.parse_trusted_proxies, "proxies whose X-Forwarded-Host and -For count"
    )
    allow_private_networks: bool = _setting(
        "false", values.parse_boolean, "let any upstream be on a private network"
    )
    max_cache_size_bytes: int | None = _unset(
        values.parse_size, "what blobs and catalog may take; beyond it layers are evicted"
    )
    max_index_size_bytes: int = _setting("64M", values.parse_size, "largest index.yaml, as received")
    max_chart_size_bytes: int = _setting(
        "100M", values.parse_chart_size, "largest chart archive, as received"
    )
    max_blob_size_bytes: int = _setting("20G", values.parse_size, "largest blob of any other artifact")
    upstream_timeout_seconds: float = _setting(
        "15s", values.parse_timeout, "wait for an upstream's first byte"
    )
    upstream_concurrency: int = _setting(
        "16", values.whole_number(1, 10_000), "requests at once to one upstream"
    )
    log_level: LogLevel = _setting("info", values.choice(LogLevel), "debug, info, warning or error")
    log_format: LogFormat = _setting("auto", values.choice(LogFormat), "auto, console or json")

    given: frozenset[str] = frozenset()  # names that were set, whatever to
    ignored: tuple[str, ...] = ()  # variables that Kubernetes injects for a Service of our name
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)  # GATEWAY_SECRET_*, for rules.yaml
    docker_config: Path | None = None  # DOCKER_CONFIG, the folder of Docker's config.json


def _table() -> Iterator[Setting]:
    for item in fields(Settings):
        if "row" in item.metadata:
            help_text, default, parse, *is_secret = item.metadata["row"]
            yield Setting(item.name, help_text, default, parse, *is_secret)


_ALL = tuple(_table())
SETTINGS = tuple(row for row in _ALL if not row.is_secret)
SECRETS = tuple(row for row in _ALL if row.is_secret)
_BY_NAME = {row.name: row for row in _ALL}
_FILE = "_FILE"


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """``setting`` as the operator wrote it: ``GATEWAY_PORT``, ``--port`` or ``port in FILE``."""

    setting: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.setting}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class SettingsError(ValueError):
    """The settings cannot be used; every problem at once."""

    def __init__(self, problems: Iterable[SettingProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class _Given:
    shown: str
    name: str
    text: str


def load_settings(
    environment: Mapping[str, str], flags: Mapping[str, str], read_text: Callable[[Path], str]
) -> Settings:
    """Flags win over the environment, that over the file of ``--config``, that over defaults.

    ``flags`` by setting name in any spelling (``data_dir``, ``data-dir``, ``DATA_DIR``), and ``config``.
    Every value is checked, also one that another hides. Raise SettingsError.
    """
    problems: list[SettingProblem] = []
    secrets = {name: text for name, text in environment.items() if name.startswith(SECRET_PREFIX)}
    ours = {n: text for n, text in environment.items() if n.startswith(PREFIX) and n not in secrets}
    ignored = tuple(sorted(name for name, text in ours.items() if _is_injected(name, text)))
    given = [
        *_from_config(flags, read_text, problems),
        *(_Given(name, name.removeprefix(PREFIX), ours[name]) for name in ours if name not in ignored),
        *_from_flags(flags),
    ]
    settings = Settings(
        given=frozenset(one.name for one in given),
        ignored=ignored,
        secrets=secrets,
        docker_config=Path(environment["DOCKER_CONFIG"]) if environment.get("DOCKER_CONFIG") else None,
    )
    for one in _from_files(given, read_text, problems):
        settings = _apply(settings, one, problems)
    if problems:
        raise SettingsError(problems)
    return settings


def _is_injected(name: str, text: str) -> bool:
    return text.startswith(_KUBERNETES_VALUE) or any(fnmatchcase(name, glob) for glob in _KUBERNETES)


def _from_flags(flags: Mapping[str, str]) -> Iterator[_Given]:
    for name, text in flags.items():
        if _canonical(name) != CONFIG:
            yield _Given(_flag(_canonical(name)), _canonical(name), text)


def _from_files(
    given: Iterable[_Given], read_text: Callable[[Path], str], problems: list[SettingProblem]
) -> Iterator[_Given]:
    """What is given, secrets in place of the files that hold them, without the newline at their end."""
    files = {f"{row.name}{_FILE}": row.name for row in SECRETS}
    names = {one.name for one in given}
    for one in given:
        name = files.get(one.name)
        if name is None:
            yield one
        elif name in names:
            problems.append(SettingProblem(one.shown, f"give {name} or the file that holds it, not both"))
        else:
            try:
                yield _Given(one.shown, name, read_text(values.parse_path(one.text)).rstrip("\r\n"))
            except (OSError, ValueError) as error:
                problems.append(SettingProblem(one.shown, f"the file {_why_unreadable(error)}"))


def _from_config(
    flags: Mapping[str, str], read_text: Callable[[Path], str], problems: list[SettingProblem]
) -> Iterator[_Given]:
    for place in (text for name, text in flags.items() if _canonical(name) == CONFIG):
        try:
            document = parse_document(read_text(values.parse_path(place)).encode())
        except (OSError, ValueError) as error:  # DocumentError and UnicodeError are ValueErrors
            problems.append(SettingProblem(f"--config {place}", _why_unreadable(error)))
            continue
        if isinstance(document, dict):
            yield from _from_members(document, place, problems)
        elif document is not None:
            problems.append(SettingProblem(f"--config {place}", "expected a mapping of settings"))


def _from_members(
    members: Mapping[str, object], place: str, problems: list[SettingProblem]
) -> Iterator[_Given]:
    seen: set[str] = set()
    for key, value in members.items():
        name, shown = _canonical(key), f"{key[:64]} in {place}"
        if name in seen:
            problems.append(SettingProblem(shown, "stands there twice, in two spellings"))
        seen.add(name)
        if isinstance(value, str):
            yield _Given(shown, name, str(value))
        else:
            problems.append(SettingProblem(shown, "expected one value"))


def _flag(name: str) -> str:
    return "--" + name.lower().replace("_", "-")


def _canonical(name: str) -> str:
    return name.upper().replace("-", "_").removeprefix(PREFIX)


def _apply(settings: Settings, one: _Given, problems: list[SettingProblem]) -> Settings:
    row = _BY_NAME.get(one.name)
    if row is None or (row.is_secret and one.shown.startswith("--")):
        problems.append(_unknown(one))
        return settings
    try:
        return _with(settings, row.field, row.parse(one.text))
    except values.SecretValueError as error:
        problems.append(SettingProblem(one.shown, str(error)))
        return settings
    except ValueError as error:
        problems.append(SettingProblem(one.shown, f"{error}; given was {_shown(one.text)}"))
        return settings


def _with(subject: Subject, name: str, value: object) -> Subject:
    return replace(subject, **{name: value})


def _unknown(one: _Given) -> SettingProblem:
    """Its value is not repeated: it may be a secret."""
    if one.name in NOT_YET:
        return SettingProblem(one.shown, "not supported by this version yet")
    if one.name == CONFIG:
        return SettingProblem(one.shown, "not a setting", "name the file by the flag --config")
    near = nearest(one.name, [*_BY_NAME, *NOT_YET])
    return SettingProblem(one.shown, "unknown setting", f"did you mean {PREFIX}{near}?" if near else None)


def _shown(text: str) -> str:
    redacted = _USERINFO.sub("//…@", text)
    return repr(redacted if len(redacted) <= 80 else redacted[:80] + "…")


def _why_unreadable(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or type(error).__name__}"
    if isinstance(error, DocumentError):
        return f"is no YAML that is read here: {error}"
    return "cannot be read: it is not UTF-8 text, or no file name"
