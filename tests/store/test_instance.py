"""The id of a gateway: one for a data directory, whoever asks first."""

import multiprocessing
from multiprocessing.pool import AsyncResult
from pathlib import Path

import pytest

from gateway.store.blobs import StorageFailed
from gateway.store.instance import instance_id


def test_the_id_is_made_up_once_and_stays(tmp_path: Path) -> None:
    first = instance_id(tmp_path / "instance")
    assert len(first) == 16
    assert instance_id(tmp_path / "instance") == first
    assert instance_id(tmp_path / "other") != first
    assert {path.name for path in tmp_path.iterdir()} == {"instance", "other"}


def test_a_copy_gets_an_id_of_its_own(tmp_path: Path) -> None:
    first = instance_id(tmp_path / "instance")
    (tmp_path / "copied").write_bytes((tmp_path / "instance").read_bytes())
    other = instance_id(tmp_path / "copied")
    assert other != first
    assert instance_id(tmp_path / "copied") == other
    (tmp_path / "instance").rename(tmp_path / "moved")
    assert instance_id(tmp_path / "moved") == first


def test_an_id_from_before_there_were_copies_stays(tmp_path: Path) -> None:
    (tmp_path / "instance").write_text("0123456789abcdef\n")
    assert instance_id(tmp_path / "instance") == "0123456789abcdef"


@pytest.mark.parametrize("content", [b"", b"0123", b"\xff" * 16, b"G123456789abcdef\n"])
def test_what_is_no_id_is_replaced(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "instance").write_bytes(content)
    made = instance_id(tmp_path / "instance")
    assert instance_id(tmp_path / "instance") == made


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="instance"):
        instance_id(tmp_path / "missing" / "instance")


@pytest.mark.slow
def test_processes_that_start_together_have_one_id(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for number in range(25):
            asked: list[AsyncResult[str]] = [
                pool.apply_async(instance_id, (tmp_path / str(number),)) for _ in range(4)
            ]
            assert len({one.get(10) for one in asked}) == 1
