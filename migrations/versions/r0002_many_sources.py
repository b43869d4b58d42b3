"""Many sources: who gave a right, what each listed, which places are registries, what failed flights left."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NAME = sa.String(255)
_SOURCE = sa.String(16)


def upgrade() -> None:
    op.add_column("rights", sa.Column("source", _SOURCE, nullable=False, server_default="helm"))
    op.create_table(
        "tag_lists",
        sa.Column("target", _NAME, primary_key=True),
        sa.Column("variant", _NAME, primary_key=True),
        sa.Column("source", _SOURCE, primary_key=True),
        sa.Column("names", sa.Text, nullable=False),
        sa.Column("confirmed_at", sa.Double, nullable=False),
    )
    op.create_table(
        "registries",
        sa.Column("place", _NAME, primary_key=True),
        sa.Column("is_registry", sa.Boolean, nullable=False),
        sa.Column("learnt_at", sa.Double, nullable=False),
    )
    op.create_table(
        "flight_failures",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("left_at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    for table in ("flight_failures", "registries", "tag_lists"):
        op.drop_table(table)
    with op.batch_alter_table("rights") as rights:
        rights.drop_column("source")
