"""The Helm repository that is pulled from: a folder over TLS, in a process of its own."""

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

import trustme

from bench.processes import first_line, started
from tests.fakes.charts import make_chart
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.index_maker import make_index
from tests.fakes.server import server_tls

VERSION = "0.0.5"
_LARGEST_FILE = 1_000_000


@dataclass(frozen=True, slots=True)
class Upstream:
    """``url`` is the repository's; ``trusted`` is this system's trust store, and our authority in it."""

    url: str
    trusted: Path


@contextmanager
def serving(folder: Path) -> Iterator[Upstream]:
    """Serve what lies in ``folder``; the trust store goes beside it."""
    trusted = folder.with_name(f"{folder.name}.pem")
    with started("bench.upstream", folder, trusted) as process:
        yield Upstream(first_line(process), trusted)


def make_repository(
    folder: Path, charts: int, size_bytes: int, archive_bytes: int, archives: int
) -> list[str]:
    """Write a repository whose index has ``size_bytes``; return the charts that have a real archive.

    They are spread over the index evenly, and have it for VERSION.
    """
    folder.mkdir()
    index = make_index(charts, size_bytes).replace(b"https://charts.example/", b"")
    names = [f"chart-{(2 * number + 1) * charts // (2 * archives):03d}" for number in range(archives)]
    for number, name in enumerate(names):
        archive = make_chart(name, VERSION, _files(Random(number), archive_bytes))
        (folder / f"{name}-{VERSION}.tgz").write_bytes(archive)
        made_up = sha256(f"{name}-{VERSION}".encode()).hexdigest().encode()
        assert made_up in index
        index = index.replace(made_up, sha256(archive).hexdigest().encode())
    (folder / "index.yaml").write_bytes(index)
    return names


def _files(chance: Random, size_bytes: int) -> dict[str, bytes]:
    """Files that do not compress, of a MB at most."""
    sizes = [min(_LARGEST_FILE, size_bytes - start) for start in range(0, size_bytes, _LARGEST_FILE)]
    return {f"files/{number}": chance.randbytes(size) for number, size in enumerate(sizes)}


def main(folder: Path, trusted: Path) -> None:
    authority = trustme.CA()
    system = ssl.get_default_verify_paths().cafile
    trusted.write_bytes((Path(system).read_bytes() if system else b"") + authority.cert_pem.bytes())
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with HelmRepo(files, prefix="charts", tls=server_tls(authority)) as repository:
        print(repository.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
