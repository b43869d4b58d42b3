"""Rules: revisions, what is wrong with each file, where tags were found and since when, what is private."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NAME = sa.String(255)


def upgrade() -> None:
    op.create_table(
        "rule_revisions",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("digest", sa.String(135), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("based_on", sa.Integer),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_rule_revisions_origin", "rule_revisions", ["origin", "number"])
    op.create_table(
        "rule_troubles",
        sa.Column("instance", sa.String(64), primary_key=True),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
    )
    op.create_table(
        "tag_targets",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("tag", sa.String(128), primary_key=True),
        sa.Column("target", _NAME, nullable=False),
        sa.Column("found_at", sa.Double, nullable=False),
    )
    op.create_table(
        "private_targets",
        sa.Column("target", _NAME, primary_key=True),
        sa.Column("noted_at", sa.Double, nullable=False),
    )
    op.add_column("tag_lists", sa.Column("times", sa.Text))


def downgrade() -> None:
    with op.batch_alter_table("tag_lists") as tag_lists:
        tag_lists.drop_column("times")
    for table in ("private_targets", "tag_targets", "rule_troubles", "rule_revisions"):
        op.drop_table(table)
