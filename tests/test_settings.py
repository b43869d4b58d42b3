"""Settings: one frozen object, or every problem at once and no secret repeated."""

import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.postgres_url import PostgresUrl
from gateway.oci.urls import HttpUrl
from gateway.settings import NOT_YET, SETTINGS, SettingProblem, Settings, SettingsError, load_settings
from gateway.settings_values import LogFormat, LogLevel, RulesEditedIn

DOCUMENTED = {
    "HOST": "127.0.0.1",
    "PORT": "9000",
    "ADMIN_HOST": "127.0.0.1",
    "ADMIN_PORT": "9001",
    "DATA_DIR": "./data",
    "DATABASE_URL": None,
    "RULES": "rules.yaml",
    "RULES_EDITED_IN": "both",
    "SECRETS_DIR": None,
    "OFFLINE": "false",
    "WORKERS": "1",
    "PUBLIC_URL": None,
    "TRUSTED_PROXIES": "none",
    "ALLOW_PRIVATE_NETWORKS": "false",
    "MAX_CACHE_SIZE": None,
    "MAX_INDEX_SIZE": "64M",
    "MAX_CHART_SIZE": "100M",
    "MAX_BLOB_SIZE": "20G",
    "UPSTREAM_TIMEOUT": "15s",
    "UPSTREAM_CONCURRENCY": "16",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "auto",
}


def load(environment: Mapping[str, str] | None = None, config: str | None = None, **flags: str) -> Settings:
    def read_text(path: Path) -> str:
        assert path == Path("config.yaml")
        return config or ""

    named = {"config": "config.yaml"} if config is not None else {}
    return load_settings(environment or {}, {**named, **flags}, read_text)


def settings_or_problems(
    environment: Mapping[str, str] | None = None, config: str | None = None, **flags: str
) -> Settings | tuple[SettingProblem, ...]:
    try:
        return load(environment, config, **flags)
    except SettingsError as error:
        return error.problems


def problems(
    environment: Mapping[str, str] | None = None, config: str | None = None, **flags: str
) -> tuple[SettingProblem, ...]:
    found = settings_or_problems(environment, config, **flags)
    assert not isinstance(found, Settings)
    return found


def test_nothing_set_gives_the_documented_defaults() -> None:
    assert {row.name: row.default for row in SETTINGS} == DOCUMENTED
    assert load() == Settings()
    assert Settings().max_index_size_bytes == 64 * 2**20
    assert Settings().upstream_timeout_seconds == 15
    assert Settings().given == frozenset()


def test_every_value_of_the_environment_is_read() -> None:
    assert load(
        {
            "GATEWAY_HOST": "::",
            "GATEWAY_PORT": "0",
            "GATEWAY_ADMIN_HOST": "::1",
            "GATEWAY_ADMIN_PORT": "off",
            "GATEWAY_DATA_DIR": "/var/lib/gateway",
            "GATEWAY_DATABASE_URL": "sqlite:////var/lib/catalog.db",
            "GATEWAY_RULES": "/etc/gateway/rules.yaml",
            "GATEWAY_RULES_EDITED_IN": "File",
            "GATEWAY_SECRETS_DIR": "/run/secrets",
            "GATEWAY_OFFLINE": "TRUE",
            "GATEWAY_WORKERS": "4",
            "GATEWAY_PUBLIC_URL": "https://charts.example.com:8443/",
            "GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8",
            "GATEWAY_ALLOW_PRIVATE_NETWORKS": "1",
            "GATEWAY_MAX_CACHE_SIZE": "50G",
            "GATEWAY_MAX_INDEX_SIZE": "1Gi",
            "GATEWAY_MAX_CHART_SIZE": "1048576",
            "GATEWAY_MAX_BLOB_SIZE": "2G",
            "GATEWAY_UPSTREAM_TIMEOUT": "1m",
            "GATEWAY_UPSTREAM_CONCURRENCY": "8",
            "GATEWAY_LOG_LEVEL": "Debug",
            "GATEWAY_LOG_FORMAT": "json",
            "PATH": "/bin",
        }
    ) == Settings(
        host="::",
        admin_host="::1",
        admin_port=None,
        port=0,
        data_dir=Path("/var/lib/gateway"),
        database_url=Path("/var/lib/catalog.db"),
        rules=Path("/etc/gateway/rules.yaml"),
        rules_edited_in=RulesEditedIn.FILE,
        secrets_dir=Path("/run/secrets"),
        offline=True,
        workers=4,
        public_url=HttpUrl("https", "charts.example.com", 8443),
        trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        allow_private_networks=True,
        max_cache_size_bytes=50 * 2**30,
        max_index_size_bytes=2**30,
        max_chart_size_bytes=2**20,
        max_blob_size_bytes=2**31,
        upstream_timeout_seconds=60,
        upstream_concurrency=8,
        log_level=LogLevel.DEBUG,
        log_format=LogFormat.JSON,
        given=frozenset(DOCUMENTED),
    )


