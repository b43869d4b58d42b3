"""A rule goes into its form and back: nothing is lost, and what nobody changed stays as it was written."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.load import load_rules
from gateway.rules.tree import MappingNode, Node, ScalarNode, SequenceNode, parse_tree
from gateway.web.admin.rule_forms import KEYS, LISTS, RuleForm, quoted, read_fields, read_rule, write_rule

WRITTEN = """\
# for the platform team
name: short refs   # they asked for it
repository: "argo/*"
# two places
rewrite:
  - argoproj.github.io/argo-helm/$1   # first
  - "ghcr.io/argoproj/$1"
channels: {"5": ">=5 <6"}  # the old ones
fresh_for: 10m
# the end
"""


def meaning(yaml: str) -> object:
    return _meant(parse_tree(yaml))


def _meant(node: Node) -> object:
    match node:
        case ScalarNode(text=text, is_plain=is_plain):
            return text, is_plain and text in ("true", "false", "", "~", "null")
        case SequenceNode(items=items):
            return [_meant(item) for item in items]
        case MappingNode(entries=entries):
            return {key.text: _meant(value) for key, value in entries}


def test_a_form_shows_what_the_rule_says_and_the_rest_as_yaml() -> None:
    form = read_rule(WRITTEN)
    assert form.values == {
        "name": "short refs",
        "repository": "argo/*",
        "rewrite": "argoproj.github.io/argo-helm/$1\nghcr.io/argoproj/$1",
        "fresh_for": "10m",
    }
    assert form.more == 'channels: {"5": ">=5 <6"}  # the old ones\n'


def test_a_form_that_nobody_changed_gives_the_rule_as_it_was_written() -> None:
    assert write_rule(read_rule(WRITTEN), WRITTEN) == WRITTEN


def test_only_the_key_that_was_changed_is_written_anew() -> None:
    form = read_rule(WRITTEN)
    changed = replace(form, values={**form.values, "fresh_for": "1h", "deny": ""})
    assert write_rule(changed, WRITTEN) == WRITTEN.replace("10m", "1h")


def test_a_field_that_was_emptied_takes_its_key_away_and_leaves_the_comments() -> None:
    form = read_rule(WRITTEN)
    left = {key: text for key, text in form.values.items() if key != "rewrite"}
    assert write_rule(RuleForm(left, form.more), WRITTEN) == (
        '# for the platform team\nname: short refs   # they asked for it\nrepository: "argo/*"\n'
        '# two places\nchannels: {"5": ">=5 <6"}  # the old ones\nfresh_for: 10m\n# the end\n'
    )


def test_a_list_of_one_target_is_written_without_a_list() -> None:
    assert write_rule(RuleForm({"repository": "a/*", "rewrite": "b.example/$1\n"})) == (
        'repository: "a/*"\nrewrite: b.example/$1\n'
    )
    assert write_rule(RuleForm({"chain": "helm"})) == "chain:\n  - helm\n"


def test_other_keys_that_were_changed_stand_behind_the_fields() -> None:
    form = read_rule(WRITTEN)
    changed = write_rule(replace(form, more="channels: {'6': '6.x'}"), WRITTEN)
    assert changed.endswith("fresh_for: 10m\n# the end\nchannels: {'6': '6.x'}\n")
    assert changed.count("channels") == 1


@pytest.mark.parametrize(
    "yaml",
    [
        '{repository: "argo/*", rewrite: a.example/$1, channels: {"5": ">=5"}}',
        '"name": "a"\nrepository  : argo/x',
        'repository: "open\n',
        "repository: &it argo/x\nhost: *it\n",
        "repository: *elsewhere\n",
        "- no\n- rule\n",
        "rewrite: [a.example, [b.example]]\nrepository: a\n",
        'name: "two\n\n# lines"\nrepository: a\n',
        "repository: a\nrepository: b\n",
    ],
)
def test_a_rule_written_in_an_unusual_way_is_not_lost(yaml: str) -> None:
    form = read_rule(yaml)
    again = write_rule(form, yaml)
    assert again.rstrip("\n") == yaml.rstrip("\n") or meaning(again) == meaning(yaml)


_AWKWARD = (
    *(
        "**",
        "yes",
        "No",
        "#",
        "a: b",
        "1.10",
        "~team-(.+)",
        '~ghcr\\.io/"(.+)',
        "it's \\d",
        "null",
        "- x",
        "$0",
    ),
    *("${chart}/x", "🚢 ship", "é\x85\u2028", "\ufeff", "a #b", ">=1 <2", "{a}", "&a", "!x", "%d", "0x1f"),
)


@pytest.mark.parametrize("text", _AWKWARD)
def test_any_text_is_read_back_as_itself(text: str) -> None:
    node = parse_tree(f"name: {quoted(text)}\n")
    assert isinstance(node, MappingNode)
    value = node.entries[0][1]
    assert isinstance(value, ScalarNode)
    assert value.text == text
    assert not value.is_null


def test_text_without_a_meaning_of_its_own_is_written_without_quotes() -> None:
    assert quoted("argoproj.github.io/argo-helm/$1") == "argoproj.github.io/argo-helm/$1"
    assert quoted("short refs for Argo") == "short refs for Argo"
    assert quoted("~ghcr\\.io/(.+)") == "'~ghcr\\.io/(.+)'"
    assert quoted("argo/*") == '"argo/*"'


_SEEN = st.characters(codec="utf-8", categories=["L", "M", "N", "P", "S"])
_TEXTS = st.lists(st.text(_SEEN, min_size=1, max_size=10), min_size=1, max_size=3).map(" ".join)
_FORMS = st.dictionaries(
    st.sampled_from([key for key in KEYS if key not in ("enabled", "provenance")]), _TEXTS
)


@pytest.mark.slow
@given(_FORMS, _FORMS)
def test_whatever_is_written_into_a_form_is_read_back(values: dict[str, str], others: dict[str, str]) -> None:
    yaml = write_rule(RuleForm(values))
    assert read_rule(yaml).values == values
    assert read_rule(write_rule(RuleForm(others), yaml)).values == others


def test_fields_that_are_empty_say_nothing() -> None:
    form = read_fields({"name": " ", "repository": "a", "more": "x: 1", "kind": "rule"})
    assert form == RuleForm({"repository": "a"}, "x: 1")


def test_what_a_form_makes_is_a_rule() -> None:
    values = {"name": "yes", "repository": "argo/**", "rewrite": "a.example.com/$1\nb.example.com/$1"}
    values |= {"versions": ">=1 <2", "chain": "registry\nhelm", "enabled": "false", "drift": "follow"}
    yaml = write_rule(RuleForm(values, 'channels: {"1": "1.x"}'))
    indented = "".join(f"    {line}\n" for line in yaml.splitlines())
    (rule,) = load_rules(f"version: 1\nrules:\n  -\n{indented}").rules
    assert (rule.name, len(rule.rewrites), rule.is_enabled) == ("yes", 2, False)
    assert rule.stated >= {"versions", "chain", "drift", "channels"}
    assert set(LISTS) < set(KEYS)
