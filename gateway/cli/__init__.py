"""The command line: one verb a file, thin. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""

import sys

import click

from gateway.app import version
from gateway.cli import (
    demo,
    explain,
    gc,
    migrate,
    pins,
    pull,
    purge,
    refresh,
    revisions,
    rules,
    scrub,
    serve,
    token,
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
    DataDirError,
    pull.DestinationError,
    rules.FileUnreadable,
    OciError,
    revisions.RevisionError,
    RulesError,
    RulesFileError,
    SchemaError,
    StorageFailed,
    TurnTaken,
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


for verb in (serve, demo, pull, explain, list_, refresh, purge, gc, scrub, rules, token, migrate):
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
