"""A descriptor: what a manifest says about a piece of content."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Descriptor:
    """As in the OCI image specification, descriptor.md; ``size`` in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str | None = None

    def to_json(self) -> dict[str, object]:
        """Members in the specification's order; empty ones left out."""
        members: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.annotations:
            members["annotations"] = dict(sorted(self.annotations.items()))
        if self.artifact_type is not None:
            members["artifactType"] = self.artifact_type
        return members
