"""Chart.yaml as Helm's typed decoding reads it; the expected values were checked against Helm 3.22 itself."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.helm.archive import ChartFiles
from gateway.helm.metadata import ChartMetadata, MetadataError, parse_metadata

BASE = "name: demo\nversion: 1.2.3\napiVersion: v2\n"


def parse(yaml: str, requirements: str | None = None) -> ChartMetadata:
    return parse_metadata(ChartFiles(yaml.encode(), None if requirements is None else requirements.encode()))


def members(yaml: str, requirements: str | None = None) -> dict[str, object]:
    """Return what is left out of no chart's JSON: everything but the base."""
    found = parse(BASE + yaml, requirements).to_json()
    return {name: value for name, value in found.items() if name not in ("name", "version", "apiVersion")}


def test_members_stand_in_helms_order_and_empty_ones_are_left_out() -> None:
    everything = """
type: application
dependencies:
- {alias: al, import-values: [x], enabled: true, tags: [t], condition: c, repository: r, version: v, name: d}
- {}
kubeVersion: '>=1.20'
annotations: {b: '2', a: '1'}
deprecated: true
appVersion: '1'
tags: t
condition: c
icon: i
maintainers: [{url: u, email: e, name: m}, {}]
keywords: [k, '']
description: d
sources: [s]
home: h
other: ignored
"""
    found = parse(BASE + everything).to_json()
    assert list(found) == [
        *(
            "name",
            "home",
            "sources",
            "version",
            "description",
            "keywords",
            "maintainers",
            "icon",
            "apiVersion",
        ),
        *(
            "condition",
            "tags",
            "appVersion",
            "deprecated",
            "annotations",
            "kubeVersion",
            "dependencies",
            "type",
        ),
    ]
    assert json.dumps(found["dependencies"]) == (
        '[{"name": "d", "version": "v", "repository": "r", "condition": "c", "tags": ["t"], "enabled": true, '
        '"import-values": ["x"], "alias": "al"}, {"name": "", "repository": ""}]'
    )
    assert json.dumps(found["maintainers"]) == '[{"name": "m", "email": "e", "url": "u"}, {}]'
    assert json.dumps(found["annotations"]) == '{"a": "1", "b": "2"}'
    assert found["keywords"] == ("k", "")


def test_a_bare_chart_has_three_members() -> None:
    empty = "home: ''\nkeywords: []\nannotations: {}\ndeprecated: false\ndependencies: ~\ntype:\n"
    assert parse(BASE + empty).to_json() == {"name": "demo", "version": "1.2.3", "apiVersion": "v2"}


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("1.10", "1.1"),
        ("1.0", "1"),
        ("-5", "-5"),
        ("+7", "7"),
        ("010", "8"),
        ("0o17", "15"),
        ("0x1F", "31"),
        ("-0b11", "-3"),
        ("1_000", "1000"),
        ("1e3", "1000"),
        ("1e-5", "1e-05"),
        ("123456.7", "123456.7"),
        ("1234567.8", "1.2345678e+06"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "1.8446744e+19"),
        ("1e39", "+Inf"),
        ("-1e39", "-Inf"),
        (".inf", "+Inf"),
        ("-.INF", "-Inf"),
        (".nan", "NaN"),
        ("on", "true"),
        ("FALSE", "false"),
        ("2001-01-01", "2001-01-01"),
        ("12:30:45", "12:30:45"),
        ("1e400", "1e400"),
        ("_1", "_1"),
    ],
)
def test_a_scalar_without_quotes_is_the_string_that_helm_makes_of_it(written: str, printed: str) -> None:
    assert members(f"appVersion: {written}") == {"appVersion": printed}
    assert members(f"annotations: {{a: {written}}}") == {"annotations": {"a": printed}}
    assert members(f"keywords: [{written}]") == {"keywords": (printed,)}
    assert members(f"appVersion: '{written}'") == {"appVersion": written}


def test_null_is_the_empty_value_of_every_type() -> None:
    nulls = "home: ~\nkeywords: [null]\nannotations: {a: ~}\ndeprecated: ~\nmaintainers:\n"
    assert members(nulls) == {"keywords": ("",), "annotations": {"a": ""}}


