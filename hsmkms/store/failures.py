"""What went wrong in the database, in the project's words."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime

from hsmkms.core.errors import AliasTaken, HsmkmsError, InternalFault, StoreUnavailable
from hsmkms.store import postgresql, sqlite
from hsmkms.store.schema import KEYS

if TYPE_CHECKING:
    from types import TracebackType

_logger = logging.getLogger(__name__)

# SQLite names the columns of a violated constraint, PostgreSQL the constraint.
_ALIAS_TAKEN: Final = (f"{KEYS.name}.account, {KEYS.name}.alias", "uq_keys_account_alias")


class Translated:
    """A block out of which only errors of the project come, and cancellation."""

    __slots__ = ()

    def __enter__(self) -> Self:
        """Begin the block."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Raise what the error means, from the error.

        Raises:
            StoreUnavailable: the database is busy, full or gone: later it may work.
            AliasTaken: another key of the account has the alias.
            InternalFault: anything else.
        """
        if isinstance(error, Exception) and not isinstance(error, HsmkmsError):
            raise meaning(error) from error


TRANSLATED: Final = Translated()


def meaning(error: Exception) -> HsmkmsError:
    """Return what an error of a driver or of SQLAlchemy means, logged unless it is the caller's."""
    cause = cause_of(error)
    if isinstance(error, IntegrityError | sqlite3.IntegrityError) and any(each in str(cause) for each in _ALIAS_TAKEN):
        return AliasTaken()
    passing = _is_passing(error, cause)
    # The database's own sentence only: SQLAlchemy's would quote the statement, and Python's a value.
    said = str(cause) if cause is not error or sqlite.is_databases_own(cause) else ""
    # A transaction that is run again is nobody's trouble.
    level = logging.INFO if postgresql.is_again(cause) else logging.WARNING if passing else logging.ERROR
    _logger.log(
        level,
        "the database failed",
        extra={"error": type(cause).__name__, "reason": said, "passing": passing},
    )
    return StoreUnavailable() if passing else InternalFault()


def cause_of(error: Exception) -> BaseException:
    """Return the driver's error in one of SQLAlchemy, or the error itself."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def is_again(fault: HsmkmsError) -> bool:
    """Tell whether the database undid a transaction only because another got in its way."""
    return isinstance(fault.__cause__, Exception) and postgresql.is_again(cause_of(fault.__cause__))


def is_lost_connection(fault: HsmkmsError) -> bool:
    """Tell whether a connection that had been there was lost, and with it all that it had not committed."""
    return isinstance(fault.__cause__, DBAPIError) and fault.__cause__.connection_invalidated


def _is_passing(error: Exception, cause: BaseException) -> bool:
    if isinstance(error, NoConnectionInTime):
        return True
    judged = sqlite.is_passing(cause)
    if judged is None:
        judged = postgresql.is_passing(cause)
    if judged is None:
        return isinstance(error, OperationalError | InterfaceError)
    return judged
