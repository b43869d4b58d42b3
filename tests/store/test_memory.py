"""The memory of a worker: quick, bounded, and never older than the shared generation."""

import dataclasses

import pytest

from gateway.oci.manifest import Manifest
from gateway.oci.media_types import OCI_MANIFEST
from gateway.store.generation import LocalGeneration
from gateway.store.memory import HeldManifest, Memory
from gateway.store.rows import Right
from tests.store.samples import NAME, OTHER, TARGET, Sample, sample

KEY = (NAME, "plain", "1.2.3")


@pytest.fixture
def generation() -> LocalGeneration:
    return LocalGeneration()


@pytest.fixture
def memory(generation: LocalGeneration) -> Memory:
    return Memory(10_000, generation)


def held(made: Sample) -> HeldManifest:
    return HeldManifest(made.kept.manifest, made.row)


def manifest_of(size_bytes: int, fill: bytes) -> Manifest:
    return Manifest.of(fill * size_bytes, OCI_MANIFEST)


def test_a_tag_is_found_with_its_manifest_until_the_generation_moves(
    memory: Memory, generation: LocalGeneration
) -> None:
    made = sample()
    assert memory.find_tag(KEY) is None
    memory.keep_tag(KEY, held(made), memory.generation())
    assert memory.find_tag(KEY) == held(made)
    assert memory.find_manifest(TARGET, made.digest) == made.kept.manifest
    generation.advance()
    assert memory.find_tag(KEY) is None
    assert memory.find_manifest(TARGET, made.digest) is None


def test_what_was_read_before_the_generation_moved_is_old_from_the_start(
    memory: Memory, generation: LocalGeneration
) -> None:
    made, before = sample(), memory.generation()
    generation.advance()
    memory.keep_tag(KEY, held(made), before)
    assert memory.find_tag(KEY) is None
    assert memory.find_manifest(TARGET, made.digest) is None


def test_content_in_memory_is_served_only_to_the_target_that_has_the_right(memory: Memory) -> None:
    made = sample()
    memory.keep_manifest(TARGET, made.kept.manifest, memory.generation())
    assert memory.find_manifest(OTHER, made.digest) is None
    memory.keep_manifest(OTHER, made.kept.manifest, memory.generation())
    assert memory.find_manifest(OTHER, made.digest) == made.kept.manifest


def test_the_right_to_a_blob_is_its_targets_and_no_right_to_a_manifest(
    memory: Memory, generation: LocalGeneration
) -> None:
    made = sample()
    memory.keep_right(TARGET, made.layer, Right(7, "helm"), memory.generation())
    assert memory.find_right(TARGET, made.layer) == Right(7, "helm")
    assert memory.find_right(OTHER, made.layer) is None
    memory.keep_manifest(TARGET, made.kept.manifest, memory.generation())
    assert memory.find_right(TARGET, made.digest) is None
    generation.advance()
    assert memory.find_right(TARGET, made.layer) is None


def test_the_least_used_manifests_make_room_within_the_bound(memory: Memory) -> None:
    first, second, third = (manifest_of(4_000, fill) for fill in (b"1", b"2", b"3"))
    for manifest in (first, second):
        memory.keep_manifest(TARGET, manifest, memory.generation())
    assert memory.find_manifest(TARGET, first.digest) == first  # used again: the other one is the older now
    memory.keep_manifest(TARGET, third, memory.generation())
    assert memory.find_manifest(TARGET, first.digest) == first
    assert memory.find_manifest(TARGET, second.digest) is None
    assert memory.find_manifest(TARGET, third.digest) == third


def test_a_manifest_larger_than_the_whole_memory_is_not_kept_and_harms_nobody(memory: Memory) -> None:
    small, large = manifest_of(100, b"1"), manifest_of(10_001, b"2")
    memory.keep_manifest(TARGET, small, memory.generation())
    memory.keep_manifest(TARGET, large, memory.generation())
    assert memory.find_manifest(TARGET, large.digest) is None
    assert memory.find_manifest(TARGET, small.digest) == small


def test_a_tag_whose_manifest_made_room_is_not_found(memory: Memory) -> None:
    made = sample()
    memory.keep_tag(KEY, held(made), memory.generation())
    memory.keep_manifest(TARGET, manifest_of(10_000, b"1"), memory.generation())
    assert memory.find_tag(KEY) is None


def test_a_tag_that_moved_is_found_as_it_is_now(memory: Memory) -> None:
    before, after = sample(), sample(content=b"republished")
    memory.keep_tag(KEY, held(before), memory.generation())
    memory.keep_tag(KEY, held(after), memory.generation())
    assert memory.find_tag(KEY) == held(after)


def test_a_held_manifest_cannot_be_changed(memory: Memory) -> None:
    made = sample()
    memory.keep_tag(KEY, held(made), memory.generation())
    found = memory.find_tag(KEY)
    assert found is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.row = made.row  # type: ignore[misc]
