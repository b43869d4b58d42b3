"""The JSON Schema of rules.yaml and the loader agree on what a rules file is."""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.rules import keys, model
from gateway.rules.load import load_rules
from gateway.rules.problems import RulesError
from gateway.rules.rule_section import MAX_RULES
from gateway.rules.rule_values import REFUSALS
from gateway.rules.section import Subject, Table
from gateway.rules.sync_lists import Older
from gateway.rules.sync_section import MAX_ENTRIES, MAX_LISTS
from gateway.rules.sync_values import MAX_NEWEST
from tests.rules import schema_words as words
from tests.rules.schema_words import Words
from tests.rules.yaml_values import Json, json_of

pytestmark = pytest.mark.slow  # many documents, seconds together

PROJECT = Path(__file__).resolve().parents[2]
SCHEMA: Json = json.loads((PROJECT / "docs/rules.schema.json").read_text("utf-8"))
assert isinstance(SCHEMA, dict)
VALIDATOR = Draft202012Validator(SCHEMA)

# What only shows where keys are seen together: by what the loader says of it.
BEYOND_THE_SCHEMA = {
    "a capture that no pattern has": "there is no capture",
    "a chain that has nobody left": "no source is left to ask",
    "a chart proxy asked for provenance": "`provenance: true` and a chart proxy in `chain`",
    "a place that is no host": "no public host, and no key of upstreams",
    "a test that comes out otherwise": "expected was",
}
# What has a grammar of its own, of which the schema knows no more than the letters.
ROUGHLY_KNOWN = {
    "expressions of RE2": "no regular expression of RE2",
    "ranges of versions": "no range of versions",
    "addresses and networks": "no address or network in its usual spelling",
    "times between": "once a minute at the most",
}

ENUMS: Mapping[str, type[StrEnum]] = {
    "/$defs/policy/properties/chain/items": model.SourceName,
    "/$defs/policy/properties/deleted": model.Deleted,
    "/$defs/policy/properties/drift": model.Drift,
    "/$defs/policy/properties/digest_mismatch": model.DigestMismatch,
    "/$defs/upstream/properties/kind": model.UpstreamKind,
    "/$defs/upstream/properties/access": model.Access,
    "/properties/egress/properties/mode": model.EgressMode,
    "/$defs/sync_image/properties/older": Older,
}

NEEDED = {
    "username_env": "password_file: p",
    "username_file": "password_env: GATEWAY_SECRET_P",
    "password_env": "username_file: u",
    "password_file": "username_env: GATEWAY_SECRET_U",
    "cert_file": "key_file: k",
    "key_file": "cert_file: c",
    "classic": "host: h.example",
}