def test_flags_win_over_the_environment_and_that_over_the_file() -> None:
    config = "port: 1\nworkers: 2\nlog_level: error\n"
    settings = load({"GATEWAY_PORT": "3", "GATEWAY_WORKERS": "4"}, config, port="5")
    assert (settings.port, settings.workers, settings.log_level) == (5, 4, LogLevel.ERROR)
    assert settings.given == {"PORT", "WORKERS", "LOG_LEVEL"}


@pytest.mark.parametrize("name", ["data_dir", "data-dir", "DATA_DIR", "GATEWAY_DATA_DIR"])
def test_a_name_may_be_spelled_as_flag_field_or_variable(name: str) -> None:
    assert load(config=f"{name}: /x").data_dir == Path("/x")
    assert load_settings({}, {name: "/x"}, Path.read_text).data_dir == Path("/x")


def test_a_row_knows_how_it_is_written() -> None:
    row = next(row for row in SETTINGS if row.name == "MAX_INDEX_SIZE")
    assert (row.variable, row.flag) == ("GATEWAY_MAX_INDEX_SIZE", "--max-index-size")
    assert row.field == "max_index_size_bytes"
    assert not row.is_switch
    assert [row.name for row in SETTINGS if row.is_switch] == ["OFFLINE", "ALLOW_PRIVATE_NETWORKS"]
    assert all(row.help for row in SETTINGS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HOST", ""),
        ("HOST", "a b"),
        ("HOST", "http://a"),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "\uff19\uff10"),
        ("PORT", "9" * 5000),
        ("DATA_DIR", ""),
        ("DATA_DIR", "a\0b"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "mysql://a/b"),
        ("DATABASE_URL", "sqlite:///a?mode=ro"),
        ("OFFLINE", "maybe"),
        ("OFFLINE", ""),
        ("WORKERS", "0"),
        ("WORKERS", "257"),
        ("PUBLIC_URL", "charts.example.com"),
        ("PUBLIC_URL", "https://charts.example.com/path"),
        ("PUBLIC_URL", "https://charts.example.com/?q"),
        ("RULES_EDITED_IN", "pages"),
        ("TRUSTED_PROXIES", "proxy.example.test"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("TRUSTED_PROXIES", "10.0.0.1 none"),
        ("TRUSTED_PROXIES", "10.1"),
        ("TRUSTED_PROXIES", "010.0.0.1"),
        ("TRUSTED_PROXIES", "\uff11.1.1.1"),
        ("TRUSTED_PROXIES", "[::1]"),
        ("TRUSTED_PROXIES", "10.0.0.1:443"),
        ("TRUSTED_PROXIES", "fe80::1%eth0/64"),
        ("TRUSTED_PROXIES", "1" * 5000),
        ("ALLOW_PRIVATE_NETWORKS", "2"),
        ("MAX_INDEX_SIZE", "64X"),
        ("MAX_INDEX_SIZE", "0"),
        ("MAX_CHART_SIZE", "-1"),
        ("MAX_CHART_SIZE", "101M"),
        ("UPSTREAM_TIMEOUT", "0"),
        ("UPSTREAM_TIMEOUT", "11m"),
        ("UPSTREAM_TIMEOUT", "soon"),
        ("UPSTREAM_CONCURRENCY", "0"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_malformed_value_is_told_with_its_name_and_what_was_expected(name: str, text: str) -> None:
    (problem,) = problems({f"GATEWAY_{name}": text})
    assert problem.setting == f"GATEWAY_{name}"
    assert repr(text)[:40].rstrip("'") in problem.message
    assert len(problem.message) < 250


def test_every_problem_is_told_at_once_wherever_it_stands() -> None:
    found = problems(
        {"GATEWAY_PROT": "9000", "GATEWAY_WORKERS": "many"},
        "lo: 1\nport: [1]\n",
        workers="2",
        **{"of-line": "1"},
    )
    assert [str(problem) for problem in found] == [
        "port in config.yaml: expected one value",
        "lo in config.yaml: unknown setting",
        "GATEWAY_PROT: unknown setting (did you mean GATEWAY_PORT?)",
        "GATEWAY_WORKERS: expected a whole number from 1 to 256; given was 'many'",
        "--of-line: unknown setting (did you mean GATEWAY_OFFLINE?)",
    ]


def test_a_mistyped_word_is_answered_with_the_nearest() -> None:
    (problem,) = problems({"GATEWAY_LOG_LEVEL": "inof"})
    assert "did you mean info?" in problem.message


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("none", []),
        ("", []),
        (" , ", []),
        ("10.1.2.3", ["10.1.2.3/32"]),
        ("10.1.2.3,::1\t10.0.0.0/8", ["10.1.2.3/32", "::1/128", "10.0.0.0/8"]),
        ("FD00::/8 fd00::/8", ["fd00::/8"]),
        ("::ffff:10.1.2.3, ::ffff:10.0.0.0/104", ["10.1.2.3/32", "10.0.0.0/8"]),
        ("::/1", ["::/1"]),
    ],
)
def test_trusted_proxies_are_addresses_and_networks(text: str, networks: list[str]) -> None:
    assert load({"GATEWAY_TRUSTED_PROXIES": text}).trusted_proxies == tuple(map(ip_network, networks))


