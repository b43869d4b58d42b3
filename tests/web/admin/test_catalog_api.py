"""The catalog by the API: found, paged, told whole; what is no such thing is 404."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from gateway.oci.digest import Digest
from gateway.web.admin.catalog_api import operations
from tests.catalog_house import ARGO, HOST, CatalogHouse, catalog_house, image_of
from tests.web.admin_house import VIEWER, open_desk

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@dataclass(frozen=True, slots=True)
class Api:
    house: CatalogHouse
    client: httpx.AsyncClient

    async def get(self, path: str, status: int = 200, **query: str | int) -> httpx.Response:
        answer = await self.client.get(f"/admin/api/catalog{path}?{urlencode(query)}", headers=VIEWER)
        assert answer.status_code == status, answer.text
        return answer


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with catalog_house(tmp_path) as house, open_desk(endpoints=operations(house.desk)) as client:
        yield Api(house, client)


async def test_repositories_are_searched_and_paged(api: Api) -> None:
    for number in range(3):
        await api.house.keep_chart(f"{HOST}/charts/redis-{number}", "1.0.0")
    first = (await api.get("/repositories", query="redis", limit=2)).json()
    assert [one["name"][-1] for one in first["repositories"]] == ["0", "1"]
    second = (await api.get("/repositories", query="redis", limit=2, after=first["next"])).json()
    assert [one["name"][-1] for one in second["repositories"]] == ["2"]
    assert second["next"] is None
    assert first["repositories"][0] == {
        "name": f"{HOST}/charts/redis-0",
        "target": f"{HOST}/charts/redis-0",
        "tags": 1,
        "last_pull_at": None,
        "match": None,
    }


async def test_a_search_for_a_tag_says_what_matched(api: Api) -> None:
    await api.house.keep_chart(ARGO, "5.1.0")
    found = (await api.get("/repositories", query="argo-cd:5.1.0")).json()
    assert found["repositories"][0]["match"] == "5.1.0"


async def test_tags_of_a_name_are_told_with_when_and_from_where(api: Api) -> None:
    digest = await api.house.keep(ARGO, "5.1.0", image_of(b"x"), seen=str(Digest.of(b"new")))
    told = (await api.get("/tags", name=ARGO)).json()
    assert (told["name"], told["targets"], told["next"]) == (ARGO, [ARGO], None)
    (tag,) = told["tags"]
    assert (tag["digest"], tag["seen_digest"]) == (str(digest), str(Digest.of(b"new")))
    assert tag["kept_at"] == "2023-11-14T22:13:20Z"


async def test_an_artifact_is_told_whole(api: Api) -> None:
    digest = await api.house.keep_chart(ARGO, "5.1.0")
    told = (await api.get("/artifact", name=ARGO, reference="5.1.0")).json()
    assert Digest.of(told["manifest"].encode()) == digest
    assert (told["kind"], told["digest"]) == ("chart", str(digest))
    assert [(part["kind"], part["is_held"]) for part in told["parts"]] == [("config", True), ("layer", True)]
    assert told["origins"][0]["origin"] == f"https://{ARGO}-5.1.0.tgz"
    by_digest = (await api.get("/artifact", name=ARGO, reference=str(digest))).json()
    assert by_digest["parts"] == told["parts"]


async def test_a_charts_contents_are_told(api: Api) -> None:
    files = {"values.yaml": b"a: 1", "README.md": b"# Argo <script>"}
    dependency = {"name": "redis", "version": "1", "repository": "https://redis.test"}
    await api.house.keep_chart(ARGO, "5.1.0", files, dependencies=[dependency], maintainers=[{"name": "me"}])
    told = (await api.get("/chart", name=ARGO, reference="5.1.0")).json()
    assert told["metadata"]["version"] == "5.1.0"
    assert told["metadata"]["dependencies"][0]["repository"] == "https://redis.test"
    assert told["values"] == {"text": "a: 1", "size_bytes": 4, "is_cut": False}
    assert told["readme"]["text"] == "# Argo <script>"
    assert told["is_held"] is True


async def test_what_is_no_chart_has_no_contents(api: Api) -> None:
    await api.house.keep(ARGO, "5.1.0", image_of(b"x"))
    answer = await api.get("/chart", 404, name=ARGO, reference="5.1.0")
    assert answer.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/tags", {"name": "nobody"}, "NAME_UNKNOWN"),
        ("/artifact", {"name": "nobody", "reference": "1"}, "NAME_UNKNOWN"),
        ("/artifact", {"name": ARGO, "reference": "9.9.9"}, "MANIFEST_UNKNOWN"),
        ("/artifact", {"name": ARGO, "reference": f"sha256:{'0' * 64}"}, "MANIFEST_UNKNOWN"),
        ("/artifact", {"name": ARGO, "reference": "5.1.0", "target": "else.test/x"}, "MANIFEST_UNKNOWN"),
        ("/artifact", {"name": ARGO, "reference": "5.1.0", "variant": "none"}, "MANIFEST_UNKNOWN"),
        ("/tags", {"name": "a\n"}, "NAME_UNKNOWN"),
    ],
)
async def test_what_is_not_held_is_404(api: Api, path: str, query: dict[str, str], code: str) -> None:
    await api.house.keep_chart(ARGO, "5.1.0")
    assert (await api.get(path, 404, **query)).json()["errors"][0]["code"] == code


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/repositories", {"limit": 0}),
        ("/repositories", {"limit": 201}),
        ("/repositories", {"after": "no cursor!"}),
        ("/repositories", {"more": "x"}),
        ("/tags", {}),
        ("/artifact", {"name": ARGO}),
        ("/artifact", {"name": ARGO, "reference": "a b"}),
    ],
)
async def test_a_query_that_is_none_is_400(api: Api, path: str, query: dict[str, str | int]) -> None:
    assert (await api.get(path, 400, **query)).json()["errors"][0]["code"] == "UNSUPPORTED"
