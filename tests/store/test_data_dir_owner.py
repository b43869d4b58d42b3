"""Whose the data directory is: what others may write to is not served from."""

import os
from pathlib import Path

import pytest

from gateway.store.data_dir import DataDir, DataDirError
from tests.conftest import missing


def test_a_data_directory_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    for mode in (0o777, 0o1777, 0o702):
        tmp_path.chmod(mode)
        with pytest.raises(DataDirError, match=f"chmod o-w {tmp_path}"):
            DataDir(tmp_path)
        assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o775)
    DataDir(tmp_path).close()


def test_a_data_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid():
        missing("no root, who may give folders away")
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(DataDirError, match="belongs to another user"):
        DataDir(tmp_path)
    assert list(tmp_path.iterdir()) == []
