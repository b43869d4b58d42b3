"""Alembic's entry: runs the migrations on the connection it is handed."""

from alembic import context

from gateway.store import admin_tables, tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=[tables.metadata, admin_tables.metadata],
    transaction_per_migration=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
