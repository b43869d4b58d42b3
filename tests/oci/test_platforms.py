"""Of an image index, the manifests for some platforms."""

from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest, parse_manifest
from gateway.oci.platforms import chosen_manifests, is_among, platforms_of
from tests.fakes.images import OCI, Artifact, index_of_all

INDEX = OCI.image_index(10)
AMD, ARM = (part.digest for part in INDEX.parts)
VARIANT = index_of_all(
    [
        INDEX.parts[0].descriptor(platform={"os": "linux", "architecture": "arm", "variant": "v7"}),
        INDEX.parts[1].descriptor(),
        INDEX.descriptor(platform="odd"),
    ]
)


def chosen(artifact: Artifact, *platforms: str) -> list[Digest]:
    manifest = Manifest.of(artifact.manifest, artifact.media_type)
    parsed = parse_manifest(manifest.content, manifest.media_type)
    return list(chosen_manifests(manifest, parsed, frozenset(platforms)))


def test_all_where_none_is_chosen() -> None:
    assert chosen(INDEX) == [AMD, ARM]


def test_those_that_are_chosen() -> None:
    assert chosen(INDEX, "linux/arm64") == [ARM]
    assert chosen(INDEX, "windows/amd64") == []


def test_an_image_has_none_below_it() -> None:
    assert chosen(INDEX.parts[0], "linux/arm64") == []


def test_a_platform_is_chosen_with_its_variants_and_one_that_is_not_said_is_everybodys() -> None:
    assert chosen(VARIANT, "linux/arm") == chosen(VARIANT, "linux/arm/v7") == [AMD, ARM, INDEX.digest]
    assert chosen(VARIANT, "linux/arm/v6") == [ARM, INDEX.digest]
    assert is_among(None, frozenset({"linux/arm"}))


def test_what_is_no_image_index_names_no_platforms() -> None:
    image = INDEX.parts[0]
    assert platforms_of(Manifest.of(image.manifest, image.media_type)) == {}
    assert platforms_of(Manifest.of(b"[]", image.media_type)) == {}
