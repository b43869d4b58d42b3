"""What a chart needs beside itself: the charts it depends on, and the images it names."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

import msgspec
from anyio import CapacityLimiter, to_thread

from gateway.chart_contents import PIECE_BYTES, BlobStream
from gateway.helm.archive import ArchiveError
from gateway.helm.chart_tree import ChartTree, read_chart_tree
from gateway.helm.document import DocumentError, parse_document
from gateway.helm.images import ChartImages, FoundImage, images_of
from gateway.helm.lock import parse_lock
from gateway.helm.metadata import Dependency, MetadataError, parse_metadata
from gateway.helm.ranges import RangeError, parse_range
from gateway.helm.version import is_complete, parse_version
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location
from gateway.oci.manifest import Manifest, parse_manifest
from gateway.oci.reference import parse_reference
from gateway.oci.repository import Repository
from gateway.oci.urls import UrlError, parse_upstream_url
from gateway.pull import Puller
from gateway.rules.model import RuleSet
from gateway.rules.route import Wanted
from gateway.store.blobs import TransferBroken
from gateway.store.needs_book import NeedsBook

FORM: Final = 1  # of ReadChart, and of what is found: another one where a chart would be read otherwise
_READ_AT_ONCE: Final = 2
_SHOWN: Final = 200
_NEWEST: Final = ">0.0.0-0"  # what Helm takes for no version at all


@dataclass(frozen=True, slots=True)
class DependencyNeed:
    """``name`` is what clients would ask us for; ``wanted`` an exact version, or a range."""

    name: Repository
    wanted: str
    is_exact: bool
    where: str


@dataclass(frozen=True, slots=True)
class ImageNeed:
    """``platforms`` as far as the chart says. ``is_guessed``: its tag is, so it need not be there."""

    location: Location
    where: str
    platforms: frozenset[str] = frozenset()
    is_guessed: bool = False


@dataclass(frozen=True, slots=True)
class ChartNeeds:
    """``remarks`` say what was not understood, and where."""

    dependencies: tuple[DependencyNeed, ...]
    images: tuple[ImageNeed, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadDependency:
    """As the chart itself has it, whatever the rules say; ``is_inside``: in the archive."""

    name: str
    repository: str
    wanted: str
    is_exact: bool
    is_inside: bool


@dataclass(frozen=True, slots=True)
class ReadImage:
    name: str
    reference: str
    where: str
    platforms: tuple[str, ...]
    is_guessed: bool


@dataclass(frozen=True, slots=True)
class ReadChart:
    """What was read out of an archive: the same for good, but for another FORM."""

    dependencies: tuple[ReadDependency, ...]
    images: tuple[ReadImage, ...]
    remarks: tuple[str, ...]


class ChartReader:
    """Reads charts as upstream has them, in threads; what is not held is pulled first.

    What was read once is remembered in ``book``.
    """

    def __init__(self, puller: Puller, book: NeedsBook) -> None:
        self._puller = puller
        self._book = book
        self._threads = CapacityLimiter(_READ_AT_ONCE)

    async def known(self, charts: Mapping[Location, Digest]) -> Mapping[Location, str]:
        """Those of these, each with its manifest, that were read before; ``told`` makes needs of them."""
        found = await self._book.of(set(charts.values()))
        return {location: found[digest] for location, digest in charts.items() if digest in found}

    def told(self, location: Location, known: str) -> ChartNeeds:
        rules = self._puller.route(Wanted(location.name, rewrites_dependencies=False)).first.rules
        return needs_of(msgspec.json.decode(known, type=ReadChart), rules)

    async def read(self, location: Location) -> ChartNeeds:
        """Raise OciError, also for what is no chart, or one that cannot be read."""
        if location.reference is None:
            raise OciError(Situation.MANIFEST_NOT_KNOWN, f"{location}: a version is needed")
        wanted = Wanted(location.name, rewrites_dependencies=False)
        manifest = (await self._puller.manifest(wanted, location.reference)).manifest
        known = (await self._book.of((manifest.digest,))).get(manifest.digest)
        if known is not None:
            return self.told(location, known)
        chart = await self._read(location, wanted, manifest)
        await self._book.keep(manifest.digest, msgspec.json.encode(chart).decode())
        return needs_of(chart, self._puller.route(wanted).first.rules)

    async def _read(self, location: Location, wanted: Wanted, manifest: Manifest) -> ReadChart:
        layer = parse_manifest(manifest.content, manifest.media_type).chart_layer
        if layer is None:
            raise OciError(Situation.MANIFEST_NOT_KNOWN, f"{location} is no Helm chart")
        blob = (await self._puller.blob(wanted, layer.digest)).blob
        try:
            stream = io.BufferedReader(BlobStream(blob), PIECE_BYTES)
            return await to_thread.run_sync(read_chart, stream, limiter=self._threads)
        except (ArchiveError, MetadataError) as error:
            message = f"{location} cannot be read: {error}"
            raise OciError(Situation.SOURCE_CORRUPT, message, {"reason": "chart"}) from error
        except TransferBroken as error:
            raise OciError(Situation.BLOB_NOT_KNOWN, f"{location} cannot be read: {error}") from error
        finally:
            blob.close()


def read_chart(stream: BinaryIO) -> ReadChart:
    """Read an archive; raise ArchiveError or MetadataError."""
    tree = read_chart_tree(stream)
    images: ChartImages = images_of(tree)
    remarks = [*images.not_understood]
    dependencies = tuple(_dependencies(tree, remarks))
    return ReadChart(dependencies, tuple(map(_read_image, images.found)), tuple(dict.fromkeys(remarks)))


def needs_of(chart: ReadChart, rules: RuleSet) -> ChartNeeds:
    """What that means by the rules, which say by what name something is asked for."""
    remarks = [*chart.remarks]
    dependencies = tuple(_named_dependencies(chart.dependencies, rules, remarks))
    images = tuple(map(_image_need, chart.images))
    return ChartNeeds(dependencies, images, tuple(dict.fromkeys(remarks)))


def repository_named(url: str, chart: str, rules: RuleSet) -> Repository | None:
    """The name by which clients ask us for a chart of the repository at ``url``; None where there is none.

    What no name can be made of (a port, upper case, http) has one where a key of ``upstreams`` stands for it.
    """
    scheme, separator, rest = url.partition("://")
    place = rest.strip("/")
    if not separator or scheme not in ("https", "http", "oci"):
        return None
    own = f"{rules.own_host}/"
    if scheme == "oci" and rules.own_host is not None and place.startswith(own):
        return _named(f"{place.removeprefix(own)}/{chart}")
    keyed = _key_of(f"http://{place}" if scheme == "http" else f"https://{place}", rules)
    if scheme != "http" and (direct := _named(f"{place}/{chart}")) is not None:
        return direct
    return None if keyed is None else _named(f"{keyed}/{chart}")


def _key_of(url: str, rules: RuleSet) -> str | None:
    """The key that stands for a URL, or for what it lies below, with the rest of the path."""
    try:
        wanted = parse_upstream_url(url)
    except UrlError:
        return None
    for key, upstream in sorted(rules.upstreams.items(), key=lambda item: -len(item[1].url.path)):
        for base in upstream.urls:
            path = base.path.rstrip("/")
            below = wanted.path.rstrip("/").removeprefix(path)
            if base.origin == wanted.origin and wanted.path.startswith(path) and below[:1] in ("", "/"):
                return f"{key}{below}"
    return None


def _named(text: str) -> Repository | None:
    try:
        return Repository.parse(text)
    except OciError:
        return None


def _read_image(one: FoundImage) -> ReadImage:
    name, reference = one.location.name.name, str(one.location.reference)
    return ReadImage(name, reference, one.where, tuple(sorted(one.platforms)), one.is_guessed)


def _image_need(one: ReadImage) -> ImageNeed:
    location = Location(Repository.parse_with_port(one.name), parse_reference(one.reference))
    return ImageNeed(location, one.where, frozenset(one.platforms), one.is_guessed)


def _dependencies(tree: ChartTree, remarks: list[str]) -> Iterator[ReadDependency]:
    """All of them, also those that are off by default, and those that lie in the archive."""
    required = parse_metadata(tree.files).dependencies
    locked = _locked(tree, remarks)
    inside = {parse_metadata(one.files).name for one in tree.subcharts if _is_chart(one)}
    for dependency in required:
        exact = _locked_version(dependency, locked)
        wanted = exact or dependency.version or _NEWEST
        is_exact, is_inside = exact is not None or is_complete(wanted), dependency.name in inside
        yield ReadDependency(dependency.name, dependency.repository, wanted, is_exact, is_inside)


def _named_dependencies(
    dependencies: Sequence[ReadDependency], rules: RuleSet, remarks: list[str]
) -> Iterator[DependencyNeed]:
    for one in dependencies:
        where = f"dependency {one.name}"
        name = repository_named(one.repository, one.name, rules)
        if name is not None:
            inside = " (which the archive has inside)" if one.is_inside else ""
            yield DependencyNeed(name, one.wanted, one.is_exact, f"{where}{inside}")
        elif not one.is_inside:
            url = one.repository[:_SHOWN]
            remarks.append(f"{where}: {f'no name leads to {url}' if url else 'it names no repository'}")


def _is_chart(tree: ChartTree) -> bool:
    try:
        return bool(parse_metadata(tree.files).name)
    except MetadataError:
        return False


def _locked(tree: ChartTree, remarks: list[str]) -> Sequence[Dependency]:
    if tree.lock is None:
        return ()
    name, content = tree.lock
    try:
        document = parse_document(content)
        return () if document is None else parse_lock(document, name).dependencies
    except (DocumentError, MetadataError) as error:
        remarks.append(f"{name} is not understood: {error}")
        return ()


def _locked_version(dependency: Dependency, locked: Sequence[Dependency]) -> str | None:
    """What the lock says, where that is a version that is allowed."""
    for one in locked:
        if one.name != dependency.name or one.repository.rstrip("/") != dependency.repository.rstrip("/"):
            continue
        version = parse_version(one.version)
        try:
            if version is not None and parse_range(dependency.version or _NEWEST).holds(version):
                return one.version
        except RangeError:
            return None
    return None
