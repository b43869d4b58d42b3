"""The URLs that explain tells are those that upstreams are asked at by the real sources."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.readers import admit_operator
from gateway.app import Gateway, compose
from gateway.explained import Explanation
from gateway.oci.errors import OciError
from gateway.oci.location import Location
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository
from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from gateway.rules.route import Wanted
from gateway.settings import Settings
from gateway.store.data_dir import DataDir
from tests.composed import FakeDns
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.slow

TAG: Final = Tag("1.0.0")
HOSTS = [
    "helm.example.test",
    "auto.example.test",
    "both.example.test",
    "reg.example.test",
    "reg.example.test/deep",
]
targets = st.builds("{}/{}".format, st.sampled_from(HOSTS), st.sampled_from(["$1", "stable/$1", "$0"]))
policies = st.fixed_dictionaries(
    {},
    optional={
        "chain": st.permutations(["registry", "chartproxy", "helm"]).map(lambda order: order[:2]),
        "chartproxy": st.sampled_from(["proxy.example.test/below", "stranger.example.test"]),
    },
)
rules = st.builds(
    lambda to, policy: {"repository": "a/*", "rewrite": to, **policy},
    st.lists(targets, min_size=1, max_size=3, unique=True),
    policies,
)


@dataclass(frozen=True, slots=True, repr=False)
class Site:
    """A gateway before upstreams that have nothing; ``gone`` is down, and the first place of a registry."""

    gateway: Gateway
    runner: asyncio.Runner
    classic: HelmRepo
    registry: FakeRegistry
    other: FakeRegistry
    proxy: FakeRegistry
    gone: FakeRegistry

    def obey(self, rule: dict[str, object]) -> None:
        upstreams: dict[str, dict[str, object]] = {
            "helm.example.test": {"kind": "helm", "url": f"{self.classic.origin}/charts"},
            "auto.example.test": {"url": self.classic.origin},
            "both.example.test": {"url": f"{self.other.origin}/base", "chartproxy": "proxy.example.test"},
            "reg.example.test": {"kind": "registry", "urls": [f"{self.gone.origin}/x", self.registry.origin]},
            "proxy.example.test": {"kind": "chartproxy", "url": f"{self.proxy.origin}/up"},
        }
        file = {
            "version": 1,
            "defaults": {"missing_for": "0s", "chartproxy": "proxy.example.test"},
            "egress": {"mode": "allowlist"},
            "upstreams": {key: {**value, "allow_private": True} for key, value in upstreams.items()},
            "rules": [rule],
        }
        self.gateway.switch.put(InForce(load_rules(json.dumps(file))))

    async def explain(self, wanted: Wanted) -> Explanation:
        return await self.gateway.explainer.explain(Location(wanted.name, TAG), wanted)

    async def pull(self, wanted: Wanted) -> set[str]:
        """Pull what nobody has; return the places that were asked for it."""
        servers = (self.classic, self.registry, self.other, self.proxy)
        for server in servers:
            server.requests.clear()
        with pytest.raises(OciError):
            await self.gateway.puller.manifest(wanted, TAG)
        asked = {server.origin + request.path for server in servers for request in server.requests}
        return {url.partition("/manifests/")[0] for url in asked if not url.endswith("/v2/")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("explained")
    with ExitStack() as stack:
        classic = stack.enter_context(HelmRepo())
        registry, other, proxy, gone = (stack.enter_context(FakeRegistry()) for _ in range(4))
        gone.go_down()
        data_dir = DataDir(folder)
        stack.callback(data_dir.close)
        data_dir.prepare()
        runner = stack.enter_context(asyncio.Runner())
        gateway = compose(
            Settings(data_dir=folder),
            data_dir,
            InForce(load_rules("version: 1\n")),
            resolver=FakeDns(),
            admit=admit_operator,
        )
        yield Site(gateway, runner, classic, registry, other, proxy, gone)
        runner.run(gateway.close())


@settings(deadline=None)
@given(rule=rules)
def test_what_is_told_is_what_is_asked(site: Site, rule: dict[str, object]) -> None:
    site.obey(rule)
    wanted = Wanted(Repository.parse("a/demo"))

    async def compare() -> None:
        before = await site.explain(wanted)
        asked = await site.pull(wanted)
        told = await site.explain(wanted)  # by now it is known what is a registry
        assert [target.route for target in told.targets] == [target.route for target in before.targets]
        assert asked == would_ask(site, told)

    site.runner.run(compare())


def would_ask(site: Site, told: Explanation) -> set[str]:
    return {
        url
        for target in told.targets
        for source in target.chain
        if source.why_not is None and source.is_registry is not False
        for url in source.urls
        if not url.startswith(site.gone.origin)
    }
