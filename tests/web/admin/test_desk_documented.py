"""The pages under docs/ name what the assembled desk offers: every operation, and every metric."""

import re
from pathlib import Path

import pytest

from gateway.settings import Settings
from tests.desk_house import bearer, desk_house

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

_DOCS = Path(__file__).resolve().parents[3] / "docs"
_TOKEN = "a-token-for-tests-0123456789"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", rules=tmp_path / "rules.yaml", admin_token=_TOKEN)


async def test_every_operation_is_documented_with_its_role(settings: Settings) -> None:
    async with desk_house(settings) as house:
        described = (
            await house.browser().client.get("/admin/api/openapi.json", headers=bearer(_TOKEN))
        ).json()
    rows = re.findall(
        r"^\| `([A-Z]+ /[^`]*)` \| (.+) \| (viewer|editor) \|$", _page("admin.md"), re.MULTILINE
    )
    told = {
        (f"{method.upper()} {path}", one["summary"], one["description"].split()[-1].rstrip("."))
        for path, methods in described["paths"].items()
        for method, one in methods.items()
    }
    assert set(rows) == told


async def test_every_metric_is_documented(settings: Settings) -> None:
    async with desk_house(settings) as house:
        text = (await house.browser().client.get("/metrics", headers=bearer(_TOKEN))).text
    names = set(re.findall(r"^# TYPE (gateway_\w+)", text, re.MULTILINE))
    assert len(names) > 10
    assert {name for name in names if f"`{name}`" not in _page("metrics.md")} == set()


def _page(name: str) -> str:
    return (_DOCS / name).read_text("utf-8")
