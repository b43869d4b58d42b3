"""A blob of 20 MB that is held: what the gateway costs on top of reading and sending a file."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import AtLeast, Figure
from bench.gateways import layer_path, running
from bench.races import Race, medians, percentage
from bench.upstream import VERSION, make_repository, serving

CONNECTIONS = 4
_BYTES = 20_000_000


def run() -> Sequence[Figure]:
    with TemporaryDirectory() as root:
        folder = Path(root, "charts")
        (chart,) = make_repository(folder, charts=10, size_bytes=500_000, archive_bytes=_BYTES, archives=1)
        with serving(folder) as upstream, running(Path(root, "data"), upstream) as gateway:
            path = layer_path(gateway.port, chart, VERSION)
            race = Race(port=gateway.port, path=path, connections=CONNECTIONS, in_pieces=True)
            rounds = race.run(Path(root))
    own, other = medians(rounds, lambda load: load.megabytes_per_second)
    how = f"{own:.0f} of {other:.0f} MB/s, one worker, {CONNECTIONS} connections"
    return [Figure("blob of 20 MB, of a bare app's rate", percentage(rounds), "%", AtLeast(75), how)]
