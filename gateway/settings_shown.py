"""Settings as in force, for the desk: what each is, whether somebody set it, and no secret of any."""

from collections.abc import Sequence
from enum import Enum

from gateway.activity_seen import SettingShown, SettingSource
from gateway.rules.quantities import written_size
from gateway.settings import SECRETS, SETTINGS, Setting, Settings

_UNSET = "not set"
_HIDDEN = "set, and not shown"


def settings_shown(settings: Settings) -> Sequence[SettingShown]:
    """In the order of the documentation, secrets last; those for rules.yaml by their names."""
    shown = [
        SettingShown(row.name, _text(row, settings), _source(row, settings), row.help) for row in SETTINGS
    ]
    shown += [
        SettingShown(row.name, _told(row, settings), _source(row, settings), row.help) for row in SECRETS
    ]
    means = "a secret that rules.yaml may name"
    shown += [SettingShown(name, _HIDDEN, SettingSource.GIVEN, means) for name in sorted(settings.secrets)]
    return shown


def _source(row: Setting, settings: Settings) -> SettingSource:
    return SettingSource.GIVEN if row.name in settings.given else SettingSource.DEFAULT


def _told(row: Setting, settings: Settings) -> str:
    return _UNSET if getattr(settings, row.field) is None else _HIDDEN


def _text(row: Setting, settings: Settings) -> str:
    """A URL of a database shows no password: its own text leaves it out."""
    value: object = getattr(settings, row.field)
    match value:
        case None:
            return "off" if row.name == "ADMIN_PORT" else _UNSET
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
        case tuple():
            return ", ".join(map(str, value)) or "none"
        case int() if row.field.endswith("_bytes"):
            return written_size(value)
        case float() if row.field.endswith("_seconds"):
            return f"{value:g}s"
        case _:
            return str(value)
