"""What is remembered of an index.yaml that was good."""

from dataclasses import dataclass

from gateway.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class ShelvedIndex:
    """The last good index of a URL, after which ``#`` and a key may say for which upstream it is.

    Times are seconds since the epoch; 0 is never.

    ``normalised_digest`` names its normal form (gateway/helm/index_whole.py), where one had to be made.
    """

    url: str
    digest: Digest
    etag: str | None
    last_modified: str | None
    confirmed_at: float
    forced_at: float = 0.0
    normalised_digest: Digest | None = None
