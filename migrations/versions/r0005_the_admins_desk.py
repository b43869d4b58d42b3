"""The admin's desk: who signs in, what was done, what was served, what runs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = (
    "jobs",
    "upstream_states",
    "events",
    "recent_pulls",
    "rule_hits",
    "activity",
    "audit",
    "admin_sessions",
    "admin_tokens",
)


def upgrade() -> None:
    _create_who()
    _create_activity()
    _create_what_goes_on()


def _create_who() -> None:
    op.create_table(
        "admin_tokens",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("secret_digest", sa.String(64), nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("used_at", sa.Double),
    )
    op.create_index("ix_admin_tokens_secret_digest", "admin_tokens", ["secret_digest"], unique=True)
    op.create_table(
        "admin_sessions",
        sa.Column("secret_digest", sa.String(64), primary_key=True),
        sa.Column("token", sa.String(100), nullable=False),
        sa.Column("form_token", sa.String(64), nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )


def _create_activity() -> None:
    op.create_table(
        "activity",
        sa.Column("step_seconds", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("begins_at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("outcome", sa.String(16), primary_key=True),
        sa.Column("source", sa.String(16), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("sent_bytes", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "rule_hits",
        sa.Column("rule", sa.String(135), primary_key=True),
        sa.Column("hits", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
    )
    op.create_table(
        "recent_pulls",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("reference", sa.String(135), primary_key=True),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("pulls", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
    )
    op.create_index("ix_recent_pulls_last_at", "recent_pulls", ["last_at"])
    op.create_index("ix_recent_pulls_target", "recent_pulls", ["target", "reference"])


def _create_what_goes_on() -> None:
    op.create_table(
        "events",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.Column("first_at", sa.Double, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_kind", "events", ["kind", "number"])
    op.create_index("ix_events_last_at", "events", ["last_at"])
    op.create_table(
        "upstream_states",
        sa.Column("instance", sa.String(64), primary_key=True),
        sa.Column("worker", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("origin", sa.String(300), primary_key=True),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("begun_at", sa.Double, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)
