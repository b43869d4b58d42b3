"""Repository names, references and digests: the grammar and nothing beside it."""

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError, Situation
from gateway.oci.reference import Tag, is_tag, parse_reference
from gateway.oci.repository import MAX_LENGTH, Repository
from gateway.oci.target import Target

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "name", ["a", "charts.jetstack.io/cert-manager", "a_b/c__d/e---f/g.h", "0/1", "a" * MAX_LENGTH]
)
def test_a_name_of_the_grammar_is_a_repository(name: str) -> None:
    assert str(Repository.parse(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../../etc/passwd",
        "a/../b",
        "a/./b",
        "a/..\\b",
        "a/..;/b",
        "a//b",
        "/a",
        "a/",
        "a%252e",
        "a%2fb",
        "a\x00b",
        "a\r\nX-Evil:1",
        "a\tb",
        "a\n",
        "\uff0e\uff0e/x",
        "\ufffd\ufffd",
        "é",
        "Charts.Jetstack.io/x",
        "-a",
        ".a",
        "a.",
        "a-",
        "a..b",
        "a/b___c",
        "a._b",
        "a/b:1",
        "a@b",
        "a#b",
        "a b",
        "http://169.254.169.254/",
        "*",
        "a" * (MAX_LENGTH + 1),
    ],
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(OciError) as caught:
        Repository.parse(name)
    assert caught.value.situation is Situation.NAME_BREAKS_GRAMMAR
    assert (caught.value.code, caught.value.status) == (ErrorCode.NAME_INVALID, 400)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "name",
    ["reg.example:5000/x", "localhost:1/a/b", "a:65535/x", "a_b:80/x", "a" * 250 + ":80/x", "a/b", "a"],
)
def test_the_first_segment_may_end_in_a_port_where_a_host_may_stand(name: str) -> None:
    assert str(Repository.parse_with_port(name)) == name
    assert str(Target.parse(name)) == name


def test_a_port_belongs_to_the_host_of_a_target() -> None:
    target = Target.parse("reg.example:5000/team/x")
    expected = ("reg.example:5000", "reg.example:5000/team", "x")
    assert (target.host, target.place, target.chart) == expected


@pytest.mark.parametrize(
    "name",
    [
        "a:5000",
        "a:0/x",
        "a:05/x",
        "a:123456/x",
        "a:/x",
        "a:x/y",
        "a:80:80/x",
        "a/b:80/x",
        "a/b:80",
        "a:80/B",
        "a:80/",
        "A:80/x",
        "a:80\n/x",
        "a:\uff18\uff10/x",
        "a" * 251 + ":80/x",
        "[::1]:80/x",
        "http://a:80/x",
        "u:1@a/x",
        ":80/x",
        "a.:80/x",
        "jetstack.io.:5000/x",
        "a-:80/x",
        "a_:80/x",
    ],
)
def test_and_no_other_name_has_one(name: str) -> None:
    with pytest.raises(OciError) as caught:
        Repository.parse_with_port(name)
    assert caught.value.situation is Situation.NAME_BREAKS_GRAMMAR


def test_the_message_repeats_no_name_that_nobody_asked_for() -> None:
    with pytest.raises(OciError) as caught:
        Repository.parse_with_port("a:5000/x..y")
    assert "'a:5000/x..y'" in caught.value.message


@given(st.text("ab.-_:/0589", max_size=20))
@example(":80/x")
def test_with_a_port_taken_off_it_is_a_name(text: str) -> None:
    found = value_or_error(Repository.parse_with_port, text)
    if not isinstance(found, OciError):
        host, _, path = text.partition("/")
        bare = host.partition(":")[0]
        assert str(found) == text
        assert isinstance(value_or_error(Repository.parse, f"{bare}/{path}" if path else bare), Repository)


