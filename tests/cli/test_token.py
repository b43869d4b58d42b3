"""``gateway token``: on the data directory, also beside a server."""

import asyncio
import json
import os
import pwd
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.access.roles import Role, SignedIn
from gateway.cli import group
from gateway.oci.errors import OciError
from gateway.settings import SETTINGS
from gateway.sign_in import SignIn
from gateway.store.admin_book import AdminBook
from gateway.store.data_dir import DataDir

pytestmark = pytest.mark.slow  # a catalog is migrated for each

NOW = 1_795_400_000.0


def run(folder: Path, *arguments: str) -> Result:
    cleared = {row.variable: None for row in SETTINGS}
    return CliRunner().invoke(group, ["token", *arguments, "--data-dir", str(folder)], env=cleared)


def signed_in(folder: Path, secret: str) -> SignedIn | None:
    """Who has the secret, as a server beside the commands finds."""
    data_dir = DataDir(folder)
    data_dir.prepare()
    engines = data_dir.open_rule_engines()

    async def ask() -> SignedIn | None:
        return await SignIn(AdminBook(engines), None, lambda: NOW).by_secret(secret)

    try:
        return asyncio.run(ask())
    finally:
        engines.dispose()
        data_dir.close()


def test_a_token_is_made_and_only_its_secret_is_on_standard_output(tmp_path: Path) -> None:
    result = run(tmp_path, "create", "--name", "ci", "--role", "editor")
    assert result.exit_code == 0
    assert "called 'ci': editor, never expires; shown this once" in result.stderr
    assert signed_in(tmp_path, result.stdout.strip()) == SignedIn("ci", Role.EDITOR)


def test_without_more_a_token_has_a_name_of_its_own_and_may_only_look(tmp_path: Path) -> None:
    facts = json.loads(run(tmp_path, "create", "--json").stdout)
    assert (facts["name"], facts["role"], facts["expires_at"]) == (f"token {facts['id']}", "viewer", None)
    assert facts["made_by"] == f"{pwd.getpwuid(os.getuid()).pw_name}, by a command"


def test_tokens_are_listed_without_their_secrets(tmp_path: Path) -> None:
    made = json.loads(run(tmp_path, "create", "--name", "ci", "--expires", "90d", "--json").stdout)
    secret = made.pop("secret")
    listed, told = run(tmp_path, "list", "--json"), run(tmp_path, "list")
    assert json.loads(listed.stdout) == [made]
    assert told.stdout.startswith(f"{made['id']}\tviewer\tci\tmade ")
    assert secret not in listed.stdout + told.stdout


def test_where_there_is_no_data_directory_listing_makes_none(tmp_path: Path) -> None:
    result = run(tmp_path / "absent", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "there are no tokens\n")
    assert not (tmp_path / "absent").exists()


def test_a_token_that_is_revoked_is_good_for_nothing(tmp_path: Path) -> None:
    made = json.loads(run(tmp_path, "create", "--name", "ci", "--json").stdout)
    assert run(tmp_path, "revoke", made["id"]).stdout == f"token {made['id']}, called 'ci', is revoked\n"
    assert signed_in(tmp_path, made["secret"]) is None
    assert json.loads(run(tmp_path, "list", "--json").stdout) == []
    again = run(tmp_path, "revoke", made["id"])
    assert isinstance(again.exception, OciError)


def test_a_token_takes_the_one_time_link_away(tmp_path: Path) -> None:
    (tmp_path / "admin-link").write_text("http://127.0.0.1:9001/admin/welcome?link=x\n")
    run(tmp_path, "create")
    assert not (tmp_path / "admin-link").exists()


@pytest.mark.parametrize("wrong", ["", "0d", "-1d", "soon"])
def test_a_time_that_is_none_is_wrong_usage(tmp_path: Path, wrong: str) -> None:
    result = run(tmp_path, "create", "--expires", wrong)
    assert result.exit_code == 2
    assert "--expires" in result.stderr
