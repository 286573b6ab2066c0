"""Credentials that show an auth token.

Revision: 0002, after 0001
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"


def upgrade() -> None:
    """Let a credential have an auth token in place of a sealed secret.

    SQLite makes the table anew and drops the old one. Nothing refers to it, so that this is allowed with foreign keys
    enforced, and a reader keeps its view of the old one.
    """
    with op.batch_alter_table("credentials") as credentials:
        credentials.alter_column("record", existing_type=sa.LargeBinary(), nullable=True)
        credentials.add_column(sa.Column("token_digest", sa.LargeBinary(), nullable=True))
        credentials.create_unique_constraint(op.f("uq_credentials_token_digest"), ["token_digest"])
        credentials.create_check_constraint(
            op.f("ck_credentials_one_proof"), sa.text("(record IS NULL) <> (token_digest IS NULL)")
        )