@pytest.mark.parametrize("text", ["*", "0.0.0.0/0", "::/0", "10.0.0.0/8, *", "::ffff:0:0/96"])
def test_to_trust_everybody_is_refused(text: str) -> None:
    (problem,) = problems({"GATEWAY_TRUSTED_PROXIES": text})
    assert "whoever connects" in problem.message
    assert "list your proxies" in problem.message


def test_an_address_with_the_length_of_its_network_is_answered_with_that_network() -> None:
    (problem,) = problems({"GATEWAY_TRUSTED_PROXIES": "10.1.2.3/8"})
    assert "did you mean 10.0.0.0/8?" in problem.message


@pytest.mark.parametrize("name", sorted(NOT_YET))
def test_a_setting_that_is_not_obeyed_yet_is_refused(name: str) -> None:
    (problem,) = problems({f"GATEWAY_{name}": "S3CR3T"})
    assert str(problem) == f"GATEWAY_{name}: not supported by this version yet"


def test_a_catalog_may_lie_on_a_postgresql_server_whose_password_is_never_shown() -> None:
    found = load({"GATEWAY_DATABASE_URL": "postgresql://gateway:S3CR3T%40@db.example.test:6432/charts"})
    url = PostgresUrl("charts", "db.example.test", 6432, "gateway", "S3CR3T@")
    assert found.database_url == url
    assert "S3CR3T" not in repr(found) + str(url) + repr(url)


