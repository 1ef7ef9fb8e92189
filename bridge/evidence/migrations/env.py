"""Runs the steps on the connection that `bridge.evidence.database` gives."""

from alembic import context

from bridge.evidence.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
