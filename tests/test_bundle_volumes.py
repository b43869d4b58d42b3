"""A bundle is written beside its name, and has it once it is whole; volumes are read as one file."""

from pathlib import Path

import pytest

from gateway.bundle_volumes import BundleFile, BundleVolumes, VolumesWrong, open_volumes, refuse_others
from tests.bundle_house import Bundle, chart

pytestmark = pytest.mark.slow

BUNDLE = Bundle().add("a.example/demo", {"1": chart("demo", "1")}).tar()


def write(sink: BundleFile | BundleVolumes, content: bytes = BUNDLE) -> list[str]:
    sink.write(memoryview(content))
    return [path.name for path in sink.keep()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(path: Path) -> bytes:
    with open_volumes(path) as stream:
        return stream.read()


def test_a_file_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    sink = BundleFile(tmp_path / "x.tar")
    sink.write(memoryview(BUNDLE))
    assert names(tmp_path) == ["x.tar.partial"]
    sink.keep()
    assert names(tmp_path) == ["x.tar"]
    assert read(tmp_path / "x.tar") == BUNDLE


def test_what_is_abandoned_leaves_what_was_there(tmp_path: Path) -> None:
    write(BundleFile(tmp_path / "x.tar"))
    for sink in (BundleFile(tmp_path / "x.tar"), BundleVolumes(tmp_path / "x.tar", 1000)):
        sink.write(memoryview(b"half"))
        sink.abandon()
        assert (names(tmp_path), read(tmp_path / "x.tar")) == (["x.tar"], BUNDLE)


def test_parts_are_written_where_they_belong(tmp_path: Path) -> None:
    sink = BundleFile(tmp_path / "x.tar")
    sink.write_at(3, memoryview(b"def"))
    sink.write_at(0, memoryview(b"abc"))
    sink.keep()
    assert (read(tmp_path / "x.tar"), sink.size_bytes) == (b"abcdef", 6)


def test_leftovers_of_a_killed_export_are_written_over(tmp_path: Path) -> None:
    (tmp_path / "x.tar.partial").write_bytes(b"left" * 100_000)
    write(BundleFile(tmp_path / "x.tar"))
    assert (names(tmp_path), read(tmp_path / "x.tar")) == (["x.tar"], BUNDLE)


def test_two_exports_to_one_name_do_not_mix(tmp_path: Path) -> None:
    first = BundleFile(tmp_path / "x.tar")
    with pytest.raises(VolumesWrong, match="another export is writing"):
        BundleFile(tmp_path / "x.tar")
    write(first)
    assert read(tmp_path / "x.tar") == BUNDLE


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 3000])
def test_volumes_joined_are_the_bundle_and_the_last_is_smaller(tmp_path: Path, size: int) -> None:
    content = bytes(range(250)) * 12
    made = write(BundleVolumes(tmp_path / "x.tar", 1000), content[:size])
    assert made == [f"x.tar.{number:03d}" for number in range(1, size // 1000 + 2)]
    assert names(tmp_path) == made
    assert b"".join((tmp_path / name).read_bytes() for name in made) == content[:size]
    assert (tmp_path / made[-1]).stat().st_size < 1000
    for name in ("x.tar", "x.tar.001"):
        assert read(tmp_path / name) == content[:size]


def test_volumes_of_a_longer_export_go(tmp_path: Path) -> None:
    write(BundleVolumes(tmp_path / "x.tar", 1000), b"old" * 2000)
    (tmp_path / "x.tar.009.partial").write_bytes(b"left over")
    (tmp_path / "x.tar.note").write_bytes(b"mine")
    made = write(BundleVolumes(tmp_path / "x.tar", 1000), b"new" * 500)
    assert names(tmp_path) == sorted([*made, "x.tar.note"])
    assert read(tmp_path / "x.tar") == b"new" * 500


def test_one_file_takes_the_place_of_volumes_and_volumes_that_of_a_file(tmp_path: Path) -> None:
    write(BundleVolumes(tmp_path / "x.tar", 1000), b"old" * 2000)
    write(BundleFile(tmp_path / "x.tar"), b"new")
    assert names(tmp_path) == ["x.tar"]
    write(BundleVolumes(tmp_path / "x.tar", 1000), b"newer")
    assert names(tmp_path) == ["x.tar.001"]


def test_a_volume_that_is_missing_is_named(tmp_path: Path) -> None:
    volumes = write(BundleVolumes(tmp_path / "x.tar", 1000), b"abc" * 1100)
    for missing in volumes:
        content = (tmp_path / missing).read_bytes()
        (tmp_path / missing).unlink()
        with pytest.raises(VolumesWrong, match=rf"{missing} is missing"):
            read(tmp_path / "x.tar")
        (tmp_path / missing).write_bytes(content)


@pytest.mark.parametrize("grown", ["x.tar.002", "x.tar.004"])
def test_a_volume_of_another_bundle_is_named(tmp_path: Path, grown: str) -> None:
    write(BundleVolumes(tmp_path / "x.tar", 1000), b"abc" * 1100)
    (tmp_path / grown).write_bytes(b"x" * 1500)
    with pytest.raises(VolumesWrong, match=grown):
        read(tmp_path / "x.tar")


def test_a_bundle_whose_name_looks_like_a_volume_is_one(tmp_path: Path) -> None:
    (tmp_path / "backup.2026").write_bytes(BUNDLE)
    assert read(tmp_path / "backup.2026") == BUNDLE


def test_nothing_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "x.tar", tmp_path / "none" / "x.tar"):
        with pytest.raises(VolumesWrong, match="there is no"):
            open_volumes(path)


def test_what_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    refuse_others(path)
    for bundle in (b"", BUNDLE):
        path.write_bytes(bundle)
        refuse_others(path)
    for other in (b"my letters", b"\x28\xb5\x2f\xfd no zstd"):
        path.write_bytes(other)
        with pytest.raises(VolumesWrong, match="is no bundle"):
            refuse_others(path)
    path.unlink()
    (tmp_path / "x.tar.001").write_bytes(b"my letters")
    with pytest.raises(VolumesWrong, match=r"x\.tar\.001 is there"):
        refuse_others(path)


def test_an_export_killed_between_two_renames_goes_on(tmp_path: Path) -> None:
    write(BundleVolumes(tmp_path / "x.tar", 1000), b"old" * 1000)
    (tmp_path / "x.tar.001").rename(tmp_path / "x.tar.001.partial")
    refuse_others(tmp_path / "x.tar")
    (tmp_path / "x.tar.001.partial").unlink()
    with pytest.raises(VolumesWrong, match=r"x\.tar\.002 is there, and is no bundle"):
        refuse_others(tmp_path / "x.tar")
