"""What a scrub asks of the catalog: which manifests are damaged, which blobs should be there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.oci.digest import Digest
from gateway.store.tables import blobs, helm_indexes, manifests

_MANIFESTS = 16  # at once: each may have megabytes
_BLOBS = 500


@dataclass(frozen=True, slots=True)
class CheckedManifests:
    """A few manifests, in the order of their digests; ``last`` is where the next ones begin."""

    count: int
    size_bytes: int
    damaged: Sequence[Digest]
    last: str


def check_manifests(connection: Connection, after: str) -> CheckedManifests | None:
    """Hash the next manifests; None where there are no more."""
    rows = connection.execute(
        select(manifests.c.digest, manifests.c.content)
        .where(manifests.c.digest > after)
        .order_by(manifests.c.digest)
        .limit(_MANIFESTS)
    ).all()
    if not rows:
        return None
    read = [(Digest.parse(row.digest), row.content) for row in rows]
    damaged = [digest for digest, content in read if not digest.is_of(content)]
    return CheckedManifests(len(rows), sum(len(content) for _, content in read), damaged, rows[-1].digest)


def kept_blobs(connection: Connection, after: str) -> Sequence[Digest]:
    """The next blobs that were once delivered, in the order of their digests; none after the last."""
    rows = connection.execute(
        select(blobs.c.digest).where(blobs.c.digest > after).order_by(blobs.c.digest).limit(_BLOBS)
    )
    return [Digest.parse(digest) for digest in rows.scalars()]


def index_urls(connection: Connection) -> Mapping[Digest, str]:
    """The files of Helm indexes, as they came and in their normal form, with the URL of each."""
    urls: dict[Digest, str] = {}
    for row in connection.execute(select(helm_indexes)):
        url = row.url.partition("#")[0]
        urls[Digest.parse(row.digest)] = url
        if row.normalised_digest is not None:
            urls[Digest.parse(row.normalised_digest)] = url
    return urls
