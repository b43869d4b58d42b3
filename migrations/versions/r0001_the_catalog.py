"""The catalog: manifests, edges, blobs, rights, tags, names, helm indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_DIGEST = sa.String(135)
_NAME = sa.String(255)


def upgrade() -> None:
    op.create_table(
        "manifests",
        sa.Column("digest", _DIGEST, primary_key=True),
        sa.Column("media_type", sa.String(255), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("artifact_type", sa.String(255)),
        sa.Column("subject", _DIGEST),
        sa.Column("annotations", sa.Text, nullable=False),
        sa.Column("kept_at", sa.Double, nullable=False),
    )
    op.create_index("ix_manifests_subject", "manifests", ["subject"])
    op.create_table(
        "manifest_edges",
        sa.Column(
            "manifest", _DIGEST, sa.ForeignKey("manifests.digest", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("media_type", sa.String(255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_manifest_edges_digest", "manifest_edges", ["digest"])
    op.create_table(
        "blobs",
        sa.Column("digest", _DIGEST, primary_key=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("kept_at", sa.Double, nullable=False),
    )
    op.create_table(
        "rights",
        sa.Column("target", _NAME, primary_key=True),
        sa.Column("variant", _NAME, primary_key=True),
        sa.Column("digest", _DIGEST, primary_key=True),
    )
    op.create_index("ix_rights_digest", "rights", ["digest"])
    _create_tags()
    op.create_table(
        "repositories",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("target", _NAME, primary_key=True),
        sa.Column("first_pulled_at", sa.Double, nullable=False),
    )
    op.create_index("ix_repositories_target", "repositories", ["target"])
    op.create_table(
        "helm_indexes",
        sa.Column("url", sa.Text, primary_key=True),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("normalised_digest", _DIGEST),
        sa.Column("etag", sa.Text),
        sa.Column("last_modified", sa.Text),
        sa.Column("confirmed_at", sa.Double, nullable=False),
        sa.Column("forced_at", sa.Double, nullable=False),
    )


def _create_tags() -> None:
    op.create_table(
        "tags",
        sa.Column("target", _NAME, primary_key=True),
        sa.Column("variant", _NAME, primary_key=True),
        sa.Column("tag", sa.String(128), primary_key=True),
        sa.Column("source", sa.String(16), primary_key=True),
        sa.Column("digest", _DIGEST, sa.ForeignKey("manifests.digest"), nullable=False),
        sa.Column("version", sa.String(255), nullable=False),
        sa.Column("is_exact", sa.Boolean, nullable=False),
        sa.Column("upstream_digest", _DIGEST),
        sa.Column("seen_digest", _DIGEST),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("kept_at", sa.Double, nullable=False),
        sa.Column("confirmed_at", sa.Double, nullable=False),
    )
    op.create_index("ix_tags_digest", "tags", ["digest"])


def downgrade() -> None:
    for table in (
        "helm_indexes",
        "repositories",
        "tags",
        "rights",
        "blobs",
        "manifest_edges",
        "manifests",
    ):
        op.drop_table(table)
