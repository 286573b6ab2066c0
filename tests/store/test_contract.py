from __future__ import annotations

from hsmkms.store import SqlStore
from tests.contract.store_contract import StoreContract, WholeStore

PORTS: type[WholeStore] = SqlStore
"""For the type checker: the methods are those of the ports."""


class TestSqlite(StoreContract):
    """The fixtures are those of this folder's conftest."""
