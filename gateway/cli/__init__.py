"""The command line: one verb a file, thin. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""

import sys

import click

from gateway.app import version
from gateway.bundle_checks import BundleRefused
from gateway.bundle_export import ExportFailed
from gateway.bundle_selection import NotWhole
from gateway.bundle_signing import SignatureWrong
from gateway.bundle_staging import ImportRunning
from gateway.bundle_volumes import VolumesWrong
from gateway.cli import (
    demo,
    explain,
    export,
    gc,
    import_,
    migrate,
    pins,
    pull,
    purge,
    refresh,
    revisions,
    rules,
    scrub,
    serve,
    sync,
    token,
    wire,
)
from gateway.cli import list as list_
from gateway.listener import BindError
from gateway.oci.errors import OciError
from gateway.rule_revisions import RulesFileError
from gateway.rules.problems import RulesError
from gateway.store.blobs import StorageFailed
from gateway.store.data_dir import DataDirError
from gateway.store.gc_turn import TurnTaken
from gateway.store.schema import SchemaError

_MISTAKES = (
    BindError,
    BundleRefused,
    DataDirError,
    ExportFailed,
    import_.FileUnreadable,
    ImportRunning,
    NotWhole,
    pull.DestinationError,
    rules.FileUnreadable,
    OciError,
    revisions.RevisionError,
    RulesError,
    RulesFileError,
    SchemaError,
    SignatureWrong,
    StorageFailed,
    TurnTaken,
    VolumesWrong,
    wire.NotWritten,
)

INTERRUPTED = 130


class Verbs(click.Group):
    """A group whose commands end quietly when they are interrupted."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="gateway")
def group() -> None:
    """Pull-through caching gateway between Helm, OCI clients and the world's chart repositories."""


_VERBS = (
    *(serve, demo, pull, sync, explain, list_, refresh, purge, gc, scrub),
    *(rules, token, wire, export, import_, migrate),
)
for verb in _VERBS:
    group.add_command(verb.command)
group.add_command(pins.pin)
group.add_command(pins.unpin)


def main() -> None:
    """Run a command; a user's mistake is told in a line, never as a traceback."""
    try:
        group(prog_name="gateway")
    except _MISTAKES as error:
        click.echo(f"gateway: {error}", err=True)
        sys.exit(1)
