"""The rules by the admin API: read, tried out, changed under If-Match, and gone back to."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.rule_editing import RuleEditor
from gateway.rule_revisions import RuleReader
from gateway.rule_trials import Trials
from gateway.rules.identity import patterns_key
from gateway.sources.credentials import Secrets
from gateway.store.activity_rows import RuleHits
from gateway.store.revisions import RevisionOrigin
from gateway.web.admin.rules_api import operations
from tests.composed import composed
from tests.rule_house import Book
from tests.web.admin_house import EDITOR, VIEWER, open_desk

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # a gateway and its catalog

RULES = """\
version: 1
upstreams:
  nexus.example.com: {username_env: GATEWAY_SECRET_USER, password_env: GATEWAY_SECRET_PASSWORD}
rules:
  - {name: argo, repository: "argo/*", rewrite: a.example.com/$1}
  - {name: "<b>", host: h.example.com, repository: "prom/*", deny: no}
"""
FIRST = {**EDITOR, "if-match": '"1"'}


@dataclass(slots=True)
class Hits:
    """What is told of rules by their keys."""

    told: dict[str, RuleHits] = field(default_factory=dict)

    async def rule_hits(self, keys: Sequence[str]) -> Mapping[str, RuleHits]:
        return {key: self.told[key] for key in keys if key in self.told}


@dataclass(frozen=True, slots=True)
class Api:
    client: httpx.AsyncClient
    book: Book
    hits: Hits

    async def get(self, path: str, **query: str) -> httpx.Response:
        return await self.client.get(f"/admin/api{path}", params=query, headers=VIEWER)

    async def send(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] = FIRST
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        told = headers if content is None else {**headers, "content-type": "application/json"}
        return await self.client.request(method, f"/admin/api{path}", headers=told, content=content)

    async def names(self) -> list[str]:
        return [rule["name"] for rule in (await self.get("/rules/list")).json()["rules"]]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A gateway with one revision of the rules."""

    async def note(actor: str, action: str, subject: str, detail: str = "") -> None:
        """Nobody reads it here."""

    async with composed(tmp_path, "") as at:
        gateway, hits = at.gateway, Hits()
        secrets = Secrets({"GATEWAY_SECRET_USER": "ada", "GATEWAY_SECRET_PASSWORD": "S3CR3T"})
        desk = replace(gateway.desk, reader=RuleReader(secrets, None))
        book = Book(desk.engines)
        book.add(RevisionOrigin.FILE, RULES)
        trials = Trials(
            names=gateway.storage.engines, explainer=lambda: gateway.explainer, own_hosts=gateway.own_hosts
        )
        editor = RuleEditor(
            desk, trials, note, is_read_only=False, trouble=lambda: None, now=lambda: 1_800_000_000.0
        )
        async with open_desk(endpoints=operations(editor, hits)) as client:
            yield Api(client, book, hits)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


async def test_the_rules_are_read_with_their_etag_and_without_credentials(api: Api) -> None:
    answer = await api.get("/rules")
    told = answer.json()
    assert (answer.headers["etag"], told["number"], told["revision"]["origin"]) == ('"1"', 1, "file")
    assert "GATEWAY_SECRET" not in told["content"]


async def test_rules_are_replaced_under_if_match(api: Api) -> None:
    content = (await api.get("/rules")).json()["content"].replace("a.example.com", "c.example.com")
    answer = await api.send("PUT", "/rules", {"content": content, "comment": "moved"})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    assert (answer.json()["author"], answer.json()["comment"]) == ("the editor", "moved")
    assert api.book.texts()[-1] == RULES.replace("a.example.com", "c.example.com")


@pytest.mark.parametrize(
    ("if_match", "refused"),
    [
        (None, (428, "UNSUPPORTED")),
        ('"2"', (412, "UNSUPPORTED")),
        ('W/"1"', (412, "UNSUPPORTED")),
        ("*", (412, "UNSUPPORTED")),
    ],
)
async def test_a_change_that_does_not_say_what_it_is_based_on_is_refused(
    api: Api, if_match: str | None, refused: tuple[int, str]
) -> None:
    headers = EDITOR if if_match is None else {**EDITOR, "if-match": if_match}
    assert code(await api.send("PUT", "/rules", {"content": RULES}, headers)) == refused
    assert code(await api.send("DELETE", "/rules/items/1", None, headers)) == refused
    assert code(await api.send("POST", "/revisions/1/rollback", None, headers)) == refused


async def test_a_viewer_changes_nothing_and_tries_nothing_out(api: Api) -> None:
    text = {"content": RULES}
    viewer = {**VIEWER, "if-match": '"1"'}
    for method, path in (("PUT", "/rules"), ("POST", "/rules/validate"), ("POST", "/rules/impact")):
        assert code(await api.send(method, path, text, viewer)) == (403, "DENIED")


