"""Tables of the admin's desk, beside the catalog's: who signs in, what was done and served, what runs."""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, String, Table, Text

_NAME = String(255)
_REFERENCE = String(135)  # a tag or a digest
_SECRET = String(64)  # SHA-256 of a secret, hexadecimal

metadata = MetaData()  # of its own: none of these rows waits in memory where the disk is full

admin_tokens = Table(
    "admin_tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("role", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("secret_digest", _SECRET, nullable=False),
    Column("made_at", Double, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("expires_at", Double),
    Column("used_at", Double),
    Index("ix_admin_tokens_secret_digest", "secret_digest", unique=True),
)

admin_sessions = Table(
    "admin_sessions",
    metadata,
    Column("secret_digest", _SECRET, primary_key=True),
    Column("token", String(100), nullable=False),  # the id of what was signed in with
    Column("form_token", _SECRET, nullable=False),
    Column("made_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("made_at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)

activity = Table(
    "activity",
    metadata,
    Column("step_seconds", Integer, primary_key=True, autoincrement=False),  # 0: since ever
    Column("begins_at", BigInteger, primary_key=True, autoincrement=False),
    Column("outcome", String(16), primary_key=True),
    Column("source", String(16), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("sent_bytes", BigInteger, nullable=False),
)

rule_hits = Table(
    "rule_hits",
    metadata,
    Column("rule", _REFERENCE, primary_key=True),
    Column("hits", BigInteger, nullable=False),
    Column("last_at", Double, nullable=False),
)

recent_pulls = Table(
    "recent_pulls",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("reference", _REFERENCE, primary_key=True),
    Column("target", _NAME, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("pulls", BigInteger, nullable=False),
    Column("last_at", Double, nullable=False),
    Index("ix_recent_pulls_last_at", "last_at"),
    Index("ix_recent_pulls_target", "target", "reference"),
)

events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Index("ix_events_kind", "kind", "number"),
    Index("ix_events_last_at", "last_at"),
    sqlite_autoincrement=True,
)

upstream_states = Table(
    "upstream_states",
    metadata,
    Column("instance", String(64), primary_key=True),
    Column("worker", Integer, primary_key=True, autoincrement=False),
    Column("origin", String(300), primary_key=True),
    Column("facts", Text, nullable=False),
    Column("noted_at", Double, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    Column("begun_at", Double, nullable=False),
    Column("noted_at", Double, nullable=False),
    Column("ended_at", Double),
    sqlite_autoincrement=True,
)

sync_runs = Table(
    "sync_runs",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("actor", Text, nullable=False),
    Column("begun_at", Double, nullable=False),
    Column("noted_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("next_at", Double),
    Column("report", Text, nullable=False),
)
