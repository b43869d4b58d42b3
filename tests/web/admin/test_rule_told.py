"""What comes of a reference, in a line: held, asked for, hidden, or nobody to ask."""

from dataclasses import replace

import pytest

from gateway.oci.repository import Repository
from gateway.rules.load import load_rules
from gateway.rules.model import SourceName
from gateway.rules.route import Wanted
from gateway.web.admin.rule_told import told
from tests.explaining import telling

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

WEB = Wanted(Repository.parse("team/web"))
TARGET = "charts.example.com/web"
RULES = 'version: 1\nrules: [{{repository: "team/*", rewrite: charts.example.com/$1, chain: [helm]{more}}}]\n'


async def test_what_is_held_and_fresh_is_served_from_the_cache() -> None:
    async with telling(load_rules(RULES.format(more="")), {(TARGET, SourceName.HELM)}) as teller:
        before = told(await teller.explain(WEB))
        assert before.outcome.text == "Not held yet: asked for upstream, by helm."
        await teller.pull(WEB, "1.0.0")
        after = told(await teller.explain(WEB))
        assert after.outcome.look == "ok"
        assert after.outcome.text.startswith(f"Served from the cache, {TARGET}")
        assert [held.tag for held in after.targets[0].held] == ["1.0.0"]
        assert before.decision == after.decision


async def test_what_is_stale_is_asked_for_again() -> None:
    async with telling(load_rules(RULES.format(more="")), {(TARGET, SourceName.HELM)}) as teller:
        await teller.pull(WEB, "1.0.0")
        teller.clock.seconds += 10 * 86_400
        assert told(await teller.explain(WEB)).outcome.text == "Held, and asked for again upstream, by helm."


async def test_a_tag_that_is_hidden_is_refused_with_its_reason() -> None:
    async with telling(load_rules(RULES.format(more=', versions: ">=2"'))) as teller:
        found = told(await teller.explain(WEB))
        assert found.outcome.text.startswith("Refused: 404 MANIFEST_UNKNOWN, this tag is hidden by")
        assert found.targets[0].nobody == "nobody for this tag: it is hidden"


async def test_offline_only_what_is_held_is_served() -> None:
    async with telling(load_rules(RULES.format(more="")), {(TARGET, SourceName.HELM)}) as teller:
        offline = replace(teller, explainer=replace(teller.explainer, is_offline=True))
        assert told(await offline.explain(WEB)).outcome.look == "bad"
        await teller.pull(WEB, "1.0.0")
        assert told(await offline.explain(WEB)).outcome.look == "ok"


async def test_a_name_without_a_tag_leads_to_its_targets() -> None:
    async with telling(load_rules(RULES.format(more=""))) as teller:
        assert told(await teller.explain(WEB, None)).outcome.text == f"Leads to {TARGET}."


async def test_of_many_rules_the_last_that_were_looked_at_are_told() -> None:
    many = "".join(f"  - {{repository: a{number}, rewrite: b.example.com/x}}\n" for number in range(9))
    rules = load_rules(f"version: 1\nrules:\n{many}  - {{repository: team/web, rewrite: b.example.com/y}}\n")
    async with telling(rules) as teller:
        found = told(await teller.explain(WEB))
        assert (found.passed, [one.number for one in found.looked_at]) == (5, [6, 7, 8, 9])
        assert (found.decision.number, found.decision.name) == (10, "")
