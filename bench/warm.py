"""A manifest by tag that is held and fresh: what the gateway costs on top of the server it runs on."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import AtLeast, Figure
from bench.gateways import fetch, manifest_path, running
from bench.races import Race, medians, percentage
from bench.upstream import VERSION, make_repository, serving

CONNECTIONS = 32


def run() -> Sequence[Figure]:
    with TemporaryDirectory() as root:
        folder = Path(root, "charts")
        (chart,) = make_repository(folder, charts=10, size_bytes=500_000, archive_bytes=50_000, archives=1)
        with serving(folder) as upstream, running(Path(root, "data"), upstream) as gateway:
            path = manifest_path(chart, VERSION)
            fetch(gateway.port, path)
            race = Race(port=gateway.port, path=path, connections=CONNECTIONS, in_pieces=False)
            rounds = race.run(Path(root))
    own, other = medians(rounds, lambda load: load.per_second)
    how = f"{own:.0f} of {other:.0f} a second, one worker, {CONNECTIONS} connections, its log in a file"
    return [Figure("warm manifest by tag, of a bare app's rate", percentage(rounds), "%", AtLeast(75), how)]