def test_names_match_in_any_case_and_the_exact_one_wins() -> None:
    assert members("AppVersion: a\nKUBEVERSION: b\n") == {"appVersion": "a", "kubeVersion": "b"}
    assert members("home: exact\nHome: other\n") == {"home": "exact"}


def test_a_chart_without_api_version_is_of_the_first() -> None:
    assert parse("name: demo\nversion: 1.2.3\n").api_version == "v1"


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        (r"two\nlines\t\r\n", "two lines   "),
        (r"\u00a0\u0085\u2003\u2028\u3000", "     "),
        (r"bell\u0007 zero\u200bwidth \u007f\x1c\ufeff\ue000", "bell zerowidth "),
        (r"\u00e9 \U0001FA77 \u4e2d e\u0301", "\u00e9 \U0001fa77 \u4e2d e\u0301"),
    ],
)
def test_fields_are_cleaned_as_helm_cleans_them(written: str, cleaned: str) -> None:
    assert members(f'description: "{written}"') == {"description": cleaned}
    assert members(f'sources: ["{written}"]') == {"sources": (cleaned,)}
    assert members(f'maintainers: [{{email: "{written}"}}]') == {"maintainers": [{"email": cleaned}]}
    assert parse(BASE + f'dependencies: [{{name: a, tags: ["{written}"]}}]').dependencies[0].tags == (
        cleaned,
    )


def test_annotations_are_not_cleaned() -> None:
    assert members('annotations: {a: "x\\n\\u0007"}') == {"annotations": {"a": "x\n\x07"}}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("[a, {child: b, parent: .c}]", ["a", {"child": "b", "parent": ".c"}]),
        ("[{b: 1, a: 2}]", [{"a": 2, "b": 1}]),
        ("[yes, Off, 'yes', ~, '1']", [True, False, "yes", None, "1"]),
        ("[1.0, 1.50, -3, +4, 1_000, 1e3, .5, +.5, 5.]", [1, 1.5, -3, 4, 1000, 1000, 0.5, 0.5, 5]),
        ("[0x1F, -0x10, 0b11, 0o17, 017, 08, 0]", [31, -16, 3, 15, 15, 8, 0]),
        ("[1e20, 123456789012345678901, 9007199254740993]", [10**20, 123456789012345680000, 2**53]),
        ("[1e21, 1e400, 0xFFFFFFFFFFFFFFFFFF]", [1e21, "1e400", "0xFFFFFFFFFFFFFFFFFF"]),
        ("[2001-01-01, 2:30, 0x, _1, 1.2.3, .a]", ["2001-01-01", "2:30", "0x", "_1", "1.2.3", ".a"]),
        ("[]", []),
    ],
)
def test_import_values_are_what_yaml_means_and_json_says(written: str, meant: list[object]) -> None:
    dependency = parse(f"{BASE}dependencies: [{{name: a, import-values: {written}}}]").dependencies[0]
    assert json.dumps(dependency.import_values) == json.dumps(meant)


