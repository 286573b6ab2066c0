"""Sealing keys of more than one version.

Revision: 0006, after 0005
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"


def upgrade() -> None:
    """Say of all there is that it is of the first version, from before there were others.

    The table of the few custody objects is made anew, because its primary key changes; nothing refers to it.
    """
    first = sa.text("1")
    old = sa.table("custody_objects", *map(sa.column, ("role", "object_id", "challenge", "answer")))
    found = op.get_bind().execute(sa.select(old)).mappings().all()
    op.drop_table("custody_objects")
    in_order_of_bytes = sa.String(length=32).with_variant(sa.String(length=32, collation="C"), "postgresql")
    objects = op.create_table(
        "custody_objects",
        sa.Column("role", in_order_of_bytes, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, server_default=first, nullable=False),
        sa.Column("object_id", sa.LargeBinary(), nullable=False),
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("transferable", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("role", "version", name=op.f("pk_custody_objects")),
        sa.UniqueConstraint("object_id", name=op.f("uq_custody_objects_object_id")),
    )
    op.bulk_insert(objects, [dict(each) for each in found])
    for sealed in ("materials", "pair_secrets"):
        op.add_column(sealed, sa.Column("sealing_version", sa.Integer(), server_default=first, nullable=False))
    op.create_index(op.f("ix_materials_sealing_version"), "materials", ["sealing_version"], unique=False)
