"""An explanation as a person reads it: why the name leads there, who is asked, what is cached."""

from dataclasses import replace

import pytest

from gateway.access.readers import admit_operator
from gateway.cli.explain import host_asked, in_namespace
from gateway.cli.explanation import text_of
from gateway.explained import SourceTold
from gateway.oci.digest import Digest
from gateway.oci.location import parse_location
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.rules.load import load_rules
from gateway.rules.model import SourceName
from gateway.rules.route import PLAIN, Wanted
from gateway.store.rows import TagList
from tests.explaining import Teller, telling
from tests.store.samples import sample

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

RULES = load_rules("""version: 1
defaults: {chartproxy: proxy.example.test}
upstreams:
  corp.example.test: {kind: helm, url: "http://nexus.example.test", allow_private: true, fresh_for: 1h}
  closed.example.test: {kind: registry, access: private}
rules:
  - {name: short names, repository: "~(?P<team>[a-z]+)/(cert|argo)", rewrite: "corp.example.test/${team}/$2"}
  - name: two places
    host: "*.example.test"
    repository: "two/*"
    rewrite: [one.example.test/$2, corp.example.test/$2, closed.example.test/x]
    channels: {"5": ">=5 <6"}
    versions: ">=1"
  - {repository: "three/*", rewrite: one.example.test/$1, provenance: true}
  - {name: by hand, repository: "kept.example.test/**", stale_for: 2d}
  - {name: not any more, repository: "old/*", deny: "use new/*"}
""")


async def lines(at: Teller, reference: str, host: str = "", *, is_all: bool = False) -> list[str]:
    """What is printed, line by line."""
    location = parse_location(reference, ())
    told = await at.explainer.explain(location, Wanted(location.name, host))
    return text_of(told, is_all=is_all).splitlines()


@pytest.mark.anyio
async def test_who_never_read_the_docs_sees_why_a_short_name_leads_there() -> None:
    async with telling(RULES) as at:
        made = sample("1.2.3", target=Target.parse("corp.example.test/x/cert"), kept_at=at.clock() - 720)
        await at.catalog.keep("x/cert", made.row, made.kept)
        assert await lines(at, "oci://gateway.test:9000/x/cert:1.2.3") == [
            "asked     x/cert:1.2.3",
            "rules     1. short names (line 7) decides: repository ~(?P<team>[a-z]+)/(cert|argo) matches",
            "             with $1 = x, $2 = cert, ${team} = x",
            "             it leads to corp.example.test/${team}/$2",
            "target    corp.example.test/x/cert",
            "upstream  corp.example.test (line 4): kind helm, may lie on a private network, anonymous",
            "policy    chartproxy  proxy.example.test  (from the defaults)",
            "          fresh_for   1h  (from the upstream)",
            "          built in: recheck_for 1d, stale_for forever, missing_for 30s, deleted keep, "
            "drift keep,",
            "          digest_mismatch refuse",
            "asks      1. helm  http://nexus.example.test/x/cert",
            f"cached    1.2.3  {made.digest}",
            "                 by helm, confirmed 12 min ago; fresh: served at once, nobody is asked",
        ]


@pytest.mark.anyio
async def test_several_targets_are_told_in_order_with_what_is_said_once_none_has_it() -> None:
    async with telling(RULES) as at:
        told = await lines(at, "two/x:5", "a.example.test")
        assert told[:7] == [
            "asked     two/x:5, under the host a.example.test",
            "rules     1. short names (line 7): repository ~(?P<team>[a-z]+)/(cert|argo) does not match",
            "          2. two places (line 8) decides: host *.example.test and repository two/* match",
            "             with $1 = a, $2 = x",
            "             it leads to one.example.test/$2, then corp.example.test/$2, then "
            "closed.example.test/x",
            'channel   5 means the newest version in ">=5 <6"',
            "          none is known here: a pull asks for the list of versions first",
        ]
        assert told[7:12] == [
            "targets   2, in this order: only a definite «not there» leads on to the next",
            "",
            "target    one.example.test/x",
            "upstream  one.example.test, of which rules.yaml says nothing: https, anonymous, public",
            "policy    chartproxy  proxy.example.test  (from the defaults)",
        ]
        assert told.count("") == 2
        assert any(
            line.startswith("refused   where none of the targets above has it, UNAUTHORIZED (401): ")
            for line in told
        )
        await at.catalog.keep_tag_list(
            Target.parse("one.example.test/x"), PLAIN.value, TagList("helm", ("5.4.0",), at.clock())
        )
        assert "          by what is known here that is 5.4.0" in await lines(at, "two/x:5", "a.example.test")


@pytest.mark.anyio
async def test_a_source_that_may_be_none_or_is_left_out_says_so() -> None:
    async with telling(RULES) as at:
        assert "                         if it is a registry: that is found out first" in await lines(
            at, "two/x", "b.example.test"
        )
        for is_registry, note in (
            (True, "it is a registry"),
            (False, "left out: it is no registry, as was found out"),
        ):
            await at.catalog.keep_registry("https://one.example.test/v2/", is_registry, 1000.0)
            assert f"                         {note}" in await lines(at, "two/x", "b.example.test")


