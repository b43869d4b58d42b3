"""What is held, as a person on a terminal reads it."""

import io

from rich.console import Console

from gateway.cli.list import held_table
from gateway.store.rows import HeldRow
from tests.store.samples import sample


def test_a_terminal_shows_minutes_and_a_digest_that_fits() -> None:
    made = sample(kept_at=1_795_400_096.5)
    screen = io.StringIO()
    Console(file=screen, width=120).print(held_table([HeldRow("charts.example.test/redis", made.row, 2048)]))
    _head, line = screen.getvalue().splitlines()
    assert line.split() == [
        "charts.example.test/redis",
        "1.2.3",
        *("2.0", "kB"),
        *("2026-11-23", "02:14"),
        "helm",
        str(made.row.digest)[:19],
    ]
