"""A docker config.json: whose credentials it has, and what of it is not obeyed."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sources.docker_config import MAX_BYTES, DockerConfig, DockerConfigError, parse_docker_config

SECRET = "S3CR3T-xyz"


def auth(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


def parsed(**members: object) -> DockerConfig:
    return parse_docker_config(json.dumps(members).encode())


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("ghcr.io", "ghcr.io"),
        ("GHCR.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/", "ghcr.io"),
        ("https://ghcr.io/v1/", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("ghcr.io:443", "ghcr.io"),
        ("ghcr.io/org/team", "ghcr.io/org/team"),
        ("reg.corp:5000", "reg.corp:5000"),
        ("http://reg.corp:5000/team", "reg.corp:5000/team"),
        ("localhost:5000", "localhost:5000"),
        ("[::1]:5000", "[::1]:5000"),
        ("https://index.docker.io/v1/", "registry-1.docker.io"),
        ("docker.io", "registry-1.docker.io"),
        ("docker.io/org", "registry-1.docker.io/org"),
        ("registry-1.docker.io", "registry-1.docker.io"),
    ],
)
def test_an_entry_is_for_a_place_as_it_is_dialled(written: str, place: str) -> None:
    assert parsed(auths={written: {"auth": auth("me:pass")}}) == DockerConfig({place: "me:pass"})


@pytest.mark.parametrize(
    ("entry", "pair"),
    [
        ({"auth": auth("me:pa:ss")}, "me:pa:ss"),
        ({"auth": auth("me:")}, "me:"),
        ({"auth": auth("me:pass\x00\x00")}, "me:pass"),
        ({"username": "me", "password": "pass"}, "me:pass"),
        ({"username": "me", "password": ""}, "me:"),
        ({"auth": auth("one:1"), "username": "two", "password": "2"}, "one:1"),
        ({"auth": "", "username": "two", "password": "2"}, "two:2"),
    ],
)
def test_a_user_and_a_password_stand_in_one_of_two_ways(entry: object, pair: str) -> None:
    assert parsed(auths={"a.example": entry}).pairs == {"a.example": pair}


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"auth": "not base64!"},
        {"auth": auth("nocolon")},
        {"auth": auth(":pass")},
        {"auth": 1},
        {"username": "me"},
        {"username": "", "password": "p"},
        {"username": "me:", "password": "p"},  # no way to say it, RFC 7617 §2
        {"auth": auth("<token>:"), "identitytoken": SECRET},
    ],
)
def test_an_entry_without_both_is_told_and_not_used(entry: object) -> None:
    found = parsed(auths={"a.example": entry, "b.example": {"auth": auth("me:p")}})
    assert found.pairs == {"b.example": "me:p"}
    assert found.unused == ("a.example has no user and password of its own there",)


@pytest.mark.parametrize(
    "written",
    ["", "https://", "ftp://a.example", "a b", "u@a.example", "a.example?x", "<script>", "ä.example"],
)
def test_an_entry_for_no_place_is_told_and_not_used(written: str) -> None:
    found = parsed(auths={written: {"auth": auth("me:p")}})
    assert (found.pairs, len(found.unused)) == ({}, 1)
    assert "is no place of a registry" in found.unused[0]


def test_credential_helpers_are_told_and_never_run() -> None:
    found = parsed(credsStore="desktop", credHelpers={"gcr.io": "gcloud"}, HttpHeaders={"a": "b"})
    assert found.unused == (
        "credsStore is not obeyed: no credential helper is run",
        "credHelpers is not obeyed: no credential helper is run",
    )


@pytest.mark.parametrize("content", [b"{}", b'{"auths": {}}', b'{"auths": null}', b'{"credHelpers": {}}'])
def test_a_file_may_say_nothing(content: bytes) -> None:
    assert parse_docker_config(content) == DockerConfig()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"auths": []}',
        b'{"auths": {"a.example": "x"}}',
        b'{"auths": {}, "auths": {}}',
        b" " * (MAX_BYTES + 1),
    ],
)
def test_what_is_no_docker_config_is_refused(content: bytes) -> None:
    with pytest.raises(DockerConfigError):
        parse_docker_config(content)


def test_no_secret_is_in_a_representation_or_a_message() -> None:
    found = parsed(auths={"a.example": {"auth": auth(f"me:{SECRET}")}, "b": {"identitytoken": SECRET}})
    assert SECRET not in repr(found)
    with pytest.raises(DockerConfigError) as caught:
        parse_docker_config(b'{"auths": {"a": "' + SECRET.encode() + b'"}}')
    assert SECRET not in str(caught.value)


@given(
    st.binary(max_size=80) | st.text(max_size=40).map(lambda text: json.dumps({"auths": {text: {}}}).encode())
)
def test_any_bytes_are_a_docker_config_or_refused(content: bytes) -> None:
    found = parsed_or_refused(content)
    assert str(found) if isinstance(found, DockerConfigError) else found.pairs == {}


def parsed_or_refused(content: bytes) -> DockerConfig | DockerConfigError:
    try:
        return parse_docker_config(content)
    except DockerConfigError as error:
        return error
