"""What a bundle says, held against what came in it: every fault is found before anything is taken."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Final, Protocol

from gateway.bundle import BundledContent, BundledTag, BundledTarget, Contents
from gateway.bundle_checks import BundleRefused
from gateway.bundle_opening import (
    Came,
    Descriptor,
    Opening,
    contents_of,
    layout_faults,
    opening_of,
    read_digest,
    read_index,
)
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.manifest import (
    EdgeKind,
    Manifest,
    ManifestError,
    ParsedManifest,
    parse_manifest,
)
from gateway.oci.reference import is_tag
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.rules.model import SourceName
from gateway.rules.tree import MAX_SIZE_BYTES as MAX_RULES_BYTES
from gateway.store.import_rows import Holding, Imported, ImportedManifest
from gateway.store.rows import KeptManifest, TagRow

_MAX_WORD: Final = 255  # of a version, or a variant
_MAX_ORIGIN: Final = 8192
_SOURCES: Final = frozenset(SourceName)


class Known(Protocol):
    """What is held here already, for what a bundle leaves out."""

    def manifests(self, digests: Iterable[Digest]) -> Iterator[Manifest]: ...

    def owners(self, digests: Iterable[Digest]) -> Mapping[Digest, frozenset[str]]: ...

    def private_targets(self) -> frozenset[str]: ...

    def size(self, blob: Digest) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Judged:
    """A bundle without fault: what is to be taken of it. ``blobs`` are those that came in it.

    ``rules`` is rules.yaml as it was where the bundle was made, without credentials.
    """

    contents: Contents
    imported: Imported
    blobs: Sequence[Digest]
    rules: str | None


def judge(
    layout: bytes | None, index: bytes | None, came: Came, known: Known, *, now: float, faults: Sequence[str]
) -> Judged:
    """Raise BundleRefused with all that is wrong, and with ``faults``, which were found before."""
    found = [*faults, *layout_faults(layout)]
    if index is None:
        raise BundleRefused([*found, "index.json is missing"])
    opening = opening_of(index, came)
    contents = None if opening is None else contents_of(opening, came)
    if opening is None or contents is None:
        raise BundleRefused([*found, "its list of contents is missing"])
    judgement = _Judgement(contents, came, known, now, found)
    judgement.list_contents(opening)
    holdings = [*judgement.holdings()]
    judgement.follow(holdings)
    judgement.compare_index(read_index(index), opening)
    rules = None if opening.rules is None else judgement.rules(opening.rules)
    if found:
        raise BundleRefused(found)
    return judgement.judged(holdings, rules)


@dataclass(slots=True)
class _Judgement:
    """``listed`` is what the contents have, ``named`` the blobs of each manifest, of those."""

    contents: Contents
    came: Came
    known: Known
    now: float
    faults: list[str]
    listed: dict[Digest, BundledContent] = field(default_factory=dict)
    named: dict[Digest, tuple[Digest, ...]] = field(default_factory=dict)

    def list_contents(self, opening: Opening) -> None:
        for one in self.contents.contents:
            digest = read_digest(one.digest, "its list of contents")
            if digest in self.listed:
                self.faults.append(f"{digest} is listed twice")
            self.listed[digest] = one
            size_bytes = self.came.came.get(digest)
            if size_bytes is None and not one.is_left_out:
                self.faults.append(f"{digest} is missing")
            elif size_bytes is not None and size_bytes != one.size_bytes:
                self.faults.append(f"{digest} has {size_bytes} bytes, and should have {one.size_bytes}")
        self.faults += (f"{digest} is missing" for digest in opening.own if digest not in self.came.came)
        strangers = self.came.came.keys() - self.listed.keys() - opening.own
        self.faults += (f"{digest} belongs to nothing" for digest in sorted(strangers))

    def holdings(self) -> Iterator[Holding]:
        seen: set[str] = set()
        for one in self.contents.targets:
            if one.target in seen:
                self.faults.append(f"{one.target!r} is there twice")
            seen.add(one.target)
            try:
                yield self._holding(one)
            except (OciError, ValueError) as error:
                self.faults.append(f"{one.target!r}: {error}")

    def follow(self, holdings: Sequence[Holding]) -> None:
        """Read every manifest that a target is to have, and see that what it needs is at hand."""
        wanted = {one.digest for holding in holdings for one in holding.manifests}
        for digest in sorted(wanted - self._manifests()):
            self.faults.append(f"the manifest {digest} is not in its list of contents")
        wanted &= self._manifests()
        here = {digest for digest in wanted if digest in self.came.came}
        for digest in sorted(here):
            self._follow(digest, self.came.read(digest) or b"")
        left_out = {digest for digest in wanted - here if self.listed[digest].is_left_out}
        for manifest in self.known.manifests(sorted(left_out)):
            self._follow(manifest.digest, manifest.content)
        self.faults += (self._lacking(digest) for digest in sorted(left_out - self.named.keys()))
        named = wanted.union(*self.named.values())
        loose = [digest for digest, one in self.listed.items() if digest not in named and not one.is_left_out]
        self.faults += (f"{digest} is listed, and nothing that is brought names it" for digest in loose)
        self._require_left_out(holdings)

    def compare_index(self, descriptors: Sequence[Descriptor], opening: Opening) -> None:
        listed = {str(digest) for digest in (*self._manifests(), opening.artifact)}
        self.faults += (
            f"index.json names {one.digest[:100]!r}, which is not in its list of contents"
            for one in descriptors
            if one.digest not in listed
        )

    def rules(self, digest: Digest) -> str | None:
        content = self.came.read(digest, MAX_RULES_BYTES)
        try:
            return None if content is None else content.decode()
        except UnicodeDecodeError:
            self.faults.append("its rules are no UTF-8")
            return None

    def judged(self, holdings: Sequence[Holding], rules: str | None) -> Judged:
        sizes = {digest: one.size_bytes for digest, one in self.listed.items() if not one.media_type}
        used = frozenset[Digest]().union(*self.named.values())
        came = self.came.came
        imported = Imported(
            holdings=holdings,
            sizes={digest: size_bytes for digest, size_bytes in sizes.items() if digest in used},
            named=self.named,
            new_manifests=[digest for digest in self.named if digest in came],
            read=self._kept,
        )
        return Judged(self.contents, imported, [digest for digest in sizes if digest in came], rules)

    def _holding(self, one: BundledTarget) -> Holding:
        target = Target.parse(one.target)
        rows = [self._row(target, tag) for tag in one.tags]
        if len({(row.variant, row.tag, row.source) for row in rows}) < len(rows):
            raise ValueError("a tag is there twice")
        manifests = {ImportedManifest(row.digest, row.variant, row.source) for row in rows}
        manifests |= {
            ImportedManifest(Digest.parse(loose.digest), _word(loose.variant), _source(loose.source))
            for loose in one.untagged
        }
        names = sorted({Repository.parse(name).name for name in one.names})
        homes = sorted({(_word(name), tag) for name, tags in one.homes.items() for tag in tags})
        if not all(is_tag(tag) for _, tag in homes):
            raise ValueError("what is said to stay there is no tag")
        return Holding(target, names, one.is_private, rows, sorted(manifests), homes)

    def _row(self, target: Target, tag: BundledTag) -> TagRow:
        """Of a clock that was ahead of ours, what it says of times to come is no use here."""
        if not is_tag(tag.tag):
            raise ValueError(f"{tag.tag!r} is no tag")
        if not (isfinite(tag.kept_at) and isfinite(tag.confirmed_at)) or len(tag.origin) > _MAX_ORIGIN:
            raise ValueError(f"what is said of the tag {tag.tag} is out of bounds")
        return TagRow(
            target=target,
            variant=_word(tag.variant),
            tag=tag.tag,
            source=_source(tag.source),
            digest=Digest.parse(tag.digest),
            version=_word(tag.version),
            is_exact=tag.is_exact,
            upstream_digest=None if tag.upstream_digest is None else Digest.parse(tag.upstream_digest),
            seen_digest=None,
            origin=tag.origin,
            kept_at=min(tag.kept_at, self.now),
            confirmed_at=min(tag.confirmed_at, self.now),
        )

    def _manifests(self) -> set[Digest]:
        return {digest for digest, one in self.listed.items() if one.media_type}

    def _follow(self, digest: Digest, content: bytes) -> None:
        try:
            parsed = self._parsed(digest, content)
        except ManifestError as error:
            self.faults.append(f"the manifest {digest} is refused: {error}")
            return
        self.named[digest] = tuple(self._blobs(digest, parsed))

    def _parsed(self, digest: Digest, content: bytes) -> ParsedManifest:
        one = self.listed[digest]
        parsed = parse_manifest(content, one.media_type)
        if parsed.media_type != one.media_type:
            raise ManifestError(f"it is {parsed.media_type}, and listed as {one.media_type}")
        return parsed

    def _blobs(self, manifest: Digest, parsed: ParsedManifest) -> Iterator[Digest]:
        for edge in parsed.edges:
            digest, one = edge.descriptor.digest, self.listed.get(edge.descriptor.digest)
            if edge.kind is EdgeKind.MANIFEST or one is None:  # what was not held there either
                continue
            if one.size_bytes != edge.descriptor.size:
                self.faults.append(
                    f"{digest} has {one.size_bytes} bytes, and {edge.descriptor.size} by {manifest}"
                )
            yield digest

    def _require_left_out(self, holdings: Sequence[Holding]) -> None:
        """What is not in the bundle has to be held here, and not by private targets alone.

        Else who knows a digest could make a bundle of it, and have what it is the digest of.
        """
        came = self.came.came
        left_out = {digest for digest, one in self.listed.items() if one.is_left_out and digest not in came}
        left_out &= frozenset(self.named).union(*self.named.values())
        owners = self.known.owners(sorted(left_out))
        for digest in sorted(left_out - self.named.keys()):
            if self.known.size(digest) != self.listed[digest].size_bytes:
                self.faults.append(self._lacking(digest))
        hidden = self.known.private_targets()
        for holding in holdings:
            own = str(holding.target)
            brought = {one.digest for one in holding.manifests}
            brought.update(*(self.named.get(digest, ()) for digest in tuple(brought)))
            for digest in sorted(brought & left_out):
                having = owners.get(digest, frozenset())
                is_open = holding.is_private or own in having or not having <= hidden
                if not having or not is_open:
                    self.faults.append(self._lacking(digest))

    def _lacking(self, digest: Digest) -> str:
        earlier = (
            f"the bundle whose index.json is {self.contents.since}" if self.contents.since else "another"
        )
        return f"{digest} is in {earlier}, and not held here: import that one first"

    def _kept(self, digest: Digest) -> KeptManifest:
        content = self.came.read(digest) or b""
        manifest = Manifest(content, self.listed[digest].media_type, digest)
        return KeptManifest(manifest, parse_manifest(content, manifest.media_type), {})


def _word(text: str) -> str:
    if not 0 < len(text) <= _MAX_WORD or not text.isprintable():
        raise ValueError(f"{text[:100]!r} is no version, variant or name")
    return text


def _source(text: str) -> str:
    if text not in _SOURCES:
        raise ValueError(f"{text[:100]!r} is no source")
    return text
