"""``gateway export``: what is held, or some of it, as a bundle that crosses an air-gap."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from gateway.app import Gateway
from gateway.bundle_export import Exported, ExportFailed, ExportOptions, Tell
from gateway.bundle_selection import Selected
from gateway.bundle_signing import sign
from gateway.bundle_tar import Earlier, NoBundle, Sink, read_earlier
from gateway.bundle_volumes import (
    LEAST_VOLUME_BYTES,
    BundleFile,
    BundleVolumes,
    VolumesWrong,
    open_volumes,
    refuse_others,
)
from gateway.caretaker import exporter, selector
from gateway.cli.options import as_json, as_size, open_gateway, with_settings
from gateway.oci.location import Location, parse_location
from gateway.pull_whole import parse_list
from gateway.rules.spelling import counted
from gateway.settings import Settings
from gateway.store.disk import sync_folder

_STDOUT: Final = "-"
_COMPRESSED: Final = ".zst"
_MOST_TOLD: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What is wanted; ``out`` is None for standard output."""

    references: Sequence[str]
    list_file: Path | None
    sync: str | None
    skips_unheld: bool
    out: Path | None
    since: Sequence[Path]
    volume_bytes: int | None
    key: bytes | None
    is_compressed: bool


def _volume_size(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    size_bytes = as_size(context, option, text)
    if size_bytes is not None and size_bytes < LEAST_VOLUME_BYTES:
        raise click.BadParameter("a volume has at least 1M")
    return size_bytes


@click.command("export")
@click.argument("references", metavar="[REF]…", nargs=-1)
@click.option(
    "--list", "list_file", metavar="FILE", type=Path, help="what this file names, a reference a line"
)
@click.option("--sync", metavar="NAME", help="what the list of this name in the rules has brought")
@click.option(
    "-o",
    "--output",
    "out",
    metavar="FILE",
    required=True,
    help="the bundle, compressed if it ends in .zst; - is standard output",
)
@click.option(
    "--since",
    metavar="BUNDLE",
    type=Path,
    multiple=True,
    help="leave out what this bundle has; may be given again, for later ones",
)
@click.option(
    "--volume-size",
    "volume_bytes",
    metavar="SIZE",
    callback=_volume_size,
    help="as FILE.001, FILE.002, … of this size",
)
@click.option(
    "--sign-key",
    "key",
    metavar="FILE",
    type=Path,
    help="sign with this private key (PEM), into FILE.sig beside it",
)
@click.option("--compress", "is_compressed", is_flag=True, help="with zstd, whatever the name says")
@click.option("--allow-missing", "skips_unheld", is_flag=True, help="leave out what is not held whole")
@as_json
@with_settings
def command(  # noqa: PLR0917 (click hands over one argument for each option)
    settings: Settings,
    references: tuple[str, ...],
    list_file: Path | None,
    sync: str | None,
    out: str,
    since: tuple[Path, ...],
    volume_bytes: int | None,
    key: Path | None,
    is_compressed: bool,
    skips_unheld: bool,
    is_json: bool,
) -> None:
    """Write a bundle of what is held: everything, a list, or what each REF leads to, down to the last layer.

    Layers that were evicted are fetched again first. A bundle of the same name is replaced.
    """
    if sum(map(bool, (references, list_file, sync))) > 1:
        raise click.UsageError("expected references, --list or --sync, and not several of them")
    if out == _STDOUT and (volume_bytes or key or is_json):
        raise click.UsageError("volumes, signatures and --json need a file: -o FILE")
    if out == _STDOUT and sys.stdout.isatty():
        raise click.UsageError(
            "a bundle is nothing for a terminal: lead standard output elsewhere, or -o FILE"
        )
    wish = _Wish(
        references=references,
        list_file=list_file,
        sync=sync,
        skips_unheld=skips_unheld,
        out=None if out == _STDOUT else Path(out),
        since=since,
        volume_bytes=volume_bytes,
        key=None if key is None else _read(key),
        is_compressed=is_compressed or out.endswith(_COMPRESSED),
    )
    exported, paths = asyncio.run(_export(settings, wish))
    if is_json:
        click.echo(json.dumps(_facts(exported, paths), indent=2))
    else:
        click.echo("\n".join(_lines(exported, paths)), err=wish.out is None)


async def _export(settings: Settings, wish: _Wish) -> tuple[Exported, Sequence[Path]]:
    options = ExportOptions(wish.is_compressed, [_earlier(path) for path in wish.since])
    if wish.key is not None:
        sign(wish.key, b"")  # one that cannot be used is known before all the work
    _refuse_others(wish.out)
    async with open_gateway(settings) as gateway:
        selected = await _selected(gateway, wish)
        with _shown(Console(stderr=True)) as tell:

            def write(sink: Sink) -> Awaitable[Exported]:
                return exporter(gateway).export(selected, sink, options, tell)

            if wish.out is None:
                return await write(_Stdout()), ()
            return await _to_files(wish.out, wish, write)


def _refuse_others(out: Path | None) -> None:
    try:
        if out is not None:
            refuse_others(out)
    except OSError as error:
        raise ExportFailed(f"{out} cannot be looked at: {error.strerror}") from error


async def _selected(gateway: Gateway, wish: _Wish) -> Selected:
    choose = selector(gateway)
    if wish.sync is not None:
        return await choose.of_list(wish.sync, skips_unheld=wish.skips_unheld)
    locations = _locations(gateway, wish)
    if not locations:
        return await choose.all()
    return await choose.of(locations, skips_unheld=wish.skips_unheld)


def _locations(gateway: Gateway, wish: _Wish) -> Sequence[Location]:
    if wish.list_file is not None:
        return parse_list(_read(wish.list_file).decode(errors="replace"), gateway.own_hosts)
    return [parse_location(one, gateway.own_hosts) for one in wish.references]


async def _to_files(
    out: Path, wish: _Wish, write: Callable[[Sink], Awaitable[Exported]]
) -> tuple[Exported, Sequence[Path]]:
    """Whole and synced, or what was there before; a signature of before never stands beside it."""
    try:
        files = _open(out, wish.volume_bytes)
        try:
            exported = await write(files)
            signature = None if wish.key is None else sign(wish.key, exported.index)
            beside = out.with_name(f"{out.name}.sig")
            beside.unlink(missing_ok=True)
            paths = files.keep()
        except BaseException:
            files.abandon()
            raise
        if signature is not None:
            _write_signature(beside, signature)
            paths = [*paths, beside]
    except OSError as error:
        raise ExportFailed(f"{out} cannot be written: {error.strerror}") from error
    return exported, paths


def _open(path: Path, volume_bytes: int | None) -> BundleFile | BundleVolumes:
    return BundleFile(path) if volume_bytes is None else BundleVolumes(path, volume_bytes)


def _write_signature(path: Path, signature: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w") as file:
        file.write(f"{signature}\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync_folder(path.parent)


class _Stdout(Sink):
    def write(self, content: memoryview, /) -> None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def _earlier(path: Path) -> Earlier:
    try:
        with open_volumes(path) as stream:
            return read_earlier(stream)
    except (OSError, NoBundle, VolumesWrong) as error:
        raise ExportFailed(f"--since {path}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ExportFailed(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def _shown(console: Console) -> Iterator[Tell]:
    """A bar on a terminal, nothing elsewhere."""
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (TextColumn("exporting"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("export", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines(exported: Exported, paths: Sequence[Path]) -> Iterator[str]:
    tags, manifests = counted(exported.tags, "tag"), counted(exported.manifests, "manifest")
    content = f"{manifests} and {counted(exported.blobs, 'file')}, {decimal(exported.size_bytes)}"
    yield f"Exported: {tags} of {counted(exported.targets, 'target')}: {content}"
    if exported.since is not None:
        yield f"Since:    {exported.since}"
        if exported.left_out:
            left_out = counted(exported.left_out, "file")
            yield f"Left out: {left_out} that it has, {decimal(exported.left_out_bytes)}"
    if exported.is_empty:
        yield "There is nothing new in it" if exported.since else "There is nothing in it: nothing is held"
    for one in exported.skipped[:_MOST_TOLD]:
        yield f"Skipped:  {one}"
    if len(exported.skipped) > _MOST_TOLD:
        yield f"Skipped:  {len(exported.skipped) - _MOST_TOLD} more that are not held whole"
    for path in paths:
        yield f"Wrote:    {path}"


def _facts(exported: Exported, paths: Sequence[Path]) -> dict[str, object]:
    return {
        "targets": exported.targets,
        "tags": exported.tags,
        "manifests": exported.manifests,
        "blobs": exported.blobs,
        "size_bytes": exported.size_bytes,
        "since": exported.since,
        "left_out": {"count": exported.left_out, "bytes": exported.left_out_bytes},
        "skipped": list(exported.skipped),
        "files": [str(path) for path in paths],
    }
