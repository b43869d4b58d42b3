"""What is taken along: platforms that were pulled, blobs, signatures; and what is not whole is named."""

from collections.abc import Sequence

from gateway.bundle_walk import Walk, walk
from gateway.oci.digest import Digest
from gateway.oci.manifest import EdgeKind
from gateway.oci.media_types import OCI_MANIFEST
from gateway.oci.target import Target
from gateway.store.bundle_rows import HeldManifest, HeldTag, HeldTarget, Named

TARGET = Target.parse("registry.example.test/team/app")
SIZE = 7


def of(name: str) -> Digest:
    return Digest.of(name.encode())


def target(
    manifests: dict[str, Sequence[str]],
    tags: dict[str, str],
    *,
    indexes: Sequence[str] = (),
    subjects: dict[str, str] | None = None,
    evicted: Sequence[str] = (),
) -> HeldTarget:
    """``manifests`` by what they name: ``indexes`` name manifests, others blobs, held but for ``evicted``."""
    held = HeldTarget(TARGET, is_private=False, names=["app"])
    for name, parts in manifests.items():
        kind = EdgeKind.MANIFEST if name in indexes else EdgeKind.LAYER
        subject = of((subjects or {})[name]) if name in (subjects or {}) else None
        named = [Named(kind, of(part), SIZE) for part in parts]
        held.manifests[of(name)] = HeldManifest(
            of(name), OCI_MANIFEST, SIZE, subject, 1.0, named, [("plain", "registry")]
        )
        if kind is EdgeKind.LAYER:
            held.blobs |= {of(part) for part in parts if part not in evicted}
    held.tags = [tag_of(tag, name) for tag, name in tags.items()]
    return held


def tag_of(tag: str, name: str) -> HeldTag:
    return HeldTag(tag, "plain", "registry", str(of(name)), tag, True, None, "", 1.0, 1.0)


def walked(held: HeldTarget, wish: set[str] | None = None) -> Walk:
    return walk(held, None if wish is None else frozenset(wish), lambda _digest: SIZE)


def tags_of(found: Walk) -> list[str]:
    return sorted(tag.tag for tag in found.tags)


def told(found: Walk) -> list[str]:
    return [str(one) for one in found.unheld]


def test_a_tag_takes_its_manifest_and_all_blobs_along() -> None:
    found = walked(target({"app": ["config", "layer"], "other": ["x"]}, {"1": "app", "2": "other"}), {"1"})
    assert found.manifests == {of("app")}
    assert found.blobs == {of("config"): SIZE, of("layer"): SIZE}
    assert (tags_of(found), found.unheld) == (["1"], [])


def test_platforms_that_were_never_pulled_are_no_fault() -> None:
    held = target(
        {"index": ["amd", "arm"], "amd": ["a"], "arm": ["b"]},
        {"1": "index"},
        indexes=["index"],
        evicted=["b"],
    )
    held.manifests[of("index")].names.append(Named(EdgeKind.MANIFEST, of("never asked for"), SIZE))
    found = walked(held, {"1"})
    assert found.manifests == {of("index"), of("amd")}
    assert found.unheld == []


def test_a_platform_that_lost_a_layer_is_one() -> None:
    held = target({"index": ["amd"], "amd": ["a", "b"]}, {"1": "index"}, indexes=["index"], evicted=["b"])
    assert told(walked(held, {"1"})) == [f"app:1: {of('b')} was never pulled"]


def test_an_image_of_which_no_platform_was_pulled_is_one() -> None:
    held = target({"index": ["amd"]}, {"1": "index"}, indexes=["index"])
    assert told(walked(held, {"1"})) == ["app:1: nothing but its manifest is held"]


def test_what_was_looked_up_and_never_pulled_is_no_part_of_everything() -> None:
    held = target({"app": ["a"], "seen": ["b"]}, {"1": "app", "2": "seen"}, evicted=["b"])
    found = walked(held)
    assert (tags_of(found), found.unheld) == (["1"], [])


def test_what_lost_a_layer_is_named_where_everything_is_wanted() -> None:
    held = target({"app": ["a", "b"]}, {"1": "app"}, evicted=["b"])
    assert told(walked(held)) == [f"app:1: {of('b')} was never pulled"]


def test_a_file_of_another_size_is_not_what_the_manifest_means() -> None:
    found = walk(target({"app": ["a"]}, {"1": "app"}), frozenset({"1"}), lambda _digest: SIZE + 1)
    assert told(found) == [f"app:1: {of('a')} has 8 bytes, and its manifest says 7"]


def test_a_file_that_is_gone_is_lacking() -> None:
    found = walk(target({"app": ["a"]}, {"1": "app"}), frozenset({"1"}), lambda _digest: None)
    assert told(found) == [f"app:1: {of('a')} is no more held"]


def test_content_that_is_named_by_sha512_is_told() -> None:
    held = target({"app": ["a"]}, {"1": "app"})
    digest = Digest("sha512", "0" * 128)
    held.manifests[of("app")].names.append(Named(EdgeKind.LAYER, digest, SIZE))
    (line,) = told(walked(held, {"1"}))
    assert line.endswith("is named by sha512, and bundles carry sha256 alone")


def test_what_refers_to_it_comes_along_and_what_refers_to_that() -> None:
    held = target(
        {"app": ["a"], "sbom": ["s"], "signature of sbom": ["t"], "of another": ["u"]},
        {"1": "app"},
        subjects={"sbom": "app", "signature of sbom": "sbom", "of another": "elsewhere"},
    )
    found = walked(held, {"1"})
    assert found.manifests == {of("app"), of("sbom"), of("signature of sbom")}
    assert found.loose == {of("sbom"), of("signature of sbom")}


def test_signatures_by_tag_come_along() -> None:
    signature = f"sha256-{of('app').hex}.sig"
    found = walked(target({"app": ["a"], "sig": ["s"]}, {"1": "app", signature: "sig"}), {"1"})
    assert tags_of(found) == sorted(["1", signature])


def test_a_signature_that_is_not_whole_stays_behind() -> None:
    held = target({"app": ["a"], "sig": ["s", "t"]}, {"1": "app"}, subjects={"sig": "app"}, evicted=["t"])
    found = walked(held, {"1"})
    assert (found.manifests, found.unheld) == ({of("app")}, [])


def test_a_digest_is_taken_without_any_tag() -> None:
    found = walked(target({"app": ["a"]}, {"1": "app"}), {str(of("app"))})
    assert (found.manifests, found.loose, found.tags) == ({of("app")}, {of("app")}, [])


def test_what_is_not_held_at_all_is_named() -> None:
    assert told(walked(target({}, {}), {"9"})) == ["app:9: is not held"]


def test_the_platforms_of_an_image_are_listed_as_what_no_tag_names() -> None:
    held = target({"index": ["amd"], "amd": ["a"]}, {"1": "index"}, indexes=["index"])
    found = walked(held, {"1"})
    assert [one.digest for one in found.bundled(held).untagged] == [str(of("amd"))]
    assert found.loose == set()
