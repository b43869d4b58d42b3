"""Templates are followed with what is known; what is not known is marked, and never guessed."""

import pytest

from gateway.helm.document import parse_document
from gateway.helm.go_rendering import Follower, TooMuch, definitions_in
from gateway.helm.go_templates import Allowance, parse_template
from gateway.helm.go_values import MARK, UNKNOWN, Datum, datum_of

pytestmark = pytest.mark.slow  # many small tests

VALUES = b"""
text: abc
empty: ""
none: null
yes: true
no: false
seven: 7
zero: 0
version: 1.10
quoted: "1.10"
date: 2024-01-02
items: [a, b]
nested: {b: 2, a: 1}
tpl: "{{ .text }}!"
broken: "{{ if }}"
"""


def followed(text: str, dot: Datum = None) -> str:
    nodes = parse_template(text, Allowance())
    return Follower(definitions_in(nodes)).written(
        nodes, datum_of(parse_document(VALUES)) if dot is None else dot
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("{{ .text }}", "abc"),
        ("{{ .missing }}{{ .missing.deeper }}{{ .text.deeper }}{{ .none }}", ""),
        ("{{ .version }} {{ .quoted }} {{ .date }} {{ .seven }}", "1.1 1.10 2024-01-02 7"),
        ("{{ .yes }} {{ .no }}", "true false"),
        ('{{ .empty | default "x" }}{{ default "y" .text }}{{ default "z" }}', "xabcz"),
        ('{{ coalesce .none .empty "x" .text }}{{ coalesce .none .empty }}', "x"),
        ('{{ or .empty .text }}{{ and .text .empty }}{{ and .text "x" }}', "abcx"),
        ("{{ not .empty }} {{ empty .text }}", "true false"),
        ('{{ ternary "a" "b" .yes }}{{ .no | ternary "a" "b" }}', "ab"),
        (
            '{{ eq .text "abc" }} {{ ne .text "abc" }} {{ eq .seven 7 }} {{ eq .text "x" "abc" }}',
            "true false true true",
        ),
        ('{{ printf "%s:%v-%d%% %q" .text .yes .seven "x" }}', 'abc:true-7% "x"'),
        ('{{ print "a" 1 }}{{ cat "a" "b" }}{{ "x" | toString }}', "a1a bx"),
        ('{{ quote "a" "b" }}{{ squote "c" }}', '"a" "b"\'c\''),
        (
            '{{ trimPrefix "a" .text }} {{ trimSuffix "c" .text }} {{ trimAll "c" .text }} {{ trim " x " }}',
            "bc ab ab x",
        ),
        ('{{ upper .text }}{{ lower "X" }}{{ replace "b" "-" .text }}', "ABCxa-c"),
        ("{{ trunc 2 .text }} {{ trunc -1 .text }}", "ab c"),
        ('{{ contains "b" .text }}{{ hasPrefix "a" .text }}{{ hasSuffix "a" .text }}', "truetruefalse"),
        ('{{ get .nested "b" }}{{ index .items 1 }}{{ index .nested "a" }}', "2b1"),
        ('{{ hasKey .nested "b" }}{{ hasKey .nested "c" }}', "truefalse"),
        ('{{ (dict "a" 1 "b" 2).b }}{{ first .items }}{{ last (list 1 2) }}', "2a2"),
        ("{{ len .items }}{{ len .text }}", "23"),
        ("{{ lt 1 2 }}{{ le 2 2 }}{{ gt 1 2 }}{{ ge 2 3 }}", "truetruefalsefalse"),
        ('{{ (merge (dict "a" 1) (dict "a" 2 "b" 3)).a }}', "1"),
        ('{{ (mergeOverwrite (dict "a" 1) (dict "a" 2)).a }}', "2"),
        ('{{ kindIs "string" .text }}{{ kindIs "map" .items }}{{ kindOf .items }}', "truefalseslice"),
        ("{{ kindOf .nested }} {{ kindOf .yes }} {{ kindOf .none }}", "map bool invalid"),
        ('{{ required "needed" .text | nindent 4 }}{{ toYaml .text }}{{ toYaml .none }}', "abcabc"),
        ('{{ (lookup "v1" "Secret" "" "x").data }}', ""),
        ('{{ tpl .tpl . }}{{ tpl "plain" . }}', "abc!plain"),
    ],
)
def test_functions(text: str, written: str) -> None:
    assert followed(text) == written


@pytest.mark.parametrize(
    "text",
    [
        "{{ randAlphaNum 5 }}",
        '{{ .Files.Get "x" }}',
        "{{ $nobody }}",
        "{{ .items }}",
        "{{ toYaml .items }}",
        '{{ include "nobody" . }}',
        "{{ include .items . }}",
        "{{ tpl .broken . }}",
        "{{ index .items 9 }}",
        "{{ hasKey .text 1 }}",
        "{{ first .text }}",
        "{{ first }}",
        "{{ len .seven }}",
        "{{ lt .text 1 }}",
        "{{ kindOf .seven }}",
        '{{ kindIs "int" .seven }}',
        "{{ not now }}",
        "{{ ternary 1 2 now }}",
        "{{ eq now 1 }}",
        "{{ eq .items .items }}",
        "{{ default 1 now }}",
        "{{ (now).year }}",
        '{{ contains "a" now }}',
        '{{ eq (printf "%s" now) "a" }}',
        "{{ required }}",
    ],
)
def test_what_is_not_known_is_marked(text: str) -> None:
    assert followed(text) == MARK