async def test_what_is_wrong_with_a_text_is_told_by_line(api: Api) -> None:
    content = RULES.replace("$1", "$2").replace("deny", "dney")
    checked = (await api.send("POST", "/rules/validate", {"content": content}, EDITOR)).json()
    assert checked["rules"] == 0
    assert [(one["line"], one["key"]) for one in checked["problems"]] == [
        (5, "rules[1].rewrite"),
        (6, "rules[2].dney"),
    ]
    answer = await api.send("PUT", "/rules", {"content": content})
    assert code(answer) == (422, "UNSUPPORTED")
    assert answer.json()["errors"][0]["detail"]["problems"] == checked["problems"]


async def test_single_rules_are_added_changed_moved_switched_and_removed(api: Api) -> None:
    yaml = "name: new\nrepository: new/*\nrewrite: c.example.com/$1\n"
    steps = (
        ("POST", "/rules/items", {"yaml": yaml, "position": 1}, 201, ["new", "argo", "<b>"]),
        ("POST", "/rules/items/1/move", {"to": 2}, 200, ["argo", "new", "<b>"]),
        ("PUT", "/rules/items/2", {"yaml": yaml.replace("new", "newer", 1)}, 200, ["argo", "newer", "<b>"]),
        ("PATCH", "/rules/items/2", {"is_enabled": False}, 200, ["argo", "newer", "<b>"]),
        ("DELETE", "/rules/items/1", None, 200, ["newer", "<b>"]),
    )
    for number, (method, path, body, status, names) in enumerate(steps, start=1):
        answer = await api.send(method, path, body, {**EDITOR, "if-match": f'"{number}"'})
        assert (answer.status_code, await api.names()) == (status, names)
    first, _ = (await api.get("/rules/list")).json()["rules"]
    assert not first["is_enabled"]


@pytest.mark.parametrize("path", ["/rules/items/7", "/rules/items/x"])
async def test_a_rule_that_is_not_there_is_404(api: Api, path: str) -> None:
    assert code(await api.send("DELETE", path)) == (404, "NAME_UNKNOWN")


async def test_rules_are_listed_with_their_hits_a_page_at_a_time(api: Api) -> None:
    api.hits.told[patterns_key("h.example.com", "prom/*")] = RuleHits(7, 1_800_000_000.0)
    first = (await api.get("/rules/list", limit="1")).json()
    assert (first["total"], first["next"], first["rules"][0]["hits"]) == (2, "1", 0)
    rest = (await api.get("/rules/list", limit="1", after=first["next"])).json()
    assert rest["next"] is None
    assert (rest["rules"][0]["name"], rest["rules"][0]["hits"]) == ("<b>", 7)
    assert code(await api.get("/rules/list", after="x")) == (400, "UNSUPPORTED")


async def test_a_text_is_tried_out_beside_the_saved_one(api: Api) -> None:
    content = RULES.replace("a.example.com", "c.example.com")
    body = {"content": content, "references": ["argo/argo-cd:1.0", "ghcr.io/x/y", "no name"]}
    moved, same, odd = (await api.send("POST", "/rules/dry-run", body, EDITOR)).json()["results"]
    assert (moved["is_same"], same["is_same"]) == (False, True)
    targets = [moved[side]["targets"][0]["target"] for side in ("saved", "edited")]
    assert targets == ["a.example.com/argo-cd", "c.example.com/argo-cd"]
    assert odd["error"]["code"] == "NAME_INVALID"


async def test_what_a_pull_would_do_is_explained(api: Api) -> None:
    told = (await api.get("/explain", reference="prom/x:1", host="h.example.com")).json()
    assert (told["rule"], told["refusal"]["code"]) == (2, "DENIED")
    assert [rule["why_not"] for rule in told["rules"]] == ["repository argo/* does not match", None]
    assert code(await api.get("/explain", reference="NO")) == (400, "NAME_INVALID")


async def test_a_rule_that_is_disabled_is_explained_as_that(api: Api) -> None:
    await api.send("PATCH", "/rules/items/1", {"is_enabled": False})
    told = (await api.get("/explain", reference="argo/x")).json()
    assert [rule["why_not"] for rule in told["rules"]] == [
        "disabled",
        "host h.example.com does not match a request without a host",
    ]


async def test_revisions_are_listed_read_compared_and_gone_back_to(api: Api) -> None:
    await api.send("PATCH", "/rules/items/1", {"is_enabled": False})
    listed = (await api.get("/revisions", limit="1")).json()
    assert ([one["number"] for one in listed["revisions"]], listed["next"]) == ([2], "2")
    assert "GATEWAY_SECRET" not in (await api.get("/revisions/1")).json()["content"]
    diff = (await api.get("/revisions/2/diff")).json()["diff"]
    assert '+  - {enabled: false, name: argo, repository: "argo/*"' in diff
    assert (await api.get("/revisions/2/diff", against="2")).json()["diff"] == ""
    answer = await api.send("POST", "/revisions/1/rollback", None, {**EDITOR, "if-match": '"2"'})
    assert (answer.json()["number"], api.book.texts()[-1]) == (3, RULES)
    assert code(await api.get("/revisions/9")) == (404, "NAME_UNKNOWN")


async def test_an_impact_is_told(api: Api) -> None:
    told = (await api.send("POST", "/rules/impact", {"content": RULES}, EDITOR)).json()
    assert told == {"changed": [], "looked_at": 0, "is_complete": True}
