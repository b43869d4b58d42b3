"""What an explanation tells: rules, channels, what is hidden, what is held and where a tag stays."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.explain_facts import facts
from gateway.explained import Explanation
from gateway.oci.digest import Digest
from gateway.oci.location import Location
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet, SourceName
from gateway.rules.route import PLAIN, Route, Wanted
from gateway.store.blobs import MemoryBlobs
from gateway.store.rows import TagList
from tests.explaining import Recorder, telling
from tests.fakes.source import layer_of, manifest_of
from tests.store.samples import sample

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

ONE, TWO = Target.parse("one.example.test/x"), Target.parse("two.example.test/sub/x")
RULES = load_rules("""version: 1
defaults: {missing_for: 0s}
rules:
  - name: teams
    host: "*.corp.test"
    repository: "~team-(?P<team>[a-z]+)/(.+)"
    rewrite: $1.example.test/${team}/$3
  - name: both
    repository: "a/*"
    rewrite: [one.example.test/$1, two.example.test/sub/$1, $1/odd]
    channels: {"5": ">=5 <6"}
    versions: ">=1"
  - {repository: "closed/*", deny: "ask somebody else"}
  - {repository: "young/*", rewrite: one.example.test/$1, min_age: 1d}
""")
FIRST = manifest_of(layer_of("1.0.0")).digest
A = Wanted(Repository.parse("a/x"))


def asked(name: str, host: str = "") -> Wanted:
    return Wanted(Repository.parse(name), host)


def as_json(told: Explanation) -> Mapping[str, object]:
    read: Mapping[str, object] = json.loads(json.dumps(facts(told)))
    return read


def rules_with(**changes: object) -> RuleSet:
    return load_rules(json.dumps({"version": 1, **changes}))


@pytest.mark.anyio
async def test_rules_are_told_down_to_the_one_that_decides() -> None:
    async with telling(RULES) as at:
        first, second = (await at.explain(A)).tried
        assert (first.number, first.why_not) == (
            1,
            "host *.corp.test does not match a request without a host",
        )
        assert (second.number, second.why_not, second.rule.place.line) == (2, None, 8)
        assert second.captures is not None
        assert second.captures.told() == {"$1": "x"}


@pytest.mark.anyio
async def test_each_rule_that_does_not_match_says_what_of_it_does_not() -> None:
    async with telling(RULES) as at:
        told = await at.explain(asked("b/x", "h.corp.test"))
        assert [tried.why_not for tried in told.tried] == [
            "repository ~team-(?P<team>[a-z]+)/(.+) does not match",
            "repository a/* does not match",
            "repository closed/* does not match",
            "repository young/* does not match",
        ]
        assert (told.rule, told.targets) == (None, ())


@pytest.mark.anyio
async def test_the_facts_of_a_rule_are_json_with_its_patterns_captures_and_rewrites() -> None:
    async with telling(RULES) as at:
        told = as_json(await at.explain(asked("team-blue/a/b", "h.corp.test")))
        assert (told["rule"], told["host"], told["asked"]) == (1, "h.corp.test", "team-blue/a/b:1.0.0")
        assert told["rules"] == [
            {
                "number": 1,
                "name": "teams",
                "line": 4,
                "host": "*.corp.test",
                "repository": "~team-(?P<team>[a-z]+)/(.+)",
                "rewrite": ["$1.example.test/${team}/$3"],
                "matched": True,
                "why_not": None,
                "captures": {"$1": "h", "$2": "blue", "$3": "a/b", "${team}": "blue"},
            }
        ]


@pytest.mark.anyio
async def test_a_refusal_is_told_as_a_client_hears_it() -> None:
    async with telling(RULES) as at:
        told = as_json(await at.explain(asked("closed/x")))
        assert told["refusal"] == {"code": "DENIED", "status": 403, "message": "closed/x: ask somebody else"}
        assert told["targets"] == []
        behind = await at.explain(A)
        assert [target.route.target for target in behind.targets] == [ONE, TWO]
        assert behind.refusal is not None
        assert behind.refusal.code == "NAME_UNKNOWN"


@pytest.mark.anyio
async def test_a_channel_means_the_newest_tag_of_its_range_at_the_first_target_that_has_one() -> None:
    async with telling(RULES) as at:
        assert as_json(await at.explain(A, "5"))["channel"] == {"versions": ">=5 <6", "tag": None}
        await at.catalog.keep_tag_list(TWO, PLAIN.value, TagList("registry", ("5.2.0_b.1", "no tag"), 1000.0))
        assert as_json(await at.explain(A, "5"))["channel"] == {"versions": ">=5 <6", "tag": "5.2.0_b.1"}
        await at.catalog.keep_tag_list(ONE, PLAIN.value, TagList("helm", ("5.0.0", "5.1.0", "6.0.0"), 1000.0))
        assert as_json(await at.explain(A, "5"))["channel"] == {"versions": ">=5 <6", "tag": "5.1.0"}
        held = sample("v5.1.3", target=ONE)
        await at.catalog.keep("a/x", held.row, held.kept)
        told = await at.explain(A, "5")
        assert told.channel is not None
        assert told.channel.tag == "5.1.3"


@pytest.mark.anyio
async def test_offline_a_channel_means_what_is_held() -> None:
    rules = rules_with(
        egress={"mode": "offline"},
        rules=[{"repository": "a/*", "rewrite": "one.example.test/$1", "channels": {"5": "5.x"}}],
    )
    async with telling(rules) as at:
        await at.catalog.keep_tag_list(ONE, PLAIN.value, TagList("helm", ("5.9.0",), 1000.0))
        held = sample("5.3.0", target=ONE)
        await at.catalog.keep("a/x", held.row, held.kept)
        told = await at.explain(A, "5")
        assert told.channel is not None
        assert (told.channel.tag, told.is_offline) == ("5.3.0", True)
        assert [one.row.tag for one in told.targets[0].held] == ["5.3.0"]
        assert not told.is_asked(told.targets[0])


@pytest.mark.anyio
async def test_a_tag_that_is_hidden_says_by_what_and_nobody_behind_is_asked() -> None:
    async with telling(RULES) as at:
        told = await at.explain(A, "0.9.0")
        assert [target.hidden for target in told.targets] == ["versions >=1", "versions >=1"]
        assert [told.is_asked(target) for target in told.targets] == [False, False]


@pytest.mark.anyio
async def test_a_fallback_tag_is_shown_where_a_tag_of_its_digest_is() -> None:
    held = sample("1.2.3", target=TWO)
    tag = f"sha256-{held.digest.hex}.sig"
    async with telling(RULES) as at:
        await at.catalog.keep("a/x", held.row, held.kept)
        told = await at.explain(A, tag)
        assert [target.hidden for target in told.targets] == ["versions >=1", None]
        assert [told.is_asked(target) for target in told.targets] == [False, True]


@pytest.mark.anyio
async def test_a_tag_that_is_too_young_says_from_when_it_is_shown_unless_it_is_held() -> None:
    async with telling(RULES) as at:
        wanted, at.clock.seconds = asked("young/x"), 1060.0
        assert (await at.explain(wanted)).targets[0].hidden is None  # nothing is known of its age
        await at.catalog.keep_tag_list(ONE, PLAIN.value, TagList("helm", ("1.0.0",), 1000.0))
        told = await at.explain(wanted, "v1.0.0")
        assert told.targets[0].hidden == "min_age: it is shown from 1970-01-02T00:16+00:00"
        held = sample("1.0.0", target=ONE)
        await at.catalog.keep("young/x", held.row, held.kept)
        assert (await at.explain(wanted)).targets[0].hidden is None


@pytest.mark.anyio
async def test_of_a_tag_that_says_it_is_of_the_year_9999_there_is_an_explanation_too() -> None:
    async with telling(RULES) as at:
        listed = TagList("helm", ("1.0.0",), 1000.0)
        last_second = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
        await at.catalog.keep_tag_list(ONE, PLAIN.value, listed, {"1.0.0": last_second})
        told = await at.explain(asked("young/x"))
        assert told.targets[0].hidden == "min_age: it is shown from 9999-12-31T23:59+00:00"


@pytest.mark.anyio
async def test_where_a_tag_was_found_it_stays_and_nobody_else_is_asked() -> None:
    async with telling(RULES, having={(str(TWO), SourceName.HELM)}) as at:
        assert await at.pull(A, "1.0.0") is None
        told = await at.explain(A)
        assert told.home == TWO
        assert [told.is_asked(target) for target in told.targets] == [False, True]
        assert [[one.row.digest for one in target.held] for target in told.targets] == [[], [FIRST]]
        assert as_json(told)["tag_stays_at"] == str(TWO)
        assert (await at.explain(A, "2.0.0")).home is None
        assert (await at.explain(A, None)).home is None


@pytest.mark.anyio
async def test_a_tag_stays_also_where_nobody_may_go_by_now_and_not_where_no_rule_leads() -> None:
    behind, elsewhere = Target.parse("x/odd"), Target.parse("three.example.test/x")
    async with telling(RULES) as at:
        await at.catalog.keep_tag_target("a/x", "1.0.0", behind, 1000.0)
        await at.catalog.keep_tag_target("a/x", "2.0.0", elsewhere, 1000.0)
        told = await at.explain(A)
        assert (told.home, [told.is_asked(target) for target in told.targets]) == (behind, [False, False])
        refused = await at.pull(A, "1.0.0")
        assert refused is not None
        assert told.refusal is not None
        assert (refused.code, at.upstream.asked) == (told.refusal.code, [])
        assert (await at.explain(A, "2.0.0")).home is None


@pytest.mark.anyio
async def test_a_source_that_has_no_url_is_left_out() -> None:
    class Wordless(Recorder):
        def tells(self, route: Route) -> Sequence[str]:
            return ()

    async with telling(RULES) as at:
        wordless = Wordless(MemoryBlobs(), name=SourceName.REGISTRY)
        explainer = replace(at.explainer, sources={**at.explainer.sources, SourceName.REGISTRY: wordless})
        source = (await explainer.explain(Location(A.name, None), A)).targets[0].chain[0]
        assert (source.name, source.urls) == (SourceName.REGISTRY, ())
        assert source.why_not is not None


@pytest.mark.anyio
async def test_what_is_held_is_told_with_how_it_stands_what_is_served_first() -> None:
    async with telling(RULES) as at:
        made = sample("1.0.0", target=ONE)
        await at.catalog.keep("a/x", replace(made.row, source="elsewhere"), made.kept)
        await at.catalog.keep("a/x", made.row, made.kept)
        at.clock.seconds = 1060.0
        first, second = (await at.explain(A, "v1.0.0")).targets[0].held
        assert (first.row.source, first.is_of_chain, first.standing) == ("helm", True, "fresh")
        assert (second.row.source, second.is_of_chain) == ("elsewhere", False)
        at.clock.seconds = 1e9
        assert (await at.explain(A)).targets[0].held[0].standing == "stale"
        (told, _) = as_json(await at.explain(A))["targets"]  # type: ignore[misc]
        assert told["held"][0] == {  # type: ignore[has-type]
            "tag": "1.0.0",
            "digest": str(made.digest),
            "source": "helm",
            "origin": "https://one.example.test/redis-1.0.0.tgz",
            "age_seconds": 999_999_000,
            "standing": "stale",
            "is_fresh": False,
            "is_of_chain": True,
        }


@pytest.mark.anyio
async def test_without_a_tag_all_that_is_held_is_told_and_with_a_digest_what_has_it() -> None:
    async with telling(RULES) as at:
        for version in ("1.0.0", "2.0.0"):
            made = sample(version, target=ONE)
            await at.catalog.keep("a/x", made.row, made.kept)
        assert len((await at.explain(A, None)).targets[0].held) == 2
        untagged = sample("3.0.0", target=ONE)
        await at.catalog.keep_untagged(untagged.row, untagged.kept)
        for digest, tags, is_held in (
            (sample("2.0.0", target=ONE).digest, ["2.0.0"], True),
            (untagged.digest, [], True),
            (Digest.of(b"nobody's"), [], False),
        ):
            told = (await at.explainer.explain(Location(A.name, digest), A)).targets[0]
            assert ([one.row.tag for one in told.held], told.has_digest) == (tags, is_held)


@pytest.mark.anyio
async def test_what_was_learnt_of_a_host_is_told_where_it_is_only_taken_for_a_registry() -> None:
    async with telling(RULES) as at:
        source = (await at.explain(A)).targets[0].chain[0]
        assert (source.name, source.is_guessed, source.is_registry) == (SourceName.REGISTRY, True, None)
        await at.catalog.keep_registry("https://one.example.test/v2/", False, 1000.0)
        assert (await at.explain(A)).targets[0].chain[0].is_registry is False


@pytest.mark.anyio
async def test_explaining_asks_nobody_and_writes_nothing() -> None:
    async with telling(RULES) as at:
        before = (await at.catalog.held(), await at.catalog.names(), at.catalog.generation.current())
        for tag in ("1.0.0", "5", None):
            await at.explainer.explain(Location(A.name, None if tag is None else Tag(tag)), A)
        assert at.upstream.asked == []
        assert before == (await at.catalog.held(), await at.catalog.names(), at.catalog.generation.current())
