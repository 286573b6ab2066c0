from __future__ import annotations

from hsmkms.store.database import SqlStore
from tests.contract.archive_contract import ArchiveContract
from tests.contract.count_contract import CountContract
from tests.contract.store_contract import StoreContract, WholeStore
from tests.contract.store_life_contract import LifeContract
from tests.contract.store_lookup_contract import LookupContract
from tests.contract.store_scope_contract import ScopeContract
from tests.contract.store_sealing_contract import SealingContract
from tests.contract.trail_contract import TrailContract

PORTS: type[WholeStore] = SqlStore
"""For the type checker: the methods are those of the ports."""


class TestSqlite(
    StoreContract,
    ArchiveContract,
    CountContract,
    LifeContract,
    LookupContract,
    ScopeContract,
    SealingContract,
    TrailContract,
):
    """The fixtures are those of this folder's conftest."""