WRONG = [
    "",
    "[]",
    "version: 2",
    "version:",
    "defaults: {}",
    "version: 1\nrule: []",
    "version: 1\nfresh_for: 5m",
    "version: 1\ndefaults: []",
    "version: 1\ndefaults: {kind: helm}",
    "version: 1\ndefaults: {url: https://a.example}",
    "version: 1\ndefaults: {classic: true}",
    "version: 1\ndefaults: {provenance: true, rewrite_dependencies: true}",
    "version: 1\negress: public",
    "version: 1\negress: {hosts: [a.example], deny: x}",
    "version: 1\nupstreams: [a.example]",
    "version: 1\nupstreams: {a.example: helm}",
    "version: 1\nupstreams: {a.example: {rewrite: x}}",
    "version: 1\nupstreams: {a.example: {knd: helm}}",
    "version: 1\nupstreams: {a.example: {url: https://a.example, urls: [https://a.example]}}",
    "version: 1\nupstreams: {a.example: {username_env: GATEWAY_SECRET_U}}",
    "version: 1\nupstreams: {a.example: {password_file: p}}",
    "version: 1\nupstreams: {a: {username_env: GATEWAY_SECRET_U, username_file: u, password_file: p}}",
    "version: 1\nupstreams: {a: {username_file: u, password_env: GATEWAY_SECRET_P, password_file: p}}",
    "version: 1\nupstreams: {a.example: {token_env: GATEWAY_SECRET_T, token_file: t}}",
    "version: 1\nupstreams: {a.example: {token_file: t, username_file: u, password_file: p}}",
    "version: 1\nupstreams: {a.example: {token_file: t, password_file: p}}",
    "version: 1\nupstreams: {a.example: {cert_file: c}}",
    "version: 1\nupstreams: {a.example: {key_file: k}}",
    "version: 1\nupstreams: {a.example: {provenance: true, rewrite_dependencies: true}}",
    "version: 1\nrules: {repository: x}",
    "version: 1\nrules: [x]",
    "version: 1\nrules: [[]]",
    "version: 1\nrules: [{}]",
    "version: 1\nrules:\n- ",
    "version: 1\nrules: [{name: x, fresh_for: 5m}]",
    "version: 1\nrules: [{repositry: x}]",
    "version: 1\nrules: [{repository: x, kind: helm}]",
    "version: 1\nrules: [{repository: x, deny: no, rewrite: a.example/x}]",
    "version: 1\nrules: [{repository: x, provenance: true, rewrite_dependencies: true}]",
    "version: 1\nupstreams: {a.example: {classic: true}}",
    "version: 1\nrules: [{repository: x, classic: true}]",
    "version: 1\nsync: {name: a}",
    "version: 1\nsync: [{name: a}]",
    "version: 1\nsync: [{name: a, charts: []}]",
    "version: 1\nsync: [{charts: [{repository: a.example/x}]}]",
    "version: 1\nsync: [{name: a, images: [{repository: a.example/x}]}]",
    "version: 1\nsync: [{name: a, images: [{repository: a.example/x, newest: 1, dependencies: true}]}]",
    "version: 1\ntests: {ask: x/y, target: DENIED}",
    "version: 1\ntests: [x/y]",
    "version: 1\ntests: [{ask: x/y}]",
    "version: 1\ntests: [{target: DENIED}]",
    "version: 1\ntests: [{ask: x/y, target: DENIED, expect: DENIED}]",
]


def is_valid(text: str) -> bool:
    return VALIDATOR.is_valid(json_of(text))


def agree(text: str) -> bool:
    """Whether schema and loader think the same of a file, as far as the schema can know."""
    told = messages(text)
    if all(_is_one_of(BEYOND_THE_SCHEMA, message) for message in told):
        return is_valid(text)
    known = BEYOND_THE_SCHEMA | ROUGHLY_KNOWN
    return not is_valid(text) or all(_is_one_of(known, message) for message in told)


def messages(text: str) -> list[str]:
    """What the loader has against a file."""
    try:
        load_rules(text)
    except RulesError as error:
        return [problem.message for problem in error.problems]
    return []


def _is_one_of(signs: Mapping[str, str], message: str) -> bool:
    return any(sign in message for sign in signs.values())


def part(pointer: str) -> dict[str, Json]:
    found = SCHEMA
    for step in pointer.split("/")[1:]:
        assert isinstance(found, dict)
        found = found[step]
    assert isinstance(found, dict)
    return found


def names(pointer: str) -> set[str]:
    return set(part(f"{pointer}/properties"))


def obeyed(rows: Table[Subject]) -> set[str]:
    return {name for name, row in rows.items() if row.is_obeyed}


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(part(""))


def test_the_schema_has_every_key_that_is_obeyed_and_no_other() -> None:
    assert names("") == obeyed(keys.SECTIONS)
    assert names("/properties/defaults") == obeyed(keys.POLICY) == names("/$defs/policy")
    assert names("/properties/egress") == obeyed(keys.EGRESS)
    assert names("/$defs/upstream") == obeyed(keys.UPSTREAM)
    assert names("/$defs/rule") == obeyed(keys.RULE)
    assert names("/$defs/test") == obeyed(keys.TEST)
    assert names("/$defs/sync_list") == obeyed(keys.SYNC_LIST)
    assert names("/$defs/sync_chart") == obeyed(keys.SYNC_CHART)
    assert names("/$defs/sync_image") == obeyed(keys.SYNC_IMAGE)


@pytest.mark.parametrize(("pointer", "expected"), ENUMS.items())
def test_the_schema_has_the_words_of_every_choice(pointer: str, expected: type[StrEnum]) -> None:
    assert part(pointer)["enum"] == [word.value for word in expected]