def test_what_is_partly_known_keeps_its_mark() -> None:
    assert followed('{{ printf "a%sb" now }}') == f"a{MARK}b"
    assert followed('{{ default "x" (printf "a%s" now) }}') == f"a{MARK}"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("{{ if .text }}1{{ else }}2{{ end }}{{ if .zero }}1{{ else }}2{{ end }}", "12"),
        ("{{ if .no }}1{{ else if .items }}2{{ end }}", "2"),
        ("{{ if now }}1{{ else }}2{{ end }}", f"{MARK}1{MARK}2{MARK}"),
        ("{{ with .nested }}{{ .b }}{{ $.text }}{{ end }}{{ with .none }}x{{ end }}", "2abc"),
        ("{{ with $x := .nested }}{{ $x.a }}{{ end }}", "1"),
        ("{{ range .items }}{{ . }}{{ end }}{{ range .none }}x{{ else }}none{{ end }}", "abnone"),
        ("{{ range $i, $x := .items }}{{ $i }}{{ $x }}{{ end }}", "0a1b"),
        ("{{ range $x := .items }}{{ $x }}{{ end }}", "ab"),
        ("{{ range $k, $v := .nested }}{{ $k }}{{ $v }}{{ end }}", "a1b2"),
        ("{{ range now }}{{ . }}{{ end }}", MARK * 4),
        ("{{ range .text }}x{{ . }}{{ end }}", f"x{MARK}"),
        ("{{ $x := 1 }}{{ if .yes }}{{ $x = 2 }}{{ $y := 3 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if .yes }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        ("{{ $x = 5 }}{{ $x }}", "5"),
        (
            '{{ define "a" }}[{{ .b }}{{ $.b }}]{{ end }}{{ include "a" .nested }}{{ template "a" .nested }}',
            "[22][22]",
        ),
        ('{{ block "a" .nested }}{{ .b }}{{ end }}', "2"),
        ('{{ if .no }}{{ define "a" }}1{{ end }}{{ end }}{{ include "a" . }}', "1"),
        ('{{ define "a" }}{{ define "b" }}1{{ end }}{{ end }}{{ template "b" }}', "1"),
    ],
)
def test_blocks(text: str, written: str) -> None:
    assert followed(text) == written


def test_text_that_doubles_is_given_up_early() -> None:
    doubling = '{{ $x := "ab" }}' + '{{ $x = printf "%s%s" $x $x }}' * 40 + "{{ $x }}"
    assert followed(doubling) == MARK * len(followed(doubling))


def test_large_mappings_are_not_merged() -> None:
    large: Datum = {str(number): number for number in range(300)}
    assert followed("{{ (merge . .).a }}", large) == MARK


def test_a_long_text_counts_as_true() -> None:
    assert followed("{{ if . }}1{{ end }}", "x" * 5_000 + MARK) == "1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{{ define "a" }}{{ include "a" . }}{{ include "a" . }}{{ end }}{{ include "a" . }}', "steps"),
        (
            '{{ define "a" }}{{ range .l }}{{ range $.l }}{{ end }}{{ end }}{{ end }}{{ include "a" . }}',
            "steps",
        ),
        ("{{ range .l }}{{ $.t }}{{ end }}", "characters"),
    ],
)
def test_what_would_never_end_is_given_up(text: str, reason: str) -> None:
    nodes = parse_template(text, Allowance())
    with pytest.raises(TooMuch, match=reason):
        Follower(definitions_in(nodes), steps=5_000).written(nodes, {"l": [1] * 1_000, "t": "x" * 20_000})


def test_what_includes_itself_is_followed_only_so_deep() -> None:
    assert followed('{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}') == MARK


def test_unknown_is_a_datum_of_its_own() -> None:
    assert followed("{{ .a }}{{ .a.b }}", {"a": UNKNOWN}) == MARK * 2


def test_a_text_that_would_grow_a_thousandfold_is_not_made() -> None:
    long = "x" * 4_000
    assert followed('{{ replace "" .t .t }}{{ replace "x" .t .t }}', {"t": long}) == MARK * 2
    assert followed('{{ replace "x" "yy" .t }}', {"t": long}) == "yy" * 4_000


def test_a_number_that_is_longer_than_any_is_a_text() -> None:
    assert followed("{{ %s }}" % ("9" * 5_000)) == "9" * 5_000


def test_texts_cost_steps() -> None:
    nodes = parse_template("{{ range .l }}{{ print $.t | lower | upper }}{{ end }}", Allowance())
    with pytest.raises(TooMuch, match="steps"):
        Follower({}, steps=5_000).written(nodes, {"l": [1] * 100, "t": "x" * 2_000})
