"""Private content is for nobody who has not signed in, and for who owns the data directory."""

import pytest

from gateway.access.readers import admit_anyone, admit_operator
from gateway.oci.errors import OciError, Situation
from gateway.oci.repository import Repository
from gateway.rules.load import load_rules
from gateway.rules.route import Route, Wanted, route

_RULES = load_rules(
    """\
version: 1
upstreams:
  private.example:
    username_env: GATEWAY_SECRET_USER
    password_env: GATEWAY_SECRET_PASSWORD
  open.example:
    username_env: GATEWAY_SECRET_USER
    password_env: GATEWAY_SECRET_PASSWORD
    access: anonymous
"""
)


def _route(name: str) -> Route:
    return route(_RULES, Wanted(Repository.parse(name))).first


def test_content_fetched_with_credentials_is_private_unless_it_is_said_to_be_for_all() -> None:
    with pytest.raises(OciError, match="access: anonymous") as caught:
        admit_anyone(_route("private.example/chart"))
    assert caught.value.situation is Situation.NOT_SIGNED_IN
    admit_anyone(_route("open.example/chart"))
    admit_anyone(_route("charts.example.com/chart"))


def test_the_operator_reads_everything() -> None:
    admit_operator(_route("private.example/chart"))