def test_the_schema_has_the_limits_and_the_refusals_of_the_loader() -> None:
    assert {part(f"/properties/{name}")["maxItems"] for name in ("rules", "tests")} == {MAX_RULES}
    assert part("/properties/sync")["maxItems"] == MAX_LISTS
    sections = {part(f"/$defs/sync_list/properties/{name}")["maxItems"] for name in ("charts", "images")}
    assert sections == {MAX_ENTRIES}
    assert part("/$defs/sync_image/properties/newest")["maximum"] == MAX_NEWEST
    targets = part("/$defs/test/properties/target")["anyOf"]
    assert isinstance(targets, list)
    assert targets[0] == {"enum": list(REFUSALS)}


def test_every_key_says_what_it_is_for() -> None:
    defined = ("policy", "upstream", "rule", "test", "sync_list", "sync_chart", "sync_image")
    described = ("", "/properties/egress", *(f"/$defs/{name}" for name in defined))
    for pointer in described:
        for name in names(pointer):
            assert part(f"{pointer}/properties/{name}").keys() & {"description", "$ref"}, name
    for name in names("/$defs/policy"):
        assert "description" in part(f"/$defs/policy/properties/{name}"), name


def test_there_are_words_for_every_key() -> None:
    assert words.POLICY.keys() == obeyed(keys.POLICY)
    assert words.EGRESS.keys() == obeyed(keys.EGRESS)
    assert words.UPSTREAM.keys() | words.POLICY.keys() == obeyed(keys.UPSTREAM)
    assert words.RULE.keys() | words.POLICY.keys() == obeyed(keys.RULE)
    assert words.TEST.keys() == obeyed(keys.TEST)
    assert words.SYNC_LIST.keys() == obeyed(keys.SYNC_LIST)
    assert words.SYNC_CHART.keys() == obeyed(keys.SYNC_CHART)
    assert words.SYNC_IMAGE.keys() == obeyed(keys.SYNC_IMAGE)


def documents(section: str, key: str, value: str) -> str:
    """The smallest file in which a value stands at its key."""
    needed = NEEDED.get(key)
    match section:
        case "defaults" | "egress":
            return f"version: 1\n{section}:\n  {key}: {value}\n"
        case "upstreams":
            beside = f"    {needed}\n" if needed else ""
            return f"version: 1\nupstreams:\n  u.example:\n    {key}: {value}\n{beside}"
        case "rules":
            beside = "" if key == "repository" else '    repository: "x/*"\n'
            beside += f"    {needed}\n" if needed else ""
            return f"version: 1\nrules:\n  - {key}: {value}\n{beside}"
        case "sync":
            others = "".join(f"    {name}: {text}\n" for name, text in _SYNC.items() if name != key)
            return f"version: 1\nsync:\n  - {key}: {value}\n{others}"
        case "charts" | "images":
            others = "".join(f"        {name}: {text}\n" for name, text in _ENTRY.items() if name != key)
            return f"version: 1\nsync:\n  - name: a\n    {section}:\n      - {key}: {value}\n{others}"
        case _:
            others = "".join(f"    {name}: {text}\n" for name, text in _TEST.items() if name != key)
            return f"version: 1\ntests:\n  - {key}: {value}\n{others}"


_SYNC = {
    "name": "a",
    "charts": "[{repository: b.example/x}]",
    "images": "[{repository: c.example/x, tags: [x]}]",
}
_ENTRY = {"repository": "a.example/x", "newest": "1"}
_TEST = {"ask": "x/y", "target": "NAME_UNKNOWN"}
_SECTIONS: Mapping[str, Mapping[str, Words]] = {
    "defaults": words.POLICY,
    "egress": words.EGRESS,
    "upstreams": {**words.UPSTREAM, **words.POLICY},
    "rules": {**words.RULE, **words.POLICY},
    "tests": words.TEST,
    "sync": words.SYNC_LIST,
    "charts": words.SYNC_CHART,
    "images": words.SYNC_IMAGE,
}
_PLACES = [(section, key, both) for section, table in _SECTIONS.items() for key, both in table.items()]


