"""A difference has what is new or changed, and names what it leaves out."""

from dataclasses import replace

import msgspec

from gateway.bundle import BundledManifest, BundledTag, BundledTarget, Contents
from gateway.bundle_difference import Difference, difference
from gateway.bundle_selection import Selected
from gateway.oci.digest import Digest
from gateway.oci.manifest import EdgeKind
from gateway.oci.media_types import OCI_MANIFEST
from gateway.store.bundle_rows import HeldManifest, Named

BASE = Digest.of(b"base")  # a layer of all of them


def manifest(name: str) -> HeldManifest:
    blobs = [Named(EdgeKind.LAYER, digest, 5) for digest in (BASE, Digest.of(f"layer of {name}".encode()))]
    return HeldManifest(Digest.of(name.encode()), OCI_MANIFEST, 9, None, 1.0, blobs, [("plain", "registry")])


def selected(tags: dict[str, str], untagged: str = "", *, target: str = "a.example/app") -> Selected:
    held = {one.digest: one for one in map(manifest, (*tags.values(), *untagged.split()))}
    loose = [Digest.of(name.encode()) for name in untagged.split()]
    rows = [
        BundledTag(tag, "plain", "registry", str(Digest.of(name.encode())), tag, True, None, "", 1.0, 1.0)
        for tag, name in tags.items()
    ]
    bundled = BundledTarget(
        target, ["app"], False, rows, [BundledManifest(str(one), "plain", "registry") for one in loose]
    )
    return Selected(
        targets=[bundled],
        manifests=held,
        blobs={named.digest: named.size_bytes for one in held.values() for named in one.names},
        references={f"app:{tag}": Digest.of(name.encode()) for tag, name in tags.items()},
        loose=frozenset(loose),
        places={},
        skipped=(),
        kept_at=1.0,
    )


def contents(made: Difference) -> Contents:
    return Contents(1, "1", 1.0, None, made.targets, made.contents)


def whole(one: Selected) -> Contents:
    return contents(difference(one, ()))


def here(made: Difference) -> set[str]:
    return {one.digest for one in made.contents if not one.is_left_out}


def digests(*names: str) -> set[str]:
    return {str(Digest.of(name.encode())) for name in names}


def test_without_an_earlier_bundle_all_of_it_is_new() -> None:
    made = difference(selected({"1": "one"}), ())
    assert here(made) == digests("one", "layer of one", "base")
    assert list(made.references) == ["app:1"]


def test_nothing_new_is_nothing_at_all() -> None:
    made = difference(selected({"1": "one"}, "loose"), [whole(selected({"1": "one"}, "loose"))])
    assert (made.targets, made.contents, dict(made.references), made.loose) == ([], [], {}, [])


def test_a_new_tag_comes_with_what_is_new_of_it() -> None:
    made = difference(selected({"1": "one", "2": "two"}), [whole(selected({"1": "one"}))])
    assert here(made) == digests("two", "layer of two")
    assert {one.digest for one in made.contents if one.is_left_out} == digests("base")
    assert list(made.references) == ["app:2"]


def test_a_tag_that_moved_is_new() -> None:
    made = difference(selected({"1": "two"}), [whole(selected({"1": "one"}))])
    assert [tag.digest for tag in made.targets[0].tags] == [*digests("two")]


def test_a_tag_that_moved_back_is_new_after_two_bundles() -> None:
    first, second = whole(selected({"1": "one"})), whole(selected({"1": "two"}))
    made = difference(selected({"1": "one"}), [first, second])
    assert (list(made.references), here(made)) == (["app:1"], set())


def test_a_bundle_after_two_leaves_out_what_either_has() -> None:
    first = whole(selected({"1": "one"}))
    second = contents(difference(selected({"1": "one", "2": "two"}), [first]))
    made = difference(selected({"1": "one", "2": "two", "3": "three"}), [first, second])
    assert here(made) == digests("three", "layer of three")


def test_that_a_tag_stays_there_is_new_though_the_tag_is_known() -> None:
    earlier = selected({"1": "one"})
    (target,) = earlier.targets
    now = replace(earlier, targets=[msgspec.structs.replace(target, homes={"app": ["1"]})])
    made = difference(now, [whole(earlier)])
    assert [(one.tags, one.homes) for one in made.targets] == [([], {"app": ["1"]})]
    assert difference(now, [whole(earlier), contents(made)]).targets == []


def test_what_another_target_had_is_named_for_this_one_and_left_out() -> None:
    earlier = whole(selected({"1": "one"}, target="b.example/app"))
    made = difference(selected({"1": "one"}), [earlier])
    assert (here(made), len(made.contents), len(made.targets)) == (set(), 3, 1)


def test_a_new_name_and_a_target_that_became_private_are_news() -> None:
    one = selected({"1": "one"})
    earlier = [whole(one)]
    (bundled,) = one.targets
    for changed in (
        BundledTarget(bundled.target, ["app", "other"], False, bundled.tags, []),
        BundledTarget(bundled.target, ["app"], True, bundled.tags, []),
    ):
        made = difference(replace(one, targets=[changed]), earlier)
        assert (made.targets[0].tags, made.contents) == ([], [])


def test_contents_stand_in_the_order_of_their_digests_manifests_first() -> None:
    made = difference(selected({"1": "one", "2": "two"}), ())
    manifests = [one.digest for one in made.contents if one.media_type]
    blobs = [one.digest for one in made.contents if not one.media_type]
    assert [one.digest for one in made.contents] == sorted(manifests) + sorted(blobs)
