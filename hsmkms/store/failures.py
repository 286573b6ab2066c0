"""What went wrong in the database, in the project's words."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime

from hsmkms.core.errors import AliasTaken, HsmkmsError, InternalFault, StoreUnavailable
from hsmkms.store import sqlite
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
    if isinstance(error, IntegrityError) and any(each in str(cause) for each in _ALIAS_TAKEN):
        return AliasTaken()
    passing = _is_passing(error, cause)
    _logger.log(
        logging.WARNING if passing else logging.ERROR,
        "the database failed",
        # The driver's own sentence only: SQLAlchemy's would quote the statement.
        extra={"error": type(cause).__name__, "reason": str(cause) if cause is not error else "", "passing": passing},
    )
    return StoreUnavailable() if passing else InternalFault()


def cause_of(error: Exception) -> BaseException:
    """Return the driver's error in one of SQLAlchemy, or the error itself."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _is_passing(error: Exception, cause: BaseException) -> bool:
    if isinstance(error, NoConnectionInTime):
        return True
    judged = sqlite.is_passing(cause)
    if judged is None:
        return isinstance(error, OperationalError | InterfaceError)
    return judged
