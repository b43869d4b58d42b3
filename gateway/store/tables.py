"""The catalog's tables; migrations/ creates them, and a test holds the two equal."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

_DIGEST = String(135)  # sha512: and 128 hex digits
_NAME = String(255)
_SOURCE = String(16)

metadata = MetaData()

manifests = Table(
    "manifests",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("media_type", String(255), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("artifact_type", String(255)),
    Column("subject", _DIGEST),
    Column("annotations", Text, nullable=False),
    Column("kept_at", Double, nullable=False),
    Index("ix_manifests_subject", "subject"),
)

manifest_edges = Table(
    "manifest_edges",
    metadata,
    Column("manifest", _DIGEST, ForeignKey("manifests.digest", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("digest", _DIGEST, nullable=False),
    Column("media_type", String(255), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Index("ix_manifest_edges_digest", "digest"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("kept_at", Double, nullable=False),
)

rights = Table(
    "rights",
    metadata,
    Column("target", _NAME, primary_key=True),
    Column("variant", _NAME, primary_key=True),
    Column("digest", _DIGEST, primary_key=True),
    Column("source", _SOURCE, nullable=False, server_default="helm"),
    Index("ix_rights_digest", "digest"),
)

tags = Table(
    "tags",
    metadata,
    Column("target", _NAME, primary_key=True),
    Column("variant", _NAME, primary_key=True),
    Column("tag", String(128), primary_key=True),
    Column("source", _SOURCE, primary_key=True),
    Column("digest", _DIGEST, ForeignKey("manifests.digest"), nullable=False),
    Column("version", String(255), nullable=False),
    Column("is_exact", Boolean, nullable=False),
    Column("upstream_digest", _DIGEST),
    Column("seen_digest", _DIGEST),
    Column("origin", Text, nullable=False),
    Column("kept_at", Double, nullable=False),
    Column("confirmed_at", Double, nullable=False),
    Index("ix_tags_digest", "digest"),
)

tag_lists = Table(
    "tag_lists",
    metadata,
    Column("target", _NAME, primary_key=True),
    Column("variant", _NAME, primary_key=True),
    Column("source", _SOURCE, primary_key=True),
    Column("names", Text, nullable=False),
    Column("confirmed_at", Double, nullable=False),
    Column("times", Text),  # of the names, in their order; last: SQLite reads past it to what stands behind
)

repositories = Table(
    "repositories",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("target", _NAME, primary_key=True),
    Column("first_pulled_at", Double, nullable=False),
    Index("ix_repositories_target", "target"),
)

helm_indexes = Table(
    "helm_indexes",
    metadata,
    Column("url", Text, primary_key=True),
    Column("digest", _DIGEST, nullable=False),
    Column("normalised_digest", _DIGEST),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("confirmed_at", Double, nullable=False),
    Column("forced_at", Double, nullable=False),
)

registries = Table(
    "registries",
    metadata,
    Column("place", _NAME, primary_key=True),
    Column("is_registry", Boolean, nullable=False),
    Column("learnt_at", Double, nullable=False),
)

flight_failures = Table(
    "flight_failures",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("failure", Text, nullable=False),
    Column("left_at", Double, nullable=False),
)

rule_revisions = Table(
    "rule_revisions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 … without gaps
    Column("origin", String(16), nullable=False),
    Column("author", Text, nullable=False),
    Column("made_at", Double, nullable=False),
    Column("digest", _DIGEST, nullable=False),
    Column("comment", Text, nullable=False),
    Column("based_on", Integer),
    Column("content", LargeBinary, nullable=False),  # last: SQLite reads past it to what stands behind
    Index("ix_rule_revisions_origin", "origin", "number"),
)

rule_troubles = Table(
    "rule_troubles",
    metadata,
    Column("instance", String(64), primary_key=True),
    Column("message", Text, nullable=False),
    Column("since", Double, nullable=False),
)

tag_targets = Table(
    "tag_targets",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("tag", String(128), primary_key=True),
    Column("target", _NAME, nullable=False),
    Column("found_at", Double, nullable=False),
)

private_targets = Table(
    "private_targets",
    metadata,
    Column("target", _NAME, primary_key=True),
    Column("noted_at", Double, nullable=False),
)

chart_needs = Table(
    "chart_needs",
    metadata,
    Column("manifest", _DIGEST, ForeignKey("manifests.digest", ondelete="CASCADE"), primary_key=True),
    Column("form", Integer, nullable=False),
    Column("needs", Text, nullable=False),  # last: SQLite reads past it to what stands behind
)

pins = Table(
    "pins",
    metadata,
    Column("target", _NAME, primary_key=True),
    Column("reference", _DIGEST, primary_key=True),  # a tag or a digest
    Column("name", _NAME, nullable=False),
    Column("made_at", Double, nullable=False),
)

retentions = Table(
    "retentions",
    metadata,
    Column("target", _NAME, primary_key=True),
    Column("reference", _DIGEST, primary_key=True),  # a tag or a digest
    Column("keeper", String(120), primary_key=True),  # what wants it kept
    Column("name", _NAME, nullable=False),
    Column("made_at", Double, nullable=False),
    Index("ix_retentions_keeper", "keeper"),
)
