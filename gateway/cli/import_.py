"""``gateway import``: take in what a bundle brings, whole or not at all; also beside a running server."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from gateway.bundle_import import ImportOptions, ImportReport, Tell
from gateway.bundle_volumes import VolumesWrong, open_volumes
from gateway.caretaker import importer
from gateway.cli.options import as_json, as_size, open_gateway, with_settings
from gateway.cli.shown import iso_time, minute
from gateway.oci.digest import short_digest
from gateway.rules.route import PLAIN
from gateway.rules.spelling import counted
from gateway.settings import Settings
from gateway.store.import_rows import Fate, ImportedTag

_STDIN: Final = "-"
_VOLUME: Final = re.compile(r"\.[0-9]{3,6}")
_MAX_SIGNATURE_BYTES: Final = 4096
_MAX_KEY_BYTES: Final = 64 << 10
_SHOWN: Final = 50  # tags of one kind; all of them in JSON


class FileUnreadable(Exception):
    """A file that was named cannot be read; the message says why."""


@click.command("import")
@click.argument("bundle", metavar="BUNDLE")
@click.option(
    "--dry-run", "is_dry", is_flag=True, help="verify all of it, tell what would change, change nothing"
)
@click.option("--replace", "replaces", is_flag=True, help="also tags that are held with other content")
@click.option("--with-rules", "applies_rules", is_flag=True, help="put the bundle's rules in force, too")
@click.option(
    "--verify-key",
    "key",
    metavar="FILE",
    type=Path,
    help="refuse what is not signed with this public key (PEM)",
)
@click.option("--signature", metavar="FILE", type=Path, help="instead of BUNDLE.sig")
@click.option(
    "--max-bytes",
    "max_bytes",
    metavar="SIZE",
    callback=as_size,
    help="at most so much that is new  [what is free]",
)
@as_json
@with_settings
def command(  # noqa: PLR0917 (click hands over one argument for each option)
    settings: Settings,
    bundle: str,
    is_dry: bool,
    replaces: bool,
    applies_rules: bool,
    key: Path | None,
    signature: Path | None,
    max_bytes: int | None,
    is_json: bool,
) -> None:
    """Take in BUNDLE: what ``gateway export`` wrote, one file or its volumes, or - for standard input.

    All of it is verified before anything is changed. A tag that is held with other content stays as it is.
    """
    options = ImportOptions(
        is_dry=is_dry,
        replaces=replaces,
        applies_rules=applies_rules,
        public_key=None if key is None else _read(key, _MAX_KEY_BYTES),
        signature=_signature(bundle, signature),
        max_bytes=max_bytes,
    )
    with _opened(bundle) as (stream, total_bytes):
        report = asyncio.run(_import(settings, stream, replace(options, total_bytes=total_bytes)))
    if is_json:
        click.echo(json.dumps(_facts(report), indent=2))
    else:
        click.echo("\n".join((*_lines(report), *_rules(report, is_wanted=applies_rules))))
    sys.exit(1 if report.is_failure else 0)


async def _import(settings: Settings, stream: BinaryIO, options: ImportOptions) -> ImportReport:
    async with open_gateway(settings) as gateway:
        with _shown(Console(stderr=True)) as tell:
            return await importer(gateway).import_(stream, options, tell)


@contextmanager
def _opened(bundle: str) -> Iterator[tuple[BinaryIO, int]]:
    """The bytes, and how many there are, 0 where nobody knows."""
    if bundle == _STDIN:
        yield sys.stdin.buffer, 0
        return
    path = Path(bundle)
    try:
        with open_volumes(path) as stream:
            yield stream, path.stat().st_size if path.is_file() and not _VOLUME.fullmatch(path.suffix) else 0
    except (OSError, VolumesWrong) as error:
        raise FileUnreadable(f"{bundle} cannot be read: {error}") from error


def _signature(bundle: str, named: Path | None) -> str | None:
    """What was signed lies beside the bundle, and not beside each volume."""
    if named is None:
        path = Path(bundle)
        base = path.with_suffix("") if _VOLUME.fullmatch(path.suffix) else path
        named = base.with_name(f"{base.name}.sig")
        if bundle == _STDIN or not named.is_file():
            return None
    return _read(named, _MAX_SIGNATURE_BYTES).decode(errors="replace")


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most_bytes)
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def _shown(console: Console) -> Iterator[Tell]:
    """A bar on a terminal, nothing elsewhere."""
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (TextColumn("verifying"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("import", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)


def _lines(report: ImportReport) -> Iterator[str]:
    would = "would be " if report.is_dry else ""
    yield f"made {minute(report.made_at)} by version {report.version}" + (
        f", the difference to {report.since}" if report.since else ""
    )
    yield from _tags(report, Fate.ADDED, f"{would}added")
    yield from _tags(report, Fate.REPLACED, f"{would}replaced")
    yield from _tags(report, Fate.KEPT, "kept as it was")
    kept = len(report.tags_that_are(Fate.KEPT))
    if kept:
        are = "1 tag is" if kept == 1 else f"{kept} tags are"
        stay = "stays" if kept == 1 else "stay"
        yield f"{are} held with other content, and {stay}: --replace takes what the bundle has"
    counts = ", ".join(f"{len(report.tags_that_are(fate))} {fate.value}" for fate in Fate)
    yield f"{counted(len(report.tags), 'tag')} of {counted(report.targets, 'target')}: {counts}"
    new = f"{counted(report.new_blobs, 'file')} ({decimal(report.size_bytes)}) {would}new"
    yield f"{new}, {report.held_blobs} held already"


def _tags(report: ImportReport, fate: Fate, told: str) -> Iterator[str]:
    tags = report.tags_that_are(fate)
    for one in tags[:_SHOWN]:
        held = "" if one.held is None else f"  (held: {short_digest(one.held)})"
        digest = short_digest(one.row.digest)
        variant = "" if one.row.variant == PLAIN.value else f" ({one.row.variant})"
        yield f"{told}: {one.row.target}:{one.row.tag}{variant}  {digest}{held}"
    if len(tags) > _SHOWN:
        yield f"{told}: {len(tags) - _SHOWN} more"


def _rules(report: ImportReport, *, is_wanted: bool) -> Iterator[str]:
    rules = report.rules
    if rules is None:
        return
    if not rules.difference:
        yield "its rules are those in force"
        return
    yield "its rules differ from those in force:"
    yield rules.difference
    if rules.failure is not None and report.is_dry:
        yield f"they could not be put in force, the content could be taken: {rules.failure}"
    elif rules.failure is not None:
        yield f"its rules were not put in force, the content is: {rules.failure}"
    elif rules.revision is not None:
        yield f"they are in force now, as revision {rules.revision}"
    elif is_wanted:
        yield "they would be put in force"
    elif report.is_dry:
        yield "they would not be put in force: --with-rules does that"
    else:
        yield "they were not put in force: --with-rules does that"


def _facts(report: ImportReport) -> dict[str, object]:
    rules = report.rules
    return {
        "dry_run": report.is_dry,
        "version": report.version,
        "made_at": iso_time(report.made_at),
        "since": report.since,
        "targets": report.targets,
        "tags": [_tag(one) for one in report.tags],
        "counts": {fate.value: len(report.tags_that_are(fate)) for fate in Fate},
        "manifests": report.manifests,
        "new_blobs": report.new_blobs,
        "held_blobs": report.held_blobs,
        "new_bytes": report.size_bytes,
        "rules": rules
        and {"difference": rules.difference, "revision": rules.revision, "failure": rules.failure},
    }


def _tag(one: ImportedTag) -> dict[str, str | None]:
    return {
        "target": str(one.row.target),
        "tag": one.row.tag,
        "variant": one.row.variant,
        "source": one.row.source,
        "digest": str(one.row.digest),
        "is": one.fate.value,
        "held": None if one.held is None else str(one.held),
    }
