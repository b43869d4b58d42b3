"""The admin API is what its OpenAPI says: schemathesis sends it what the description allows, and what not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.desk_site import ADMIN_TOKEN, DeskSite, desk_site, fill
from tests.e2e.gateway_process import Site

pytestmark = pytest.mark.e2e

_SECONDS = 300
_CONFIG = """\
[checks.negative_data_rejection]
expected-statuses = ["4xx", 503]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 412, 414, 422, 428, 429, 503]

[[operations]]
include-path-regex = "^/(actions/|bundles)"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 403, 404, 409, 422, 429, 503]

[parameters]
"query.name" = "argo/argo-cd"
"query.reference" = "7.1.0"
"""
# No pattern has the whole grammar of references, nor says that of three parameters one is wanted: 400.
# A target of more than 2 KiB is 414. 412, 422, 428 are about what is there, and not how it is asked.
_SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskSite]:
    with desk_site(Site(tmp_path_factory.mktemp("site"))) as one:
        fill(one)
        yield one


def test_every_operation_answers_as_its_description_says(desk: DeskSite, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(_CONFIG)
    command = [
        *(str(_SCHEMATHESIS), "run", f"{desk.url}/admin/api/openapi.json", "--checks", "all"),
        *("--exclude-checks", "ignored_auth"),  # wrong tokens would have the right one wait; see below
        *("--header", f"Authorization: Bearer {ADMIN_TOKEN}", "--max-examples", "25", "--seed", "7"),
        *("--generation-deterministic", "--no-color", "--suppress-health-check", "all"),
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [event for event in desk.server.events("request_failed") if "request_id" in event] == []


def test_nothing_but_the_way_in_is_told_to_who_has_not_signed_in(desk: DeskSite) -> None:
    paths = desk.api("GET", "/openapi.json").json()["paths"]
    asked = [(method, path) for path, methods in paths.items() for method in methods]
    assert len(asked) > 20
    for method, path in asked:
        answer = desk.api(method.upper(), path.replace("{", "").replace("}", ""), Authorization="Bearer no")
        assert answer.status_code in (401, 429), (method, path)
