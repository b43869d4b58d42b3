"""ADMIN_TOKEN: read from the environment, a file of settings or a file of its own, and told by nobody."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.settings import SETTINGS, Settings, SettingsError, load_settings

SECRET = "S3CR3T-xyz-0123456789"


def load(environment: Mapping[str, str] | None = None, **flags: str) -> Settings:
    return load_settings(environment or {}, flags, Path.read_text)


def complaint(environment: Mapping[str, str] | None = None, **flags: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environment, **flags)
    return str(caught.value)


def test_without_it_there_is_none() -> None:
    assert load().admin_token is None


def test_it_comes_from_the_environment_a_settings_file_or_a_file_of_its_own(tmp_path: Path) -> None:
    own, config, naming = (tmp_path / name for name in ("token", "config", "naming"))
    own.write_text(f"{SECRET}\r\n")
    config.write_text(f"admin_token: {SECRET}\n")
    naming.write_text(f"admin_token_file: {own}\n")
    assert load({"GATEWAY_ADMIN_TOKEN": SECRET}).admin_token == SECRET
    assert load({"GATEWAY_ADMIN_TOKEN_FILE": str(own)}).admin_token == SECRET
    assert load(config=str(config)).admin_token == SECRET
    assert load(config=str(naming)).admin_token == SECRET


def test_it_is_no_flag(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    assert "ADMIN_TOKEN" not in {row.name for row in SETTINGS}
    told = (complaint(admin_token=SECRET), complaint(admin_token_file=str(tmp_path / "token")))
    for flag, complained in zip(("--admin-token", "--admin-token-file"), told, strict=True):
        assert complained == f"{flag}: unknown setting (did you mean GATEWAY_ADMIN_TOKEN?)"


def test_it_is_in_no_description_of_the_settings() -> None:
    assert SECRET not in repr(load({"GATEWAY_ADMIN_TOKEN": SECRET}))


@pytest.mark.parametrize(
    "wrong", ["S3CR3T-too-sho", "S3CR3T with spaces in it", "S3CR3T-ünicode-0123", "S" * 513, ""]
)
def test_one_that_is_short_or_fits_in_no_header_is_refused_and_not_repeated(wrong: str) -> None:
    told = complaint({"GATEWAY_ADMIN_TOKEN": wrong})
    assert told.startswith("GATEWAY_ADMIN_TOKEN: expected 16 to 512")
    assert "S3CR3T" not in told
    assert "SSSS" not in told


def test_a_file_that_cannot_be_read_is_told_by_its_setting(tmp_path: Path) -> None:
    told = complaint({"GATEWAY_ADMIN_TOKEN_FILE": str(tmp_path / "absent")})
    assert told == "GATEWAY_ADMIN_TOKEN_FILE: the file cannot be read: No such file or directory"
    (tmp_path / "binary").write_bytes(b"\xff\xfe" * 20)
    assert "not UTF-8" in complaint({"GATEWAY_ADMIN_TOKEN_FILE": str(tmp_path / "binary")})


def test_what_is_in_the_file_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("S3CR3T\nand more lines of it")
    assert "S3CR3T" not in complaint({"GATEWAY_ADMIN_TOKEN_FILE": str(tmp_path / "token")})


def test_both_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    both = {"GATEWAY_ADMIN_TOKEN": SECRET, "GATEWAY_ADMIN_TOKEN_FILE": str(tmp_path / "token")}
    assert "give ADMIN_TOKEN or the file that holds it, not both" in complaint(both)
