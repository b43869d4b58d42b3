"""What a mirror list means, and what of it may be forgotten, is decided without asking anybody."""

from dataclasses import replace

import pytest

from gateway.helm.ranges import parse_range
from gateway.oci.location import Location, parse_location
from gateway.oci.target import Target
from gateway.rules.patterns import Subject, parse_pattern
from gateway.rules.sync_lists import Older, SyncEntry, SyncList
from gateway.rules.visibility import Visibility
from gateway.store.retention import Retention
from gateway.sync_plan import (
    MOST_TOLD,
    Doubts,
    Kind,
    SyncItem,
    SyncPlan,
    Wish,
    by_present_names,
    dependency_tag,
    doubtful_names,
    key_of,
    meant_tags,
    removals,
    shortened,
    wish_of,
)

TAGS = [
    "1.0.0",
    "1.10.0",
    "1.9.0",
    "2.0.0-rc.1",
    "2.0.0_build.2",
    "latest",
    "nightly",
    f"sha256-{'0' * 64}.sig",
]


def entry(repository: str = "argo/argo-cd", **said: object) -> SyncEntry:
    made = SyncEntry(parse_pattern(repository, Subject.REPOSITORY))
    return replace(made, **said)  # type: ignore[arg-type]


def visibility(*allow: str, versions: str = "") -> Visibility:
    return Visibility(allow=allow, versions=parse_range(versions) if versions else None)


def test_without_a_word_all_versions_are_meant_newest_first() -> None:
    assert meant_tags(entry(), TAGS) == ["2.0.0_build.2", "2.0.0-rc.1", "1.10.0", "1.9.0", "1.0.0"]


def test_newest_counts_releases_by_precedence() -> None:
    assert meant_tags(entry(newest=2), TAGS) == ["2.0.0_build.2", "1.10.0"]


def test_newest_is_counted_of_what_a_range_leaves() -> None:
    assert meant_tags(entry(newest=1, visibility=visibility(versions="<2")), TAGS) == ["1.10.0"]


def test_a_range_that_names_pre_releases_has_them_counted() -> None:
    said = visibility(versions=">=2.0.0-0")
    assert meant_tags(entry(newest=5, visibility=said), TAGS) == ["2.0.0_build.2", "2.0.0-rc.1"]


def test_variants_that_tags_allow_are_counted_though_they_read_as_pre_releases() -> None:
    tags = ["1.27.1-alpine", "1.27.2-alpine", "1.27.2", "1.26.0-alpine"]
    said = visibility("*-alpine")
    assert meant_tags(entry(newest=2, visibility=said), tags) == ["1.27.2-alpine", "1.27.1-alpine"]


def test_what_is_no_version_is_meant_where_tags_allow_it_and_is_not_counted() -> None:
    said = visibility("1.*", "latest")
    assert meant_tags(entry(newest=1, visibility=said), TAGS) == ["1.10.0", "latest"]


def test_what_speaks_of_a_digest_is_never_meant_by_itself() -> None:
    assert meant_tags(entry(visibility=visibility("sha256-*")), TAGS) == []


def test_of_two_spellings_of_one_version_the_first_is_the_newest() -> None:
    assert meant_tags(entry(newest=1), ["v1.0.0", "1.0.0"]) == ["1.0.0"]


def test_a_dependency_is_the_newest_in_its_range() -> None:
    assert dependency_tag("^1.0.0", TAGS) == "1.10.0"
    assert dependency_tag(">=3", TAGS) is None


def test_what_two_entries_want_of_the_same_is_joined() -> None:
    some = Wish(Kind.IMAGE, "a", platforms=frozenset({"linux/amd64"}), is_guessed=True)
    other = Wish(Kind.IMAGE, "b", signatures=True, platforms=frozenset({"linux/arm64"}))
    joined = some.joined(other)
    assert (joined.wanted_by, joined.signatures, joined.is_guessed) == ("a", True, False)
    assert joined.platforms == {"linux/amd64", "linux/arm64"}
    assert joined.joined(Wish(Kind.IMAGE, "c")).platforms == frozenset()


