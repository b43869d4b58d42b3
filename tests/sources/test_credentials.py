"""Secrets are looked up by name, each time anew, and shown to nobody."""

import base64
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet, Upstream
from gateway.sources.credentials import CredentialError, Secrets, docker_logins, verify

SECRET = "S3CR3T-xyz"
ENVIRONMENT = {"GATEWAY_SECRET_USER": "me", "GATEWAY_SECRET_PASSWORD": SECRET}
BY_ENVIRONMENT = "{username_env: GATEWAY_SECRET_USER, password_env: GATEWAY_SECRET_PASSWORD}"
BY_FILE = "{username_file: user, password_file: password}"


def rules(members: str, egress: str = "{}") -> RuleSet:
    return load_rules(f"version: 1\negress: {egress}\nupstreams: {{a.example.org: {members}}}\n")


def upstream(members: str) -> Upstream:
    return rules(members).upstreams["a.example.org"]


def decoded(header: str | None) -> bytes:
    assert header is not None
    scheme, _, pair = header.partition(" ")
    assert scheme == "Basic"
    return base64.b64decode(pair, validate=True)


def test_without_a_user_name_there_is_no_header() -> None:
    assert Secrets().authorization(upstream("{}")) is None


def test_secrets_come_from_the_environment() -> None:
    assert decoded(Secrets(ENVIRONMENT).authorization(upstream(BY_ENVIRONMENT))) == f"me:{SECRET}".encode()


def test_secrets_come_from_files_without_their_line_break_and_a_rotated_one_is_seen(
    tmp_path: Path,
) -> None:
    secrets = Secrets(folder=tmp_path)
    (tmp_path / "user").write_bytes(b"me\r\n")
    (tmp_path / "password").write_bytes(b" old pass \n")
    assert decoded(secrets.authorization(upstream(BY_FILE))) == b"me: old pass "
    (tmp_path / "password").write_bytes(b"new")
    assert decoded(secrets.authorization(upstream(BY_FILE))) == b"me:new"


def test_a_secret_that_is_no_utf_8_is_sent_as_the_bytes_it_is(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"p\xe4ss")
    secrets = Secrets({"GATEWAY_SECRET_USER": "m\udce9"}, tmp_path)
    mixed = upstream("{username_env: GATEWAY_SECRET_USER, password_file: password}")
    assert decoded(secrets.authorization(mixed)) == b"m\xe9:p\xe4ss"


@pytest.mark.parametrize("members", ["{token_env: GATEWAY_SECRET_PASSWORD}", "{token_file: token}"])
def test_a_token_is_sent_as_it_is(members: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    assert Secrets(ENVIRONMENT, tmp_path).authorization(upstream(members)) == f"Bearer {SECRET}"


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "t\u00f6ken"])
def test_a_token_that_no_header_can_carry_is_refused_without_telling_it(token: str, tmp_path: Path) -> None:
    secrets = Secrets({"GATEWAY_SECRET_T": token}, tmp_path)
    with pytest.raises(CredentialError, match="the token in GATEWAY_SECRET_T") as caught:
        secrets.authorization(upstream("{token_env: GATEWAY_SECRET_T}"))
    assert not token or token not in str(caught.value)


def docker_config(folder: Path, text: str) -> Secrets:
    (folder / "config.json").write_text(text)
    return Secrets(docker_config=folder)


def with_login(password: str) -> str:
    pair = base64.b64encode(f"me:{password}".encode()).decode()
    return f'{{"auths": {{"ghcr.io": {{"auth": "{pair}"}}}}}}'


def test_a_docker_login_is_read_anew_each_time(tmp_path: Path) -> None:
    secrets = docker_config(tmp_path, with_login("old"))
    assert decoded(secrets.login("ghcr.io")) == b"me:old"
    docker_config(tmp_path, with_login("new"))
    assert decoded(secrets.login("ghcr.io")) == b"me:new"
    docker_config(tmp_path, "{}")
    with pytest.raises(CredentialError, match=r"no credentials for ghcr\.io any more"):
        secrets.login("ghcr.io")


def told(secrets: Secrets, rule_set: RuleSet) -> list[str]:
    """What is wrong, each with the keys that lead there."""
    return [f"{'.'.join(one.keys)}: {one.message}" for one in verify(secrets, rule_set)]


