"""``sync:`` lists → values, or every mistake in them at its line."""

import pickle

import pytest

from gateway.rules.edits import SwitchRule, edited
from gateway.rules.guarding import changed_guards
from gateway.rules.layout import read_layout
from gateway.rules.load import load_rules
from gateway.rules.masking import masked, unmasked
from gateway.rules.model import RuleSet
from gateway.rules.problems import Problem, RulesError
from gateway.rules.sync_lists import Older, SyncEntry
from gateway.rules.sync_section import MAX_ENTRIES, MAX_LISTS
from gateway.rules.warnings import warn

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

SYNC = """\
sync:
  - name: platform   # what the cluster needs
    every: 6h
    charts:
      - {repository: argo/argo-cd, versions: ">=5 <6", newest: 3, older: remove, dependencies: true}
      - repository: "argo/*"
        images: true
        platforms: [linux/arm64]
    images:
      - {repository: docker.io/library/nginx, tags: ["1.*"], signatures: true}
  - {name: by hand, images: [{repository: "ghcr.io/x/**", tags: {allow: [a], deny: [b]}, newest: 1}]}
"""
RULES = """\
version: 1
upstreams: {corp.example: {token_file: token}}
rules:
  - repository: "argo/*"
    rewrite: argoproj.github.io/argo-helm/$1
"""


def problems(text: str) -> list[Problem]:
    with pytest.raises(RulesError) as raised:
        load_rules(f"version: 1\n{text}")
    return list(raised.value.problems)


def on_entry(entry: str, section: str = "charts") -> tuple[str, str]:
    """Where the one mistake of an entry is, and what."""
    (problem,) = problems(f"sync: [{{name: a, {section}: [{entry}]}}]")
    return problem.key_path.removeprefix(f"sync[1].{section}[1]"), problem.message


def warnings(rules: str, *repositories: str) -> list[tuple[str, str]]:
    entries = "".join(f'      - {{repository: "{name}"}}\n' for name in repositories)
    text = f"version: 1\n{rules}\nsync:\n  - name: a\n    charts:\n{entries}"
    told = warn(load_rules(text), "rules.yaml")
    return [(one.key_path, one.message) for one in told if one.key_path.startswith("sync")]


def test_every_key_goes_where_it_belongs() -> None:
    platform, by_hand = load_rules(RULES + SYNC).sync
    chart, glob = platform.charts
    (image,) = platform.images
    assert (platform.name, platform.every_seconds, by_hand.name, by_hand.every_seconds) == (
        *("platform", 21_600, "by hand"),
        None,
    )
    assert (chart.repository.text, str(chart.visibility.versions), chart.newest) == (
        *("argo/argo-cd", ">=5 <6"),
        3,
    )
    assert (chart.older, chart.dependencies, chart.images) == (Older.REMOVE, True, False)
    assert (glob.repository.captures, glob.images, glob.platforms) == (1, True, frozenset({"linux/arm64"}))
    assert (image.visibility.allow, image.signatures, image.older) == (("1.*",), True, Older.KEEP)
    (both,) = by_hand.images
    assert (both.visibility.allow, both.visibility.deny, both.newest) == (("a",), ("b",), 1)


def test_what_is_not_said_of_an_entry_is_everything_and_kept() -> None:
    (entry,) = load_rules("version: 1\nsync: [{name: a, charts: [{repository: x.example/y}]}]").sync[0].charts
    assert entry == SyncEntry(entry.repository)
    assert entry.visibility.is_open


def test_places_are_those_of_the_entries() -> None:
    platform, _ = load_rules(f"version: 1\n{SYNC}").sync
    assert (platform.place.line, platform.charts[0].place.line, platform.images[0].place.line) == (3, 6, 11)


def test_lists_can_be_handed_to_another_process() -> None:
    rule_set = load_rules(f"version: 1\n{SYNC}")
    assert pickle.loads(pickle.dumps(rule_set)) == rule_set  # noqa: S301 (our own bytes)


def test_a_mistake_in_line_40_names_line_40() -> None:
    lines = ["version: 1", "sync:", "  - name: long", "    charts:"]
    lines += ["      - {repository: argo/argo-cd}"] * 35 + [
        "      - {repository: argo/argo-cd, newest: none}"
    ]
    (problem,) = problems("\n".join(lines[1:]))
    assert (problem.line, problem.key_path) == (40, "sync[1].charts[36].newest")


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(
        "sync:\n- name: a\n  every: 1s\n  charts: [{repositry: x}]\n- images: [{repository: '*'}]\n- []\n"
    )
    assert [(one.line, one.key_path) for one in found] == [
        (4, "sync[1].every"),
        (5, "sync[1].charts[1]"),
        (5, "sync[1].charts[1].repositry"),
        (6, "sync[2]"),
        (6, "sync[2].images[1]"),
        (6, "sync[2].images[1].repository"),
        (7, "sync[3]"),
    ]