def test_images_of_a_chart_are_wanted_for_its_platforms_and_with_its_signatures() -> None:
    chart = wish_of(entry(images=True, signatures=True, platforms=frozenset({"linux/amd64"})), Kind.CHART)
    image = chart.image("a chart", is_guessed=False)
    assert chart.has_needs
    assert not image.has_needs
    assert (image.kind, image.wanted_by, image.signatures) == (Kind.IMAGE, "a chart", True)
    assert image.platforms == {"linux/amd64"}


# What may be forgotten

TARGET = Target.parse("argoproj.github.io/argo-helm/argo-cd")
OLD = Retention(TARGET, "1.0.0", "argo/argo-cd")
NEW = Retention(TARGET, "2.0.0", "argo/argo-cd")
IMAGE = Retention(Target.parse("quay.io/argoproj/argocd"), "v1", "quay.io/argoproj/argocd")
MEANT = {("argo/argo-cd", "2.0.0")}
REMOVING = entry(older=Older.REMOVE)


def going(*entries: SyncEntry, doubts: Doubts | None = None) -> list[Retention]:
    wanted = SyncList("base", charts=entries)
    return list(removals(wanted, [OLD, NEW, IMAGE], MEANT, doubts or Doubts()))


def test_what_is_meant_no_more_stays_unless_the_entry_says_remove() -> None:
    assert going(entry()) == []
    assert OLD in going(REMOVING)
    assert NEW not in going(REMOVING)


def test_it_stays_while_another_entry_that_it_could_be_of_keeps_it() -> None:
    assert OLD not in going(REMOVING, entry("argo/*"))


def test_it_stays_where_its_name_or_entry_is_in_doubt() -> None:
    assert going(REMOVING, doubts=Doubts(names={"argo/argo-cd"})) == [IMAGE]


def test_what_is_of_no_entry_stays_where_an_entry_is_in_doubt() -> None:
    assert going(REMOVING, doubts=Doubts(entries={"argo/argo-cd"})) == []


def test_images_go_as_the_entries_say_whose_charts_named_them() -> None:
    with_images = replace(REMOVING, images=True)
    assert IMAGE in going(with_images, entry("other/chart"))
    assert IMAGE not in going(with_images, entry("other/chart", images=True))


def test_what_is_kept_is_known_by_the_names_that_the_list_has_by_now() -> None:
    leading = {TARGET: ["a/new", "b/newest"]}
    meant = {("b/newest", "2.0.0")}
    kept = by_present_names([OLD, NEW, IMAGE], leading, meant)
    assert [one.name for one in kept] == ["a/new", "b/newest", IMAGE.name]
    kept = by_present_names([OLD, NEW], {TARGET: ["a/new", "argo/argo-cd"]}, {("argo/argo-cd", "1.0.0")})
    assert kept == [OLD, NEW]


def test_nothing_goes_where_it_is_not_known_what_charts_need() -> None:
    assert going(REMOVING, doubts=Doubts(are_needs_unknown=True)) == []


def test_a_name_that_means_nothing_any_more_is_in_doubt() -> None:
    assert doubtful_names(["a", "b", "c"], {"a": 0, "b": 2}) == ["a"]


def test_a_plan_sums_up_what_is_not_held_as_far_as_sizes_are_known() -> None:
    items = [
        SyncItem("a", "1", Kind.CHART, "a", is_held=True, size_bytes=5),
        SyncItem("b", f"sha256:{'0' * 64}", Kind.IMAGE, "a", is_held=False, size_bytes=7),
        SyncItem("c", "1", Kind.CHART, "a", is_held=False),
    ]
    plan = SyncPlan("base", items, [], [], [])
    assert [item.location for item in plan.fetched] == [f"b@sha256:{'0' * 64}", "c:1"]
    assert plan.size_bytes == 7


@pytest.mark.parametrize("text", ["argo/argo-cd:1.0.0", f"argo/argo-cd@sha256:{'0' * 64}"])
def test_an_item_is_known_by_name_and_reference(text: str) -> None:
    location: Location = parse_location(text, ())
    assert key_of(location) == ("argo/argo-cd", str(location.reference))


def test_of_many_remarks_some_are_told() -> None:
    told = shortened([str(number) for number in range(MOST_TOLD + 3)])
    assert len(told) == MOST_TOLD + 1
    assert told[-1] == "and 3 more"
