"""``gateway serve``: run it."""

import sys

import click

from gateway.cli.options import with_settings
from gateway.serve import serve
from gateway.settings import Settings


@click.command("serve")
@with_settings
def command(settings: Settings) -> None:
    """Run the gateway until SIGTERM."""
    sys.exit(serve(settings))
