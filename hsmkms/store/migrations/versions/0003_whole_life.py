"""The whole life of a key: its uses counted, its tags, its deletion and what is left of it.

Revision: 0003, after 0002
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"


def upgrade() -> None:
    """Add to what there is; no table is made anew."""
    op.add_column("keys", sa.Column("uses_leased", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.create_index(
        op.f("ix_keys_due"),
        "keys",
        ["deletion_due"],
        unique=False,
        sqlite_where=sa.text("deletion_due IS NOT NULL"),
        postgresql_where=sa.text("deletion_due IS NOT NULL"),
    )
    op.create_index(op.f("ix_tickets_by_key"), "tickets", ["key_id"], unique=False)
    op.create_table(
        "key_tags",
        sa.Column("key_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["keys.key_id"], name=op.f("fk_key_tags_key_id")),
        sa.PrimaryKeyConstraint("key_id", "name", name=op.f("pk_key_tags")),
    )
    op.create_table(
        "tombstones",
        sa.Column("key_id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name=op.f("fk_tombstones_account")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_tombstones")),
    )
