"""What lists and bundles want kept, how the last run of each list went, and what charts need."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retentions",
        sa.Column("target", sa.String(255), primary_key=True),
        sa.Column("reference", sa.String(135), primary_key=True),
        sa.Column("keeper", sa.String(120), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
    )
    op.create_index("ix_retentions_keeper", "retentions", ["keeper"])
    op.create_table(
        "sync_runs",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("begun_at", sa.Double, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("next_at", sa.Double),
        sa.Column("report", sa.Text, nullable=False),
    )
    op.create_table(
        "chart_needs",
        sa.Column(
            "manifest",
            sa.String(135),
            sa.ForeignKey("manifests.digest", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("form", sa.Integer, nullable=False),
        sa.Column("needs", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("chart_needs")
    op.drop_table("sync_runs")
    op.drop_index("ix_retentions_keeper", "retentions")
    op.drop_table("retentions")
