"""Go's templates are read as charts write them; what is none, or endless, is refused."""

import pytest

from gateway.helm.go_templates import (
    METHOD,
    Action,
    Allowance,
    Block,
    Call,
    Definition,
    Literal,
    Node,
    Path,
    TemplateError,
    Text,
    parse_template,
)


def parsed(text: str) -> tuple[Node, ...]:
    return parse_template(text, Allowance())


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        (".", Path(())),
        (".Values.a_b.c", Path(("Values", "a_b", "c"))),
        ("$", Path((), "$")),
        ("$x.y", Path(("y",), "$x")),
        ('"a\\"b\\n"', Literal('a"b\n')),
        ("`a\\b`", Literal("a\\b")),
        ("12", Literal(12)),
        ("-1", Literal(-1)),
        ("1.5", Literal("1.5")),
        ("0x1F", Literal("0x1F")),
        ("true", Literal(True)),
        ("nil", Literal(None)),
        ("quote .a", Call("quote", (Path(("a",)),))),
        (".a | quote", Call("quote", (Path(("a",)),))),
        (".a | default 1 | quote", Call("quote", (Call("default", (Literal(1), Path(("a",)))),))),
        ("(index . 0).b", Path(("b",), base=Call("index", (Path(()), Literal(0))))),
        ('.Files.Get "x"', Call(METHOD, (Path(("Files", "Get")), Literal("x")))),
        ("list true now", Call("list", (Literal(True), Call("now", ())))),
    ],
)
def test_expressions(text: str, expression: object) -> None:
    assert parsed(f"{{{{ {text} }}}}") == (Action(expression),)  # type: ignore[arg-type]


def test_text_is_trimmed_where_the_marks_say_so() -> None:
    assert parsed("a \n{{- .b -}}\n c {{ .d }} e") == (
        Text("a"),
        Action(Path(("b",))),
        Text("c "),
        Action(Path(("d",))),
        Text(" e"),
    )
    assert parsed("a {{-1}} b")[0] == Text("a ")  # a number, no mark


def test_comments_are_nothing_and_trim_too() -> None:
    assert parsed("a{{/* }} */}}b {{- /* x */ -}} c") == (Text("a"), Text("b"), Text("c"))


def test_blocks_have_a_body_and_what_is_otherwise() -> None:
    (block,) = parsed("{{ if .a }}1{{ else if .b }}2{{ else }}3{{ end }}")
    inner = Block("if", Action(Path(("b",))), (Text("2"),), (Text("3"),))
    assert block == Block("if", Action(Path(("a",))), (Text("1"),), (inner,))
    (block,) = parsed("{{ range $k, $v := .m }}{{ $v }}{{ end }}")
    assert block == Block("range", Action(Path(("m",)), ("$k", "$v"), True), (Action(Path((), "$v")),), ())


def test_names_are_given_values() -> None:
    assert parsed("{{ $x := 1 }}{{ $x = 2 }}") == (
        Action(Literal(1), ("$x",), True),
        Action(Literal(2), ("$x",), False),
    )


def test_named_templates_are_kept_and_used() -> None:
    assert parsed('{{ define "a" }}1{{ end }}{{ template "a" . }}{{ block "b" .x }}2{{ end }}') == (
        Definition("a", (Text("1"),)),
        Action(Call("include", (Literal("a"), Path(())))),
        Definition("b", (Text("2"),), Path(("x",))),
    )


def test_an_empty_action_is_nothing() -> None:
    assert parsed("{{ }}") == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ .a", "an action that is not understood"),
        ("{{ ? }}", "an action that is not understood"),
        ("{{ if .a }}", "if without an end"),
        ("{{ end }}", "end without a beginning"),
        ("{{ else }}", "else without a beginning"),
        ("{{ if .a }}{{ else }}", "a block without an end"),
        ("{{ if .a }}{{ else }}{{ else }}{{ end }}", "a block without an end"),
        ('{{ define "a" }}', "a block without an end"),
        ("{{ define }}{{ else }}", "a block without an end"),
        ("{{ if }}{{ end }}", "a value was expected"),
        ("{{ (.a }}", "\\( without \\)"),
        ("{{ .a) }}", "\\) is not expected"),
        ("{{ .a , .b }}", ", is not expected"),
        ("{{ .a | .b }}", "is no function"),
        ("{{ if .a }}" * 60 + "{{ end }}" * 60, "nested deeper"),
        ("{{ " + "(" * 60 + ".a" + ")" * 60 + " }}", "brackets deeper"),
    ],
)
def test_what_is_no_template_is_refused(text: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        parsed(text)


def test_templates_that_go_together_have_only_so_many_words() -> None:
    allowance = Allowance(tokens=10)
    parse_template("{{ .a }}", allowance)
    with pytest.raises(TemplateError, match="all templates have more than"):
        parse_template("{{ list 1 2 3 }}", allowance)
