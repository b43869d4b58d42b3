"""Pins: what is kept whatever the quota says."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pins",
        sa.Column("target", sa.String(255), primary_key=True),
        sa.Column("reference", sa.String(135), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("pins")