def test_a_target_is_a_host_a_place_and_a_chart() -> None:
    target = Target.parse("argoproj.github.io/argo-helm/argo-cd")
    assert (target.host, target.place, target.chart) == (
        "argoproj.github.io",
        "argoproj.github.io/argo-helm",
        "argo-cd",
    )
    assert str(target) == "argoproj.github.io/argo-helm/argo-cd"
    assert target.repository.segments == ("argoproj.github.io", "argo-helm", "argo-cd")


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("1.11.2", "1.11.2"),
        ("v1", "v1"),
        ("_", "_"),
        ("1.0.0_build.5", "1.0.0_build.5"),
        ("1.0.0+build.5", "1.0.0_build.5"),
        ("1" * 128, "1" * 128),
    ],
)
def test_a_tag_is_read_and_a_plus_is_helms_underscore(text: str, tag: str) -> None:
    assert parse_reference(text) == Tag(tag)
    assert str(Tag(tag)) == tag


@pytest.mark.parametrize(
    "text", ["", "1" * 129, "1.11.2\n", "-1", ".1", "a/b", "é", "1 2", "a\x00", "\uff11"]
)
def test_a_tag_that_cannot_exist_is_one_that_nobody_has(text: str) -> None:
    with pytest.raises(OciError) as caught:
        parse_reference(text)
    assert caught.value.situation is Situation.MANIFEST_NOT_KNOWN
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha512:{HEX}{HEX}"])
def test_a_digest_is_read_and_written(text: str) -> None:
    assert str(parse_reference(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "sha256:../../../etc/passwd",
        f"sha256:{HEX.upper()}",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX}\n",
        f"sha512:{HEX}",
        f"SHA256:{HEX}",
        f"md5:{HEX[:32]}",
        f"sha256:{HEX}:",
        f":{HEX}",
        "sha256:" + "\uff11" * 64,
        ":",
    ],
)
def test_any_other_digest_is_refused(text: str) -> None:
    with pytest.raises(OciError) as caught:
        parse_reference(text)
    assert caught.value.situation is Situation.DIGEST_MALFORMED
    assert (caught.value.code, caught.value.status) == (ErrorCode.DIGEST_INVALID, 400)


def test_a_digest_hashes_with_its_own_algorithm() -> None:
    assert Digest.of(b"x").hex == hashlib.sha256(b"x").hexdigest()
    for algorithm in ("sha256", "sha512"):
        wanted = Digest(algorithm, hashlib.new(algorithm, b"xy").hexdigest())
        hasher = wanted.hasher()
        hasher.update(b"x")
        hasher.update(memoryview(b"y"))
        assert hasher.hexdigest() == wanted.hex


COMPONENT = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,3}", fullmatch=True)


@given(st.lists(COMPONENT, min_size=1, max_size=4).map("/".join).filter(lambda name: len(name) <= MAX_LENGTH))
def test_every_name_of_the_grammar_reads_as_itself(name: str) -> None:
    repository = Repository.parse(name)
    assert Repository.parse(str(repository)) == repository


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True))
def test_every_tag_of_the_grammar_reads_as_itself(tag: str) -> None:
    assert parse_reference(str(Tag(tag))) == Tag(tag)


@given(st.binary(max_size=64))
def test_every_digest_reads_as_itself(content: bytes) -> None:
    digest = Digest.of(content)
    assert Digest.parse(str(digest)) == digest


@given(st.text(max_size=80))
def test_any_text_is_a_value_or_an_oci_error(text: str) -> None:
    for parse in (Repository.parse, parse_reference, Target.parse, Digest.parse):
        value = value_or_error(parse, text)
        if isinstance(value, OciError):
            assert value.status in {400, 404}
        else:
            assert str(value) in {text, text.replace("+", "_")}


def value_or_error(parse: Callable[[str], object], text: str) -> object:
    try:
        return parse(text)
    except OciError as error:
        return error


@pytest.mark.parametrize(
    ("text", "expected"), [("1.0.0", True), ("1.0.0+b", False), ("", False), ("a/b", False)]
)
def test_what_is_no_tag_is_told_without_an_error(text: str, expected: bool) -> None:
    assert is_tag(text) is expected
