"""Every setting is a flag: flags, environment and file become the Settings a command is handed."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gateway.cli.options import with_settings, with_settings_but
from gateway.settings import SETTINGS, Settings
from gateway.settings_values import LogLevel

GIVEN = {
    "HOST": "::1",
    "PORT": "0",
    "ADMIN_HOST": "::1",
    "ADMIN_PORT": "off",
    "DATA_DIR": "/var/lib/gateway",
    "DATABASE_URL": "sqlite:////var/lib/catalog.db",
    "RULES": "/etc/rules.yaml",
    "RULES_EDITED_IN": "admin",
    "SECRETS_DIR": "/run/secrets",
    "OFFLINE": "true",
    "WORKERS": "4",
    "PUBLIC_URL": "https://charts.example.test",
    "TRUSTED_PROXIES": "10.0.0.0/8,::1",
    "ALLOW_PRIVATE_NETWORKS": "true",
    "MAX_CACHE_SIZE": "9G",
    "MAX_INDEX_SIZE": "1M",
    "MAX_CHART_SIZE": "2M",
    "MAX_BLOB_SIZE": "3G",
    "UPSTREAM_TIMEOUT": "3s",
    "UPSTREAM_CONCURRENCY": "5",
    "LOG_LEVEL": "error",
    "LOG_FORMAT": "json",
}


class Probe:
    """A command that keeps the Settings it was handed."""

    def __init__(self) -> None:
        self.settings: Settings | None = None

    def run(self, *arguments: str, **environment: str) -> Result:
        @click.command()
        @with_settings
        def command(settings: Settings) -> None:
            self.settings = settings

        cleared = {row.variable: None for row in SETTINGS}
        return CliRunner().invoke(command, arguments, env={**cleared, **environment})

    def settings_of(self, *arguments: str, **environment: str) -> Settings:
        result = self.run(*arguments, **environment)
        assert result.exit_code == 0, result.output
        assert self.settings is not None
        return self.settings


def test_without_flags_the_defaults_hold() -> None:
    assert Probe().settings_of() == Settings()


def test_every_setting_is_a_flag_and_a_variable_that_say_the_same() -> None:
    assert set(GIVEN) == {row.name for row in SETTINGS}
    flags = [row.flag if row.is_switch else f"{row.flag}={GIVEN[row.name]}" for row in SETTINGS]
    variables = {row.variable: GIVEN[row.name] for row in SETTINGS}
    by_flags = Probe().settings_of(*flags)
    assert by_flags == Probe().settings_of(**variables)
    defaults = Settings()
    assert [
        row.name for row in SETTINGS if getattr(by_flags, row.field) == getattr(defaults, row.field)
    ] == []


@pytest.mark.parametrize("name", ["offline", "allow_private_networks"])
def test_a_switch_is_on_or_off_and_off_wins_over_the_environment(name: str) -> None:
    flag, variable = name.replace("_", "-"), f"GATEWAY_{name.upper()}"
    assert getattr(Probe().settings_of(f"--{flag}"), name) is True
    assert getattr(Probe().settings_of(f"--no-{flag}", **{variable: "true"}), name) is False
    assert getattr(Probe().settings_of(**{variable: "true"}), name) is True


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("port: 1\nworkers: 2\nlog-level: error\n")
    settings = Probe().settings_of(
        "--config", str(config), "--port", "5", GATEWAY_PORT="3", GATEWAY_WORKERS="4"
    )
    assert (settings.port, settings.workers, settings.log_level) == (5, 4, LogLevel.ERROR)


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--port", "http"], {}, "--port: expected a whole number from 0 to 65535; given was 'http'"),
        (["--workers=0"], {}, "--workers: expected"),
        (["--prot", "1"], {}, "--prot"),
        (["--port"], {}, "--port"),
        (["extra"], {}, "extra"),
        (["--config", "/nowhere.yaml"], {}, "--config /nowhere.yaml: cannot be read: No such file"),
        ([], {"GATEWAY_PROT": "1"}, "GATEWAY_PROT: unknown setting (did you mean GATEWAY_PORT?)"),
        ([], {"GATEWAY_TLS_CERT": "x"}, "GATEWAY_TLS_CERT: not supported by this version yet"),
    ],
)
def test_what_is_no_setting_is_wrong_usage_and_named(
    arguments: list[str], environment: dict[str, str], told: str
) -> None:
    probe = Probe()
    result = probe.run(*arguments, **environment)
    assert result.exit_code == 2
    assert told in result.output
    assert probe.settings is None


def test_all_that_is_wrong_is_told_at_once() -> None:
    output = Probe().run("--port", "http", GATEWAY_WORKERS="none", GATEWAY_PROT="1").output
    assert all(name in output for name in ("--port", "GATEWAY_WORKERS", "GATEWAY_PROT"))


def test_a_secret_of_the_rules_is_handed_on_and_is_no_setting() -> None:
    settings = Probe().settings_of(GATEWAY_SECRET_NEXUS="S3CR3T")
    assert settings.secrets["GATEWAY_SECRET_NEXUS"] == "S3CR3T"
    assert "NEXUS" not in "".join(settings.given)


def test_a_command_may_have_a_flag_of_its_own_in_place_of_a_settings() -> None:
    given: list[tuple[str, str]] = []

    @click.command()
    @click.option("--host", default="")
    @with_settings_but("HOST")
    def command(settings: Settings, host: str) -> None:
        given.append((settings.host, host))

    cleared: dict[str, str | None] = {row.variable: None for row in SETTINGS}
    result = CliRunner().invoke(command, ["--host", "a.example.test"], env={**cleared, "GATEWAY_HOST": "::1"})
    assert (result.exit_code, given) == (0, [("::1", "a.example.test")])


def test_help_tells_every_flag_with_its_default() -> None:
    output = " ".join(Probe().run("--help").output.split())
    for row in SETTINGS:
        assert row.flag in output
        assert row.default is None or f"[{row.default}]" in output
