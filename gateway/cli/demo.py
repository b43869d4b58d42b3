"""``gateway demo``: a first look without internet."""

import click


@click.command("demo")
def command() -> None:
    """Show the main job on this machine alone."""
