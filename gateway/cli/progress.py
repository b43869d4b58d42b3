"""Transfers, told while they run: bars on a terminal, a line each elsewhere; always on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from gateway.oci.urls import HttpUrl
from gateway.sources.http import Observer


@contextmanager
def shown_transfers(console: Console) -> Iterator[Observer]:
    """Give an observer that shows what it is told; ``console`` is that of standard error."""
    if console.is_terminal:
        name = TextColumn("{task.description}", markup=False)  # it is the upstream's text
        columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=console) as progress:
            yield _Bars(progress)
    else:
        lines = _Lines()
        yield lines
        lines.end()


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[HttpUrl, TaskID] = {}

    def __call__(self, url: HttpUrl, received_bytes: int, total_bytes: int | None) -> None:
        if url not in self._tasks:
            self._tasks[url] = self._progress.add_task(url.path.rpartition("/")[2], total=total_bytes)
        self._progress.update(self._tasks[url], completed=received_bytes)


class _Lines:
    """A line when a transfer is over, which is when another starts or all are done."""

    def __init__(self) -> None:
        self._received: dict[HttpUrl, int] = {}

    def __call__(self, url: HttpUrl, received_bytes: int, _total_bytes: int | None) -> None:
        if url not in self._received:
            self.end()
        self._received[url] = received_bytes

    def end(self) -> None:
        for url, received_bytes in self._received.items():
            place = f"{url.origin}{url.path}"  # a query may carry a signature
            click.echo(f"fetched {place}  {decimal(received_bytes)}", err=True)
        self._received.clear()
