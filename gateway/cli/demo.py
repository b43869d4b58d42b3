"""``gateway demo``: a first look without internet."""

import asyncio
import tempfile
from pathlib import Path

import click

from gateway.demo import run_demo
from gateway.logs import configure_logs
from gateway.settings import load_settings
from gateway.settings_values import LogFormat, LogLevel


@click.command("demo")
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="0: a free one")
@click.option("--once", is_flag=True, help="end after the tour")
def command(port: int, once: bool) -> None:
    """Show the main job on this machine alone: a sample repository, a gateway, a pull, an outage."""
    configure_logs(LogLevel.ERROR, LogFormat.AUTO)
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as folder:
        settings = load_settings({}, {"port": str(port), "data_dir": folder}, Path.read_text)
        try:
            asyncio.run(run_demo(settings, Path(folder), click.echo, ends_after_tour=once))
        except KeyboardInterrupt:
            click.echo("\nbye")