@pytest.mark.parametrize(("section", "key", "both"), _PLACES, ids=[f"{one}.{two}" for one, two, _ in _PLACES])
def test_right_values_are_right_for_both_and_wrong_ones_wrong(section: str, key: str, both: Words) -> None:
    right, wrong = both
    texts = {value: documents(section, key, value) for value in right + wrong}
    assert {value for value, text in texts.items() if is_valid(text)} == set(right)
    assert {value for value, text in texts.items() if not agree(text)} == set()
    assert {value for value in wrong if not messages(texts[value])} == set()


@pytest.mark.parametrize("key", words.UPSTREAM_KEYS[0])
def test_right_keys_of_upstreams_are_right_for_both(key: str) -> None:
    text = f'version: 1\nupstreams: {{"{key}": {{}}}}'
    assert is_valid(text)
    assert messages(text) == []


@pytest.mark.parametrize("key", words.UPSTREAM_KEYS[1])
def test_wrong_keys_of_upstreams_are_wrong_for_both(key: str) -> None:
    text = f'version: 1\nupstreams: {{"{key}": {{}}}}'
    assert not is_valid(text)
    assert messages(text) != []


@pytest.mark.parametrize("text", WRONG)
def test_wrong_files_are_refused_by_both(text: str) -> None:
    assert not is_valid(text)
    assert messages(text) != []


@pytest.mark.parametrize(
    "text", ["version: 1", 'version: "1"', "version: 1\nrules:\ntests:\negress:\ndefaults:\nsync:"]
)
def test_empty_sections_are_taken_by_both(text: str) -> None:
    assert is_valid(text)
    assert messages(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nrules: [{repository: x, name: 5}]",
        "version: 1\ndefaults: {deny: 12}",
        "version: 1\ndefaults: {tags: {allow: [true]}}",
        "version: 1\nupstreams: {a.example: {ca_file: 1}}",
    ],
)
def test_text_that_looks_like_a_number_is_complained_of_by_the_schema_alone(
    text: str,
) -> None:
    assert not is_valid(text)
    assert messages(text) == []


@st.composite
def _value(draw: st.DrawFn, both: Words) -> str:
    right, wrong = both
    return draw(st.sampled_from(wrong if draw(st.integers(0, 39)) == 0 else right))


@st.composite
def _mapping(draw: st.DrawFn, table: Mapping[str, Words]) -> Mapping[str, str]:
    chosen = draw(st.lists(st.sampled_from(sorted(table)), unique=True, max_size=5))
    return {key: draw(_value(table[key])) for key in chosen}


def _block(mapping: Mapping[str, str], indent: str, first: str | None = None) -> str:
    """Lines of YAML; the first behind a dash where ``first`` is one."""
    if not mapping:
        return f"{first or indent}{{}}\n"
    lines = [f"{indent}{key}: {value}\n" for key, value in mapping.items()]
    return "".join(lines) if first is None else first + "".join(lines).removeprefix(indent)


@st.composite
def files(draw: st.DrawFn) -> str:
    """Mostly right, with a few of all mistakes."""
    text = "version: 1\n"
    for section in ("defaults", "egress"):
        text += f"{section}:\n" + _block(draw(_mapping(_SECTIONS[section])), "  ")
    upstreams = {draw(_value(words.UPSTREAM_KEYS)) for _ in range(draw(st.integers(0, 2)))}
    text += "upstreams:\n" + ("" if upstreams else "  {}\n")
    for key in sorted(upstreams):
        text += f'  "{key}":\n' + _block(draw(_mapping(_SECTIONS["upstreams"])), "    ")
    for section in ("rules", "tests"):
        entries = draw(st.lists(_mapping(_SECTIONS[section]), max_size=2))
        text += f"{section}:\n" + "".join(_block(entry, "    ", "  - ") for entry in entries)
    lists = draw(st.lists(_mapping(words.SYNC_LIST), max_size=2))
    return text + "sync:\n" + "".join(_block(entry, "    ", "  - ") for entry in lists)


@given(files())
def test_what_one_takes_the_other_takes(text: str) -> None:
    assert agree(text)
