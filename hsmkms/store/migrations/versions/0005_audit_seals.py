"""Seals of the audit trail.

Revision: 0005, after 0004
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0005"
down_revision: Final = "0004"


def upgrade() -> None:
    """Add to what there is: a trail that was written before is sealed from its beginning when the service starts."""
    op.create_table(
        "audit_seals",
        sa.Column("node", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("block", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("node", "block", name=op.f("pk_audit_seals")),
    )
    op.create_index(op.f("ix_audit_seals_sealed"), "audit_seals", ["node", "sequence"], unique=False)