@pytest.mark.anyio
async def test_a_home_says_that_the_others_are_not_asked() -> None:
    async with telling(RULES, having={("corp.example.test/x", SourceName.HELM)}) as at:
        assert await at.pull(Wanted(Repository.parse("two/x"), "a.example.test"), "1.0.0") is None
        told = await lines(at, "two/x:1.0.0", "a.example.test")
        stays = (
            "targets   2, and the tag stays at corp.example.test/x, where it was found first: none of the "
        )
        assert any(line.startswith(stays) for line in told)
        assert "asks      nobody for this tag: it stays elsewhere" in told
        assert "asks      1. helm  http://nexus.example.test/x" in told
        assert not any(line.startswith("refused") for line in told)


@pytest.mark.anyio
async def test_a_hidden_tag_says_by_what_and_that_nobody_is_asked() -> None:
    async with telling(RULES) as at:
        told = await lines(at, "two/x:0.9.0", "a.example.test")
        assert told.count("hidden    this tag is not shown here: versions >=1") == 2
        assert told.count("asks      nobody for this tag: it is hidden") == 2
        assert not any(line.startswith("refused") for line in told)


@pytest.mark.anyio
async def test_a_refused_name_is_told_last_by_code_status_and_message() -> None:
    async with telling(RULES) as at:
        assert await lines(at, "old/x") == [
            "asked     old/x",
            "rules     1 to 4 do not match (--all tells why)",
            "          5. not any more (line 16) decides: repository old/* matches",
            "             with $1 = x",
            "             it denies",
            "refused   DENIED (403): old/x: use new/*",
        ]
        told = await lines(at, "plain/x", is_all=True)
        assert told[4] == "          4. by hand (line 15): repository kept.example.test/** does not match"
        assert told[6] == "          none matches: the name is its own target"
        assert told[7].startswith(
            "refused   NAME_UNKNOWN (404): no rule matches plain/x, and plain is no host"
        )


@pytest.mark.anyio
async def test_what_is_not_the_plain_chart_says_what_it_is() -> None:
    async with telling(RULES) as at:
        told = await lines(at, "three/x")
        assert "variant   provenance: with the .prov file, where there is one" in told
        assert "          3. (line 14) decides: repository three/* matches" in told
        assert not any(line.startswith("variant") for line in await lines(at, "kept.example.test/a"))
    rules = load_rules('version: 1\nrules: [{repository: "**", rewrite_dependencies: true}]')
    async with telling(replace(rules, own_host="charts.corp.test:8443")) as at:
        told = await lines(at, "one.example.test/x")
        assert "variant   dependencies: their URLs are rewritten to lead to charts.corp.test:8443" in told
        assert "             it keeps the name" in told


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("later_seconds", "state"),
    [
        (60.0, "confirmed 1 min ago; fresh: served at once, nobody is asked"),
        (86_500.0, "confirmed 1 d ago; just stale: served at once, upstream is asked behind"),
        (1e6, "confirmed 11 d ago; stale: upstream is asked first, else this is served"),
    ],
)
async def test_what_is_cached_says_what_a_pull_does_with_it(later_seconds: float, state: str) -> None:
    async with telling(RULES) as at:
        made = sample("1.2.3", target=Target.parse("one.example.test/x"), kept_at=at.clock())
        await at.catalog.keep("three/x", replace(made.row, variant="provenance"), made.kept)
        at.clock.advance(later_seconds)
        assert f"                 by helm, {state}" in await lines(at, "three/x:1.2.3")


@pytest.mark.anyio
async def test_what_came_from_a_source_that_is_not_asked_any_more_is_not_served_but_by_its_digest() -> None:
    async with telling(RULES) as at:
        made = sample("1.2.3", target=Target.parse("corp.example.test/x"))
        await at.catalog.keep("corp.example.test/x", replace(made.row, source="registry"), made.kept)
        told = await lines(at, "corp.example.test/x:1.2.3")
        assert told[-1].endswith("; not served, for that source is not asked here")
        told = await lines(at, f"corp.example.test/x@{made.digest}")
        assert told[-1].endswith("; served for good")


@pytest.mark.anyio
async def test_a_private_upstream_says_what_it_is_and_whom_it_answers() -> None:
    rules = load_rules("""version: 1
upstreams:
  a.example.test: {kind: registry, username_env: GATEWAY_SECRET_A, password_env: GATEWAY_SECRET_B}
  b.example.test: {kind: helm, cert_file: c, key_file: k}
""")
    async with telling(rules, admit=admit_operator) as at:
        for host, traits in (
            ("a", "kind registry, signs in, private"),
            ("b", "kind helm, shows a certificate, private"),
        ):
            told = await lines(at, f"{host}.example.test/x")
            assert f"upstream  {host}.example.test (line {3 if host == 'a' else 4}): {traits}" in told
            assert "access    private: a client that has not signed in is answered 401" in told


