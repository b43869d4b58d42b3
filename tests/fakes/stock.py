"""What upstreams have, and what a gateway before them has to answer; the same names make the same bytes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.oci.digest import Digest
from tests.fakes.chart_proxy import converted
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.images import OCI, Artifact, Pushable, content_of

VERSION = "1.2.3"

Article = Mapping[
    str, bytes
]  # what a client asks for one thing, in its order, by path, and what it is to get


@dataclass(frozen=True, slots=True)
class Stock:
    """A chart and an image of each name; ``files`` are a Helm repository's."""

    files: Mapping[str, bytes]
    images: Mapping[str, Artifact]

    @property
    def size_bytes(self) -> int:
        """All that a gateway could keep of it, but for manifests."""
        charts = sum(len(content) for path, content in self.files.items() if path.endswith(".tgz"))
        return charts + sum(len(blob) for image in self.images.values() for blob in image.blobs)

    def push_to(self, registry: Pushable) -> None:
        for name, image in self.images.items():
            image.push_to(registry, name, VERSION)

    def charts_at(self, place: str) -> Iterator[Article]:
        """As they are pulled through a gateway that calls the repository ``place``."""
        for name in self.images:
            made = converted(self.files, name)[VERSION]
            blobs = (made.config, self.files[f"{name}-{VERSION}.tgz"])
            yield _article(f"/v2/{place}/{name}", made.manifest, blobs)

    def images_at(self, place: str) -> Iterator[Article]:
        for name, image in self.images.items():
            yield _article(f"/v2/{place}/{name}", image.manifest, image.blobs)


def make_stock(names: Sequence[str], sizes: Callable[[str], Sequence[int]]) -> Stock:
    """``sizes`` of a name: about so many bytes for its chart, exactly so many for each layer of its image."""
    charts = [
        make_chart(name, VERSION, {"files/content": content_of(f"chart {name}", sizes(name)[0])})
        for name in names
    ]
    images = {name: OCI.image(*sizes(name)[1:], seed=name) for name in names}
    return Stock(repository_of(*charts), images)


def _article(base: str, manifest: bytes, blobs: Sequence[bytes]) -> Article:
    return {
        f"{base}/manifests/{VERSION}": manifest,
        **{f"{base}/blobs/{Digest.of(blob)}": blob for blob in blobs},
        f"{base}/manifests/{Digest.of(manifest)}": manifest,
    }