def test_without_a_docker_config_there_are_no_logins(tmp_path: Path) -> None:
    for secrets in (Secrets(), Secrets(docker_config=tmp_path), Secrets(docker_config=tmp_path / "none")):
        assert docker_logins(secrets) == frozenset()
        assert told(secrets, RuleSet()) == []


def test_the_places_of_docker_logins_are_known_and_what_is_not_used_is_in_the_log(tmp_path: Path) -> None:
    secrets = docker_config(tmp_path, f'{with_login("p")[:-1]}, "credsStore": "desktop"}}')
    with capture_logs() as logs:
        assert docker_logins(secrets) == frozenset({"ghcr.io"})
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("docker_login_unused", "credsStore is not obeyed: no credential helper is run")
    ]


def test_a_docker_config_that_cannot_be_used_is_told_at_start(tmp_path: Path) -> None:
    (problem,) = told(docker_config(tmp_path, "{"), RuleSet())
    assert problem.startswith(f": DOCKER_CONFIG: the file {tmp_path}/config.json cannot be used: ")
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    (problem,) = told(Secrets(docker_config=tmp_path), RuleSet())
    assert problem.startswith(f": DOCKER_CONFIG: the file {tmp_path}/config.json cannot be read: ")
    with capture_logs() as logs:
        assert docker_logins(Secrets(docker_config=tmp_path)) == frozenset()
    assert [line["event"] for line in logs] == ["docker_config_unusable"]


def test_a_rule_set_whose_secrets_are_all_there_has_no_problems(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("any")
    secrets = Secrets(ENVIRONMENT, tmp_path)
    assert told(secrets, rules(f"{BY_ENVIRONMENT[:-1]}, ca_file: ca.pem}}", "{ca_file: ca.pem}")) == []


@pytest.mark.parametrize(
    ("members", "egress", "expected"),
    [
        (
            BY_ENVIRONMENT,
            "{}",
            [
                f"upstreams.a.example.org.{key}_env: the environment variable {{1}}{name} is not set"
                for key, name in (("username", "USER"), ("password", "PASSWORD"))
            ],
        ),
        (
            BY_FILE,
            "{}",
            [
                f"upstreams.a.example.org.{key}_file: the secret file {{0}}/{name} cannot be read: {{2}}"
                for key, name in (("username", "user"), ("password", "password"))
            ],
        ),
        ("{ca_file: ca.pem}", "{}", ["upstreams.a.example.org.ca_file: there is no file {0}/ca.pem"]),
        (
            "{cert_file: c.pem, key_file: k.pem}",
            "{}",
            [
                f"upstreams.a.example.org.{key}: there is no file {{0}}/{key[0]}.pem"
                for key in ("cert_file", "key_file")
            ],
        ),
        ("{}", "{ca_file: corp.pem}", ["egress.ca_file: there is no file {0}/corp.pem"]),
    ],
)
def test_what_is_missing_is_told_at_start(
    members: str, egress: str, expected: list[str], tmp_path: Path
) -> None:
    problems = told(Secrets({}, tmp_path), rules(members, egress))
    places = (tmp_path, "GATEWAY_SECRET_", "No such file or directory")
    assert problems == [line.format(*places) for line in expected]


@pytest.mark.parametrize(
    ("members", "egress"), [(BY_FILE, "{}"), ("{ca_file: a}", "{}"), ("{}", "{ca_file: a}")]
)
def test_a_file_without_a_folder_for_files_is_told_at_start(members: str, egress: str) -> None:
    problems = told(Secrets({}), rules(members, egress))
    assert problems
    assert all(one.endswith("but GATEWAY_SECRETS_DIR is not set") for one in problems)


def test_a_secret_is_in_no_representation_and_no_message(tmp_path: Path) -> None:
    secrets = Secrets(ENVIRONMENT | {"GATEWAY_SECRET_OTHER": SECRET}, tmp_path)
    (tmp_path / "password").write_text(SECRET)
    with pytest.raises(CredentialError) as caught:
        secrets.authorization(upstream(BY_FILE))
    assert SECRET not in repr(secrets) + str(caught.value) + repr(caught.value)