@pytest.mark.anyio
async def test_a_source_that_may_not_be_dialled_is_left_out_with_the_reason() -> None:
    async with telling(RULES) as at:
        told = await at.explain(Wanted(Repository.parse("one.example.test/x")))
        (target,) = told.targets
        chain = (
            SourceTold(SourceName.HELM, ("https://one.example.test/a", "https://two.example.test/a")),
            SourceTold(
                SourceName.CHARTPROXY, ("https://p.example.test/v2/x",), "p.example.test is not listed"
            ),
            SourceTold(SourceName.REGISTRY, (), "it is this gateway itself"),
        )
        text = text_of(replace(told, targets=(replace(target, chain=chain),)), is_all=False)
        assert text.splitlines()[-6:] == [
            "asks      1. helm        https://one.example.test/a",
            "                         https://two.example.test/a, where that is down",
            "          2. chartproxy  https://p.example.test/v2/x",
            "                         left out: p.example.test is not listed",
            "          3. registry    left out: it is this gateway itself",
            "cached    nothing of it",
        ]


@pytest.mark.anyio
async def test_of_many_tags_five_are_told_unless_all_are_wanted() -> None:
    async with telling(RULES) as at:
        for number in range(7):
            made = sample(f"1.{number}.0", target=Target.parse("one.example.test/x"))
            await at.catalog.keep("one.example.test/x", made.row, made.kept)
        told = await lines(at, "one.example.test/x")
        assert told[-1] == "          and 2 tags more (--all shows them)"
        assert len(await lines(at, "one.example.test/x", is_all=True)) > len(told)


@pytest.mark.anyio
async def test_a_digest_that_is_held_under_no_tag_is_served_for_good() -> None:
    async with telling(RULES) as at:
        made = sample("1.2.3", target=Target.parse("one.example.test/x"))
        await at.catalog.keep_untagged(made.row, made.kept)
        assert (await lines(at, f"one.example.test/x@{made.digest}"))[-2:] == [
            f"cached    {made.digest}",
            "          held under no tag; served for good",
        ]
        absent = Digest.of(b"nobody's")
        assert (await lines(at, f"one.example.test/x@{absent}"))[-1] == "cached    nothing of it"


@pytest.mark.anyio
async def test_offline_nobody_is_asked_and_what_is_held_is_served() -> None:
    rules = load_rules("version: 1\negress: {mode: offline}")
    async with telling(rules) as at:
        made = sample("1.2.3", target=Target.parse("one.example.test/x"))
        await at.catalog.keep("one.example.test/x", made.row, made.kept)
        told = await lines(at, "one.example.test/x:1.2.3")
        assert told[1] == "rules     there are none: the name is its own target"
        assert "asks      nobody: offline" in told
        assert told[-1].endswith("; served at once: offline")


@pytest.mark.anyio
async def test_no_line_is_longer_than_100_columns_but_for_what_cannot_be_parted() -> None:
    async with telling(RULES) as at:
        for reference in ("two/x:5", "plain/x", "closed.example.test/a", "docker.io/nginx"):
            for line in await lines(at, reference, "a.example.test", is_all=True):
                assert len(line) <= 100, line


@pytest.mark.parametrize(
    ("reference", "given", "host"),
    [
        ("x/cert", None, ""),
        ("cert/cert", None, ""),
        ("oci://Gateway.Test:9000/x/cert:1", None, "gateway.test"),
        ("localhost:9000/x/cert", None, "localhost"),
        ("localhost:9000/x/cert", "Other.Test:443", "other.test"),
        ("localhost:9000/x/cert", "", ""),
        ("own.example.test/x/cert@sha256:" + "0" * 64, None, "own.example.test"),
        ("x/cert", "charts.example.test.", "charts.example.test"),
        ("x/cert", "[::1]:9000", "::1"),
    ],
)
def test_a_host_is_what_rules_would_see_of_such_a_reference(
    reference: str, given: str | None, host: str
) -> None:
    assert host_asked(reference, parse_location(reference, {"own.example.test"}), given) == host


@pytest.mark.parametrize(
    ("reference", "namespace", "name"),
    [
        ("library/nginx:1", "docker.io", "docker.io/library/nginx:1"),
        ("docker.io/library/nginx:1", "docker.io", "docker.io/library/nginx:1"),
        ("gateway.test:9000/team/app:1", "images.example.test:5443", "images.example.test:5443/team/app:1"),
        ("team/app:1", "own.example.test", "team/app:1"),
        ("team/app:1", None, "team/app:1"),
    ],
)
def test_a_namespace_stands_in_front_as_for_a_client_that_sends_it(
    reference: str, namespace: str | None, name: str
) -> None:
    location = parse_location(reference, ())
    assert str(in_namespace(location, namespace, {"own.example.test"})) == name
