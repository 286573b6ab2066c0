"""How a dialect's table says an error: what all dialects have in common.

Law: a caller's fault is answered with its own sentence; a fault of ours with its class's sentence only, whatever the
instance says, so that nothing of the inside gets out. What is not said is logged. Of a request whose origin was not
believed the log says what went wrong and whom it claimed to be, and nothing else of its credentials.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from hsmkms.core import errors
from hsmkms.dialects.signatures import claimed_access_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.credentials import Caller
    from hsmkms.dialects.base import RequestHead

_logger = logging.getLogger(__name__)

RowT = TypeVar("RowT")


def row_and_sentence(error: errors.HsmkmsError, table: Mapping[type[errors.HsmkmsError], RowT]) -> tuple[RowT, str]:
    """Return the row of `table` for `error`, and the sentence to show; for what has no row, those of a defect."""
    row = table.get(type(error))
    if row is not None and isinstance(error, errors.CallerFault):
        return row, error.message
    if row is None:
        _logger.error("an error that no caller may see reached the wire", exc_info=error)
        return table[errors.InternalFault], errors.InternalFault.text
    _logger.warning("request not served", extra={"fault": type(error).__name__, "reason": error.message})
    return row, error.text


def facts_of(head: RequestHead, error: errors.HsmkmsError, code: str) -> dict[str, str]:
    """Return what the access log may say of a request that is answered with `error` as `code`."""
    facts = {"code": code, "fault": type(error).__name__}
    claimed = claimed_access_id(head) if isinstance(error, errors.AuthenticationFault) else None
    return facts if claimed is None else facts | {"claimed_access_id": claimed}


def facts_of_caller(caller: Caller | None) -> dict[str, str]:
    """Return what the access log may say of who asked."""
    return {} if caller is None else {"account": caller.account.name, "access_id": caller.access_id}
