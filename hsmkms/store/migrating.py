"""Alembic at work: the one module that loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

from hsmkms.store.schema import METADATA
from hsmkms.store.versions import MIGRATIONS, VERSION_TABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection


def to_newest(connection: Connection, *, empty: bool) -> None:
    """Bring the schema to the newest revision, within the transaction of `connection`.

    There is no PostgreSQL database older than revision 0005: an `empty` one is given the newest tables at once, and
    only revisions that come after need to know PostgreSQL.
    """
    if connection.dialect.name == "postgresql" and empty:
        METADATA.create_all(connection)
        command.stamp(config_of(connection), "head")
    else:
        command.upgrade(config_of(connection), "head")


def config_of(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration: our scripts, our table."""
    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    # Read through a parser that expands percent signs.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
