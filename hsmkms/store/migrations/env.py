"""Run by Alembic inside the transaction that `store.versions` opened."""

from __future__ import annotations

from alembic import context

from hsmkms.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=context.config.attributes["version_table"],
    render_as_batch=True,  # SQLite alters a table by making it anew
    transactional_ddl=True,  # the engine emits BEGIN itself, so that DDL rolls back with the rest
)
context.run_migrations()
