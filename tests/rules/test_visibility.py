"""What hides a tag, and that nothing else does."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.helm.ranges import parse_range
from gateway.oci.digest import Digest
from gateway.rules.visibility import Visibility, digest_of_fallback_tag, visible

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

HEX = "0123456789abcdef" * 4
SEEN = Digest("sha256", HEX)

tags = st.from_regex(r"[a1_][a1._-]{0,8}", fullmatch=True)
globs = st.text("a1._-*", min_size=1, max_size=6)


def shown(visibility: Visibility, *names: str) -> list[str]:
    return [name for name in names if visibility.shows(name)]


def test_without_a_policy_every_tag_is_shown() -> None:
    assert Visibility().is_open
    assert shown(Visibility(), "1.0.0", "latest", f"sha256-{HEX}") == ["1.0.0", "latest", f"sha256-{HEX}"]


@pytest.mark.parametrize(
    "visibility",
    [
        Visibility(allow=("*",)),
        Visibility(deny=("x",)),
        Visibility(versions=parse_range("*")),
        Visibility(min_age_seconds=1.0),
    ],
)
def test_with_any_policy_something_may_be_hidden(visibility: Visibility) -> None:
    assert not visibility.is_open


def test_it_tells_which_keys_hide_tags() -> None:
    assert str(Visibility()) == ""
    assert str(Visibility(deny=("x",))) == "tags.deny x"
    everything = Visibility(("1.*", "2"), ("x",), parse_range(">=1"), 60.0)
    assert str(everything) == "tags.allow 1.*, 2; tags.deny x; versions >=1; min_age of 60 s"


def test_only_what_is_allowed_is_shown() -> None:
    visibility = Visibility(allow=("1.*", "latest"))
    assert shown(visibility, "1.0", "1.", "11.0", "latest", "latest2", "1") == ["1.0", "1.", "latest"]


def test_what_is_denied_is_hidden_also_where_it_is_allowed() -> None:
    visibility = Visibility(allow=("1.*",), deny=("*-rc*", "1.3.0"))
    assert shown(visibility, "1.0.0", "1.0.0-rc", "1.0.0-rc.1", "1.3.0", "1.3.0.1") == ["1.0.0", "1.3.0.1"]


def test_all_but_the_star_is_itself_in_a_glob() -> None:
    assert shown(Visibility(allow=("1.0+[a-z]?$",)), "1x0", "1.0a", "1.00b", "1.0+[a-z]?$") == ["1.0+[a-z]?$"]
    assert shown(Visibility(deny=("A*",)), "a1", "A1") == ["a1"]
    assert shown(Visibility(deny=("a*b",)), "a\nb", "ab", "abc") == ["abc"]


@given(globs, tags)
def test_a_star_is_zero_or_more_characters(glob: str, tag: str) -> None:
    assert Visibility(allow=(glob,)).shows(tag) == fnmatchcase(tag, glob)
    assert Visibility(deny=(glob,)).shows(tag) != fnmatchcase(tag, glob)


@given(st.lists(globs, min_size=1, max_size=4).map(tuple), tags)
def test_one_of_several_globs_is_enough(several: tuple[str, ...], tag: str) -> None:
    assert Visibility(allow=several).shows(tag) == any(fnmatchcase(tag, glob) for glob in several)


def test_more_globs_than_one_pattern_takes_hide_what_each_of_them_hides() -> None:
    visibility = Visibility(deny=tuple(f"*-{number}" + "*a" * 90 for number in range(1_000)))
    assert not visibility.shows("1.0-999" + "a" * 100)
    assert visibility.shows("1.0-x" + "a" * 100)


def test_versions_hide_what_is_outside_the_range_and_what_is_no_version() -> None:
    visibility = Visibility(versions=parse_range(">=1 <3"))
    names = ("0.9.0", "1.0.0", "v2.1.0", "2", "2.0.0-rc.1", "3.0.0", "latest", "1.0.0_build.5", "1.2.3.4")
    assert shown(visibility, *names) == ["1.0.0", "v2.1.0", "2", "1.0.0_build.5"]


def test_a_plus_in_a_tag_is_written_as_underscore_also_where_globs_look() -> None:
    visibility = Visibility(deny=("*_b*",), versions=parse_range("*"))
    assert shown(visibility, "1.0.0_a", "1.0.0_b") == ["1.0.0_a"]


def test_age_is_not_judged_by_the_tag() -> None:
    assert Visibility(min_age_seconds=3600.0).shows("1.0.0")


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom", ".cosign.bundle"])
def test_a_fallback_tag_speaks_of_a_digest(suffix: str) -> None:
    assert digest_of_fallback_tag(f"sha256-{HEX}{suffix}") == SEEN


@pytest.mark.parametrize(
    "tag",
    [
        "1.0.0",
        "sha256",
        f"sha256-{HEX[1:]}",
        f"sha256-{HEX}0",
        f"sha256-{HEX.upper()}",
        f"sha256-{HEX}.",
        f"sha256-{HEX}.sig\n",
        f"sha256:{HEX}",
        f"sha512-{HEX}",
        f"x-sha256-{HEX}",
    ],
)
def test_another_tag_speaks_of_none(tag: str) -> None:
    assert digest_of_fallback_tag(tag) is None


def test_a_list_shows_fallback_tags_where_their_digest_is_visible_and_nowhere_else() -> None:
    other = HEX[::-1]
    names = ["0.1.0", "1.0.0", f"sha256-{HEX}", f"sha256-{HEX}.sig", f"sha256-{other}", "sha256-short"]
    visibility = Visibility(allow=("1.*",), deny=("sha256-*",), versions=parse_range("1"))
    assert visible(visibility, names, SEEN.__eq__) == ["1.0.0", f"sha256-{HEX}", f"sha256-{HEX}.sig"]
    assert visible(Visibility(min_age_seconds=1.0), names, SEEN.__eq__) == [*names[:4], "sha256-short"]


def test_a_list_is_passed_on_as_it_is_where_nothing_is_hidden() -> None:
    names = ["1.0.0", f"sha256-{HEX}"]
    assert visible(Visibility(), names, lambda digest: False) is names
