from __future__ import annotations

from hsmkms.store import SqlStore
from tests.contract.store_contract import StoreContract, WholeStore
from tests.contract.store_life_contract import LifeContract

PORTS: type[WholeStore] = SqlStore
"""For the type checker: the methods are those of the ports."""


class TestSqlite(StoreContract, LifeContract):
    """The fixtures are those of this folder's conftest."""