@pytest.mark.parametrize(
    ("entry", "key", "message"),
    [
        ("{newest: 1}", "", "names no repository"),
        ("{repository: '~argo/.*'}", ".repository", "by a regular expression"),
        ("{repository: 'argo*/x'}", ".repository", "one whole segment at least"),
        ("{repository: 'argo/-*'}", ".repository", "no repository has a name like this"),
        ("{repository: docker.io/library/nginx:1.27}", ".repository", "no repository has a name like this"),
        ("{repository: oci://argo/argo-cd}", ".repository", "an empty part"),
        ("{repository: a/b, tags: {allow: x}}", ".tags", "expected a list"),
        ("{repository: a/b, platforms: [amd64]}", ".platforms", "expected a platform"),
    ],
)
def test_a_value_that_is_not_what_its_key_needs_is_told(entry: str, key: str, message: str) -> None:
    where, told = on_entry(entry)
    assert where == key
    assert message in told


def test_an_image_says_which_of_its_tags_are_meant() -> None:
    assert on_entry("{repository: docker.io/library/nginx}", "images") == (
        "",
        "it would be every tag of the image",
    )


def test_only_charts_have_dependencies_and_images() -> None:
    where, told = on_entry("{repository: a.example/x, newest: 1, images: true}", "images")
    assert (where, told) == (".images", "unknown key")


def test_no_two_lists_have_one_name() -> None:
    (problem,) = problems(
        "sync:\n- {name: a, charts: [{repository: x/y}]}\n- {name: a, charts: [{repository: x/z}]}"
    )
    assert (problem.line, problem.message) == (4, "the list in line 3 has the same name")


def test_there_are_so_many_lists_and_entries_and_no_more() -> None:
    one = "{name: %d, charts: [{repository: a.example/x}]}"
    (problem,) = problems(f"sync: [{', '.join(one % number for number in range(MAX_LISTS + 1))}]")
    assert problem.message == f"more than {MAX_LISTS} entries"
    half = ", ".join(["{repository: a.example/x}"] * (MAX_ENTRIES // 2))
    lists = f"sync: [{{name: a, charts: [{half}]}}, {{name: b, charts: [{half}]}}"
    assert len(load_rules(f"version: 1\n{lists}]").sync) == 2
    (problem,) = problems(f"{lists}, {{name: c, charts: [{{repository: a.example/x}}]}}]")
    assert problem.message == f"more than {MAX_ENTRIES} entries, in all lists together"


def test_a_change_of_a_rule_leaves_lists_as_they_are_to_the_byte() -> None:
    changed = edited(read_layout(RULES + SYNC), SwitchRule(1, is_enabled=False)).whole
    assert changed.endswith(SYNC)
    assert load_rules(changed).sync == load_rules(RULES + SYNC).sync


def test_masks_leave_lists_as_they_are() -> None:
    hidden = masked(RULES + SYNC)
    assert hidden.text.endswith(SYNC)
    assert unmasked(hidden.text, hidden.behind)[0] == RULES + SYNC


def test_lists_may_be_changed_where_credentials_may_not() -> None:
    before, after = load_rules(RULES + SYNC), load_rules(RULES)
    assert list(changed_guards(before, after, ["registry.corp.example"], lambda *_: True)) == []


def test_names_that_the_rules_refuse_are_warned_of() -> None:
    rules = (
        "upstreams: {gone.example: {deny: moved}}\n"
        'rules: [{repository: "old/**", deny: no}, {repository: "argo/*", rewrite: a.example/$1}]'
    )
    told = warnings(rules, "old/a", "old/*", "gone.example/x", "gone.example/**", "nowhere/x", "nowhere/*")
    assert [path for path, _ in told] == [f"sync[1].charts[{number}].repository" for number in range(1, 7)]
    assert [message.rpartition(": ")[2] for _, message in told][:4] == ["no", "no", "moved", "moved"]
    assert warnings(rules, "argo/x", "argo/*", "b.example/x", "b.example/**") == []


def test_nobody_is_warned_where_a_rule_may_take_some_names() -> None:
    rules = 'rules: [{repository: "~team-.+/.+", rewrite: a.example/$0}, {repository: "team-a/b", deny: no}]'
    assert warnings(rules, "team-a/*") == []
    assert warnings("upstreams: {a.example: {deny: no}, a.example/ok: {}}", "a.example/**") == []
    assert warnings('rules: [{repository: "x/*", rewrite: a.example/$1}]', "x/*") == []


def test_rules_about_hosts_are_no_way_for_lists() -> None:
    rules = 'rules: [{host: "*.example", repository: "**", rewrite: $1}, {repository: "old/*", deny: no}]'
    assert [message for _, message in warnings(rules, "old/*")] == ["nothing comes of it: old/x: no"]


def test_a_host_outside_the_allowlist_is_warned_of() -> None:
    (told,) = warnings("egress: {mode: allowlist, hosts: [a.example]}", "a.example/x", "b.example/x")
    assert told[0] == "sync[1].charts[2].repository"
    assert "not on this gateway's list of hosts" in told[1]


def test_no_lists_are_no_lists() -> None:
    assert load_rules("version: 1\nsync:").sync == RuleSet().sync == ()
