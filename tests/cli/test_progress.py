"""Transfers are shown on a terminal whatever upstream calls its files."""

import io

import pytest
from rich.console import Console

from gateway.cli.progress import shown_transfers
from gateway.oci.urls import parse_upstream_url


@pytest.mark.parametrize("name", ["demo-1.0.0.tgz", "[red]demo.tgz", "[bold"])
def test_a_bar_bears_the_files_name_as_it_is(name: str) -> None:
    assert name in _shown(f"https://a.example/{name}", is_terminal=True)


def test_a_name_that_reads_as_markup_breaks_no_bar() -> None:
    assert "]" in _shown("https://a.example/[/]", is_terminal=True)


def test_elsewhere_a_finished_transfer_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert _shown("https://a.example/demo.tgz?sig=SECRET", is_terminal=False) == ""
    assert capsys.readouterr().err == "fetched https://a.example/demo.tgz  512 bytes\n"


def _shown(url: str, *, is_terminal: bool) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=120, color_system=None)
    with shown_transfers(console) as observe:
        observe(parse_upstream_url(url), 512, 1024)
    return screen.getvalue()