class TestRequirements:
    def test_they_are_the_dependencies_of_a_first_generation_chart(self) -> None:
        chart = parse("name: demo\nversion: 1.2.3\n", "dependencies: [{name: a, version: 1.x}]")
        assert [dependency.name for dependency in chart.dependencies] == ["a"]

    def test_they_join_what_chart_yaml_has_item_by_item_as_go_decodes(self) -> None:
        chart = parse(
            BASE + "home: kept\ndependencies: [{name: a, condition: c}, {name: gone}]\nannotations: {a: x}",
            "dependencies: [{name: b, version: 1.x}]\nhome: ~\nannotations: {b: z}",
        )
        assert [dependency.to_json() for dependency in chart.dependencies] == [
            {"name": "b", "version": "1.x", "repository": "", "condition": "c"}
        ]
        assert chart.home == "kept"
        assert chart.annotations == {"a": "x", "b": "z"}

    def test_an_empty_list_takes_the_dependencies_away_and_an_empty_file_nothing(self) -> None:
        with_one = BASE + "dependencies: [{name: a}]"
        assert parse(with_one, "dependencies:\n").dependencies == ()
        assert parse(with_one, "dependencies: []").dependencies == ()
        assert len(parse(with_one, "# nothing\n").dependencies) == 1

    def test_they_do_not_hide_what_is_wrong_in_chart_yaml(self) -> None:
        with pytest.raises(MetadataError, match=r"dependencies\[0\]: enabled"):
            parse(BASE + "dependencies: [{name: a, enabled: 1}]", "dependencies: []")

    @pytest.mark.parametrize("requirements", ["- a", "a: [", "dependencies: x", "dependencies: [x]"])
    def test_malformed_ones_are_refused(self, requirements: str) -> None:
        with pytest.raises(MetadataError):
            parse(BASE, requirements)


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        ("", "no mapping"),
        ("- a", "no mapping"),
        ("a: [", "Chart.yaml: while parsing"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("name: !!binary aGVsbG8=", "the tag"),
        (BASE + "name: again", "stands twice"),
        (BASE + "home: [a]", "home is no string"),
        (BASE + "home: {a: b}", "home is no string"),
        (BASE + "sources: a", "sources is no list"),
        (BASE + "sources: [[a]]", "sources is no string"),
        (BASE + "annotations: [a]", "annotations is no mapping"),
        (BASE + "annotations: {a: {b: c}}", "annotations: a is no string"),
        (BASE + "deprecated: 'true'", "neither true nor false"),
        (BASE + "deprecated: 1", "neither true nor false"),
        (BASE + "deprecated: [true]", "neither true nor false"),
        (BASE + "maintainers: a", "maintainers is no list"),
        (BASE + "maintainers: [~]", r"maintainers\[0\] is no mapping"),
        (BASE + "dependencies: [{name: a}, ~]", r"dependencies\[1\] is no mapping"),
        (BASE + "dependencies: [{name: a}, {name: a}]", "two dependencies are called 'a'"),
        (BASE + "dependencies: [{name: a}, {name: b, alias: a}]", "two dependencies are called 'a'"),
        (BASE + "dependencies: [{name: a, alias: 'x y'}]", "alias"),
        (BASE + "dependencies: [{name: a, alias: é}]", "alias"),
        (BASE + "dependencies: [{name: a, import-values: {a: b}}]", "import-values is no list"),
        (BASE + "dependencies: [{name: a, import-values: [.inf]}]", "JSON cannot say"),
        (BASE + "dependencies: [{name: a, import-values: [[.NaN]]}]", "JSON cannot say"),
        (BASE + "dependencies: [{name: a, import-values: [0.00001]}]", "too small"),
        (BASE + "type: operator", "neither application nor library"),
        ("name: demo", "no version"),
        ("name: demo\nversion: latest", "no version"),
        ("name: demo\nversion: [1]", "version is no string"),
    ],
)
def test_what_helm_refuses_is_refused(yaml: str, reason: str) -> None:
    with pytest.raises(MetadataError, match=reason):
        parse(yaml)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../../x", "a\\\\b", "é", "a b", "a\\nb", "a" * 251])
def test_a_name_that_could_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(MetadataError, match="cannot be a chart's name"):
        parse(f'name: "{name}"\nversion: 1.2.3\n')


@pytest.mark.parametrize("name", ["a", "cert-manager", "My_Chart.v2", "a" * 250])
def test_a_name_that_helm_itself_would_create_is_accepted(name: str) -> None:
    assert parse(f"name: {name}\nversion: 1.2.3\n").name == name


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
field_names = st.sampled_from(
    ["home", "sources", "maintainers", "annotations", "deprecated", "dependencies", "type", "name", "version"]
)


@given(st.dictionaries(field_names, yaml_values))
def test_any_chart_yaml_is_read_or_refused_and_what_is_read_is_json(fields: dict[str, object]) -> None:
    chart = {"name": "demo", "version": "1.2.3", **fields}
    try:
        metadata = parse(json.dumps(chart, ensure_ascii=False))
    except MetadataError:
        return
    assert json.loads(json.dumps(metadata.to_json()))["version"] == metadata.version
