"""``gateway demo``: a first look without internet."""

import asyncio
import tempfile
from pathlib import Path

import click

from gateway.demo import run_demo
from gateway.logs import configure_logs
from gateway.settings import load_settings


@click.command("demo")
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="0: a free one")
@click.option("--once", is_flag=True, help="end after the tour")
def command(port: int, once: bool) -> None:
    """Show the main job on this machine alone: a sample repository, a gateway, a pull, an outage."""
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as folder:
        flags = {"port": str(port), "data_dir": folder, "log_level": "error"}
        settings = load_settings({}, flags, Path.read_text)
        configure_logs(settings.log_level, settings.log_format)
        try:
            asyncio.run(run_demo(settings, Path(folder), click.echo, ends_after_tour=once))
        except KeyboardInterrupt:
            click.echo("\nbye")
