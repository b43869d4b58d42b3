"""The generation: one number that every process and thread on a data directory sees move."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.store.generation import LocalGeneration, MappedGeneration

_ADVANCER = """
import sys
from pathlib import Path

from gateway.store.generation import MappedGeneration

generation = MappedGeneration(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(30_000):
    generation.advance()
"""


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[MappedGeneration]:
    generation = MappedGeneration(tmp_path / "generation")
    yield generation
    generation.close()


@pytest.fixture
def eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_number_for_one_process_moves_by_one() -> None:
    generation = LocalGeneration()
    assert generation.current() == 0
    generation.advance()
    assert generation.current() == 1


def test_another_mapping_of_the_file_sees_it_move(tmp_path: Path, mapped: MappedGeneration) -> None:
    other = MappedGeneration(tmp_path / "generation")
    mapped.advance()
    assert other.current() == 1
    other.advance()
    assert mapped.current() == 2
    other.close()


def test_it_stays_over_a_restart(tmp_path: Path, mapped: MappedGeneration) -> None:
    mapped.advance()
    again = MappedGeneration(tmp_path / "generation")
    assert again.current() == 1
    again.close()


def test_the_file_is_for_ourselves_only(tmp_path: Path, mapped: MappedGeneration) -> None:
    assert mapped.current() == 0
    assert (tmp_path / "generation").stat().st_mode & 0o777 == 0o600


def test_closing_it_twice_closes_nobody_elses_file(tmp_path: Path) -> None:
    generation = MappedGeneration(tmp_path / "generation")
    generation.close()
    with (tmp_path / "generation").open("rb") as file:  # has the same number now
        generation.close()
        assert len(file.read()) == 8


@pytest.mark.usefixtures("eager_switching")
def test_no_step_of_many_threads_is_lost(mapped: MappedGeneration) -> None:
    """A number that came back would make old tags look fresh."""

    def advance(_number: int) -> None:
        for _ in range(500):
            mapped.advance()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(advance, range(4)))
    assert mapped.current() == 2000


@pytest.mark.slow
def test_no_step_of_many_processes_is_lost(tmp_path: Path, mapped: MappedGeneration) -> None:
    command = [sys.executable, "-c", _ADVANCER, str(tmp_path / "generation")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert mapped.current() == 90_000


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no way to ask for room here")
def test_the_file_has_its_room_from_the_start(tmp_path: Path) -> None:
    generation = MappedGeneration(tmp_path / "generation")
    generation.close()
    assert (tmp_path / "generation").stat().st_blocks > 0  # else a full disk kills whoever touches the map
