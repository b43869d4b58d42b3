"""A gateway for clients of the classic protocol, composed as the server is; a test turns its clock."""

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from gateway.app import Clock as GatewayClock
from gateway.app import Gateway, compose, create_app
from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from gateway.settings import Settings
from gateway.store.data_dir import DataDir
from tests.composed import FakeDns
from tests.fakes.charts import make_chart
from tests.fakes.helm_repo import HelmRepo
from tests.sources.helm_parts import Clock

OLD = make_chart("demo", "1.0.0", description="the old one")
NEW = make_chart("demo", "1.1.0", description="the new one")
OTHER = make_chart("other", "2.0.0-rc.1+b.5")
CHARTS = (OLD, NEW, OTHER)
ALL = {"demo": ["1.0.0", "1.1.0"], "other": ["2.0.0-rc.1+b.5"]}
FRESH_SECONDS = 300.0

Entries = Mapping[str, Sequence[Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class House:
    gateway: Gateway
    client: httpx.AsyncClient
    clock: Clock

    async def get(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        """Ask; a header's name with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, path, headers={"accept-encoding": "identity", **named})

    async def index(self, prefix: str = "argo", **headers: str) -> httpx.Response:
        return await self.get(f"/charts/{prefix}/index.yaml", **headers)

    async def entries(self, prefix: str = "argo") -> Entries:
        """An index, read as strictly as clients do."""
        answer = await self.index(prefix)
        assert answer.status_code == 200, answer.text
        return read_index(answer.content)

    async def listed(self, prefix: str = "argo") -> dict[str, list[str]]:
        """The versions of each chart, in the index's order."""
        entries = await self.entries(prefix)
        return {chart: [str(one["version"]) for one in versions] for chart, versions in entries.items()}

    async def digest(self, version: str, chart: str = "demo", prefix: str = "argo") -> object:
        """What an index says of an archive; None where it says nothing."""
        versions = (await self.entries(prefix))[chart]
        (entry,) = [one for one in versions if one["version"] == version]
        return entry.get("digest") or None

    async def refusal(self, path: str, **headers: str) -> tuple[int, str]:
        """The status, and the code, of an answer that is none."""
        answer = await self.get(path, **headers)
        return answer.status_code, answer.json()["errors"][0]["code"]

    async def pull(self, name: str, tag: str) -> None:
        """By the distribution API."""
        answer = await self.client.get(f"/v2/{name}/manifests/{tag}")
        assert answer.status_code == 200, answer.text

    def use(self, rules: str) -> None:
        """Put other rules in force."""
        self.gateway.switch.put(InForce(load_rules(f"version: 1\n{rules}")))


class _Strict(yaml.SafeLoader):
    """Refuses what Go's strict readers refuse: two members of one name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), keys
        return super().construct_mapping(node, deep)


def read_index(content: bytes) -> Entries:
    assert content.startswith(b"apiVersion: v1\n")
    document: dict[str, Entries] = yaml.load(content, _Strict)  # noqa: S506 (a SafeLoader)
    assert set(document) <= {"apiVersion", "entries", "generated"}
    return document["entries"]


def rules_for(repo: HelmRepo, rule: str = "", more: str = "") -> str:
    """Rules that lead ``argo/*`` to a fake; ``rule`` adds to that rule, ``more`` stands before it."""
    return (
        f"upstreams:\n  up.example.test: {{kind: helm, url: '{repo.url}', allow_private: true}}\n"
        f"rules:\n{more}  - {{repository: argo/*, rewrite: up.example.test/$1{rule and ', '}{rule}}}\n"
    )


@asynccontextmanager
async def house(
    folder: Path, rules: str, settings: Settings | None = None, clock: Clock | None = None
) -> AsyncIterator[House]:
    """Open a gateway on ``folder``; ``rules`` is the text of rules.yaml without its version."""
    data_dir, turned = DataDir(folder), clock or Clock()
    data_dir.prepare()
    gateway = compose(
        settings or Settings(data_dir=folder),
        data_dir,
        InForce(load_rules(f"version: 1\n{rules}")),
        resolver=FakeDns(),
        clock=GatewayClock(now=turned),
    )
    transport = httpx.ASGITransport(app=create_app(gateway))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
            yield House(gateway, client, turned)
    finally:
        await gateway.close()
        data_dir.close()
