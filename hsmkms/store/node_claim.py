"""The right to serve as a node: one process at a time has it, for as long as its session with the server lasts.

Laws:

- it ends with its session, and so with its process: whoever is started anew waits for no clock;
- a machine that is gone without a word is noticed by the server (`postgresql`, keepalives) before whoever waits for its
  name gives up;
- a lost session is no lost node: the right is taken again, unless another process was faster.

It keeps two processes from sealing one trail in turn. What else they may do at once, such as a command that appends to
the trail of the service beside it, the locks of each transaction order.

Source: postgresql.org/docs/current/explicit-locking.html, 13.3.5 (advisory locks of a session).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from hsmkms.core.errors import StoreUnavailable, StoreUnusable
from hsmkms.store import postgresql
from hsmkms.store.failures import TRANSLATED
from hsmkms.store.finishing import finished
from hsmkms.store.urls import PostgresDatabase, database_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

PATIENCE_SECONDS: Final = 15.0
"""For the process before, which may be on a machine that has just died."""
_LOOK_SECONDS: Final = 1.0
_TRY_SECONDS: Final = 0.2
_STILL_THERE: Final = text("SELECT 1")

_logger = logging.getLogger(__name__)


class NodeClaim:
    """The right to be one node of a database."""

    def __init__(self, url: str, node: str, busy_seconds: float, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Claim `node` in the database of `store.url`; an SQLite file has one node, and nothing is claimed there.

        Args:
            url: where the database is.
            node: its name.
            busy_seconds: how long the server may take to answer.
            patience_seconds: how long to wait for another process to give the name up.
        """
        database = database_of(url)
        self._node = node
        self._number = postgresql.lock_number("node", node)
        self._patience_seconds = patience_seconds
        self._connection: Connection | None = None
        self._engine: Engine | None = None
        if isinstance(database, PostgresDatabase):
            self._engine = postgresql.claiming_engine(database, busy_seconds)

    async def take(self) -> None:
        """Return when this process has the right.

        Raises:
            StoreUnusable: another process had it all the time.
            StoreUnavailable: the server does not answer.
        """
        deadline = time.monotonic() + self._patience_seconds
        waited = False
        while not await finished(asyncio.to_thread(self._try)):
            if time.monotonic() >= deadline:
                raise StoreUnusable(
                    f"Another process serves as the node '{self._node}' of this database; give each node a name of its "
                    "own in store.node, or end that process."
                )
            if not waited:
                _logger.warning("another process has this node's name", extra={"node": self._node})
            waited = True
            await asyncio.sleep(_TRY_SECONDS)

    async def keep(self) -> None:
        """Take the right again whenever its session is lost; runs until it is cancelled.

        Raises:
            StoreUnusable: another process took it meanwhile, and keeps it.
        """
        if self._engine is None:
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with contextlib.suppress(StoreUnavailable):  # every other use of the database says so
                await self.take()

    async def give_up(self) -> None:
        """Let another process have it."""
        await finished(asyncio.to_thread(self._end))

    def _try(self) -> bool:
        """Tell whether this process has the right, now or by now.

        Raises:
            StoreUnavailable: the server does not answer.
        """
        if self._engine is None:
            return True
        try:
            with TRANSLATED:
                if self._connection is not None:
                    self._connection.execute(_STILL_THERE)  # the session is, so its lock is
                    return True
                connection = self._connection = self._engine.connect()
                had = postgresql.try_lock(connection, self._number)
        except BaseException:
            self._disconnect()
            raise
        if not had:
            self._disconnect()
        return had

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with TRANSLATED:
                connection.invalidate()  # a session that is kept in the pool would keep its lock
                connection.close()

    def _end(self) -> None:
        self._disconnect()
        if self._engine is not None:
            with TRANSLATED:
                self._engine.dispose()