@pytest.mark.parametrize(
    "text",
    [
        "postgres://user:S3/CR3T@db/x",
        "postgresql+asyncpg://u:S3CR3T@d",
        "postgresql:/user:S3CR3T@db/x",
        "postgresql://db/x?password=S3CR3T",
        "mysql://user:S3CR3T@db/x",
    ],
)
def test_a_malformed_database_url_is_not_repeated_for_it_may_hold_a_password(text: str) -> None:
    (problem,) = problems({"GATEWAY_DATABASE_URL": text})
    assert problem.setting == "GATEWAY_DATABASE_URL"
    assert "CR3T" not in str(problem)


def test_the_value_of_an_unknown_setting_is_never_repeated() -> None:
    (problem,) = problems({"GATEWAY_ADMIN_PASSWORD": "S3CR3T"})
    assert "S3CR3T" not in str(problem)


def test_what_kubernetes_injects_is_ignored_and_told() -> None:
    injected = {
        "GATEWAY_SERVICE_HOST": "10.0.0.1",
        "GATEWAY_SERVICE_PORT_HTTP": "9000",
        "GATEWAY_PORT": "tcp://10.0.0.1:9000",
        "GATEWAY_PORT_9000_TCP_ADDR": "10.0.0.1",
        "GATEWAY_REDIS_SERVICE_PORT": "6379",
    }
    settings = load(injected)
    assert settings.ignored == tuple(sorted(injected))
    assert settings == Settings(ignored=settings.ignored)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"DOCKER_CONFIG": "/home/me/.docker"}, Path("/home/me/.docker")),
        ({"DOCKER_CONFIG": ""}, None),
        ({}, None),
    ],
)
def test_the_folder_of_dockers_own_configuration_is_where_docker_looks_for_it(
    environment: Mapping[str, str], folder: Path | None
) -> None:
    assert load(environment).docker_config == folder


def test_secrets_are_kept_for_the_rules_and_out_of_every_print() -> None:
    secrets = {"GATEWAY_SECRET_NEXUS": "S3CR3T", "GATEWAY_SECRET_SERVICE_PORT_X": "tcp://x"}
    settings = load(secrets)
    assert settings.secrets == secrets
    assert settings.ignored == ()
    assert "S3CR3T" not in repr(settings)


def test_settings_are_frozen_and_can_be_handed_to_a_worker() -> None:
    settings = load({"GATEWAY_PUBLIC_URL": "https://a.example", "GATEWAY_SECRET_A": "b"})
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 (our own bytes)
    with pytest.raises(FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]


def test_the_file_is_named_by_a_flag_only() -> None:
    (problem,) = problems({"GATEWAY_CONFIG": "x"})
    assert problem.hint is not None
    assert "--config" in problem.hint


def test_a_name_in_two_spellings_is_refused() -> None:
    (problem,) = problems(config="data_dir: a\ndata-dir: b\n")
    assert problem.setting == "data-dir in config.yaml"


@pytest.mark.parametrize("config", ["- a", "text", "[" * 60_000, "a: [", "a: !!x b"])
def test_a_config_file_that_is_none_is_one_clean_problem(config: str) -> None:
    (problem,) = problems(config=config)
    assert problem.setting == "--config config.yaml"


def test_an_empty_config_file_sets_nothing() -> None:
    assert load(config="# nothing\n") == Settings()


def test_a_config_file_that_cannot_be_read_is_a_clean_problem(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for place, reason in ((tmp_path / "absent", "No such file"), (binary, "UTF-8"), (tmp_path, "directory")):
        with pytest.raises(SettingsError, match=reason):
            load_settings({}, {"config": str(place)}, lambda path: path.read_text(encoding="utf-8"))
    with pytest.raises(SettingsError, match="file name"):
        load_settings({}, {"config": ""}, lambda path: path.read_text(encoding="utf-8"))


NAMES = st.sampled_from([row.variable for row in SETTINGS]) | st.text(max_size=12).map("GATEWAY_".__add__)


@given(st.dictionaries(NAMES, st.text(max_size=20), max_size=5), st.text(max_size=40))
def test_any_environment_and_file_are_settings_or_problems(environment: dict[str, str], config: str) -> None:
    found = settings_or_problems(environment, config)
    assert isinstance(found, Settings) or len(found) > 0
