from __future__ import annotations

from tests.contract.store_contract import StoreContract


class TestSqlite(StoreContract):
    """The fixtures are those of this folder's conftest."""
