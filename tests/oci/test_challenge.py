"""WWW-Authenticate as registries send it, and as nobody honest does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.oci.challenge import MAX_CHALLENGES, MAX_LENGTH, Challenge, ChallengeError, parse_challenges

DOCKER = (
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"'
)


@pytest.mark.parametrize(
    ("text", "challenges"),
    [
        ("", []),
        (" , ,", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ("BASIC Realm=x", [("basic", {"realm": "x"})]),
        (
            DOCKER,
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull",
                    },
                )
            ],
        ),
        ('Bearer realm = "a" , service = b', [("bearer", {"realm": "a", "service": "b"})]),
        ('Bearer realm="a, b=\\"c\\" \\\\ d"', [("bearer", {"realm": 'a, b="c" \\ d'})]),
        ('Bearer realm=""', [("bearer", {"realm": ""})]),
        ('Basic realm="x", Bearer realm="y"', [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        ('Negotiate, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        (
            'Negotiate YIIB+/==, Bearer realm="y", scope="a b"',
            [("negotiate", {}), ("bearer", {"realm": "y", "scope": "a b"})],
        ),
        (
            ', Newauth realm="apps", type=1, title="Login to \\"apps\\"", , Basic realm="simple"',
            [
                ("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
                ("basic", {"realm": "simple"}),
            ],
        ),
    ],
)
def test_challenges_are_read_as_the_standard_spells_them(
    text: str, challenges: list[tuple[str, dict[str, str]]]
) -> None:
    assert parse_challenges(text) == tuple(Challenge(*challenge) for challenge in challenges)


@pytest.mark.parametrize(
    "text",
    [
        '"Bearer"',
        'Bearer realm="x',
        'Bearer realm="x" service="y"',
        'Bearer realm="x"y',
        "Bearer realm=",
        'Bearer realm="x", realm="y"',
        'Bearer realm="x", Realm="y"',
        'Bearer realm="a\nb"',
        'Bearer realm="a\x00b"',
        'Bearer réalm="x"',
        "Bearer =x",
        "Bearer a=1, b",
    ],
)
def test_what_is_no_challenge_is_refused_or_read_as_a_scheme_without_a_realm(text: str) -> None:
    try:
        challenges = parse_challenges(text)
    except ChallengeError:
        return
    assert all("realm" not in challenge.parameters for challenge in challenges)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Basic " + "x" * MAX_LENGTH, "longer than"),
        (", ".join(["Basic realm=x"] * (MAX_CHALLENGES + 1)), "challenges"),
        ("Bearer " + ",".join(f"p{number}=x" for number in range(17)), "parameters"),
    ],
)
def test_more_than_a_registry_would_say_is_refused(text: str, why: str) -> None:
    with pytest.raises(ChallengeError, match=why):
        parse_challenges(text)


def test_as_much_as_is_allowed_is_read() -> None:
    assert len(parse_challenges(", ".join(["Basic realm=x"] * MAX_CHALLENGES))) == MAX_CHALLENGES
    (challenge,) = parse_challenges("Bearer " + ",".join(f"p{number}=x" for number in range(16)))
    assert len(challenge.parameters) == 16


@settings(max_examples=200)
@given(st.text(alphabet='Bearb ="\\,=realm\t\x00é:/', max_size=200))
def test_any_text_is_read_or_refused_at_once(text: str) -> None:
    try:
        challenges = parse_challenges(text)
    except ChallengeError:
        return
    assert all(challenge.scheme for challenge in challenges)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(alphabet=' ~"\\,=:/aZ', max_size=20), max_size=8
    )
)
def test_what_is_quoted_by_the_standard_is_read_back(parameters: dict[str, str]) -> None:
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in parameters.items()}
    text = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in quoted.items())
    assert parse_challenges(text) == (Challenge("bearer", parameters),)


@pytest.mark.parametrize("text", ['Bearer realm="' + "\\" * 8000, "Bearer " + "a" * 8000, ", " * 4000 + '"'])
def test_hostile_headers_take_no_time(text: str) -> None:
    try:
        challenges = parse_challenges(text)
    except ChallengeError:
        return
    assert len(challenges) == 1
