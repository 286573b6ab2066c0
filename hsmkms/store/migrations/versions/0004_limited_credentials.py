"""Credentials that are limited to some keys, that end, and that others replace.

Revision: 0004, after 0003
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"


def upgrade() -> None:
    """Add to what there is: a credential that was made before has no limit, no end and no successor."""
    op.add_column("credentials", sa.Column("scope", sa.Text(), nullable=True))
    op.add_column("credentials", sa.Column("valid_to", sa.BigInteger(), nullable=True))
    op.add_column("credentials", sa.Column("replaced_by", sa.Text(), nullable=True))
