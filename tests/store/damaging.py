"""Ways in which a catalog comes to harm, and rows by which to know it again."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

_PAGE_BYTES = 4096
AS_OF_0003 = """
    DROP TABLE pins; DROP TABLE retentions; DROP TABLE sync_runs; DROP TABLE chart_needs;
    DROP TABLE admin_tokens; DROP TABLE admin_sessions; DROP TABLE audit; DROP TABLE activity;
    DROP TABLE rule_hits; DROP TABLE recent_pulls; DROP TABLE events; DROP TABLE upstream_states;
    DROP TABLE jobs;
    UPDATE alembic_version SET version_num = '0003';
"""


def note(catalog: Path, name: str) -> None:
    """Write a row that tells this state of the catalog."""
    with closing(sqlite3.connect(catalog)) as connection, connection:
        connection.execute("INSERT INTO private_targets VALUES (?, 0)", (name,))


def noted(catalog: Path) -> set[str]:
    with closing(sqlite3.connect(catalog)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {name for (name,) in connection.execute("SELECT target FROM private_targets")}


def overwrite_first_page(catalog: Path) -> None:
    _overwrite(catalog, 0)


def overwrite_second_page(catalog: Path) -> None:
    _overwrite(catalog, _PAGE_BYTES)


def make_it_text(catalog: Path) -> None:
    catalog.write_text("a letter home\n" * 1000)


def replace_it_by_text(catalog: Path) -> None:
    other = catalog.with_name("other")
    make_it_text(other)
    other.replace(catalog)


def make_it_a_folder(catalog: Path) -> None:
    catalog.unlink()
    catalog.mkdir()
    (catalog / "something").touch()


def make_it_a_pipe(catalog: Path) -> None:
    catalog.unlink()
    os.mkfifo(catalog)


def link_it_to_nowhere(catalog: Path) -> None:
    catalog.unlink()
    catalog.symlink_to("nowhere")


def link_it_to_text(catalog: Path) -> None:
    make_it_text(catalog.with_name("letter"))
    catalog.unlink()
    catalog.symlink_to("letter")


def delete(catalog: Path) -> None:
    catalog.unlink()


def cut_to(size_bytes: int) -> Callable[[Path], None]:
    def cut(catalog: Path) -> None:
        os.truncate(catalog, size_bytes)

    return cut


def cut_in_half(catalog: Path) -> None:
    os.truncate(catalog, catalog.stat().st_size // 2)


def cut_last_page(catalog: Path) -> None:
    os.truncate(catalog, catalog.stat().st_size - _PAGE_BYTES)


LOSSES: Mapping[str, Callable[[Path], None]] = {
    harm.__name__: harm
    for harm in (
        overwrite_first_page,
        overwrite_second_page,
        make_it_text,
        make_it_a_folder,
        make_it_a_pipe,
        link_it_to_nowhere,
        link_it_to_text,
        delete,
        cut_in_half,
        cut_last_page,
    )
} | {f"cut_to_{size}_bytes": cut_to(size) for size in (0, 1, 15, 16, 99, 100, 512, 4095, 4096, 4097, 8192)}


def _overwrite(catalog: Path, offset: int) -> None:
    with catalog.open("r+b") as file:
        file.seek(offset)
        file.write(os.urandom(_PAGE_BYTES))


WRITTEN_AHEAD = 40 * 3000
_MUCH = """
import os, signal, sqlite3, sys

catalog = sqlite3.connect(sys.argv[1])
catalog.execute("PRAGMA wal_autocheckpoint=0")
for step in range(40):
    with catalog:
        rows = ((f"{step}-{number}.example/" + "x" * 200, 0.0) for number in range(3000))
        catalog.executemany("INSERT INTO private_targets VALUES (?, ?)", rows)
os.kill(os.getpid(), signal.SIGKILL)
"""


def write_much_and_die(catalog: Path) -> None:
    """Leave WRITTEN_AHEAD rows in the log, where a killed process left them."""
    subprocess.run([sys.executable, "-c", _MUCH, str(catalog)], check=False)
