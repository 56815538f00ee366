"""What every store must do, as tests: subclass `StoreContract`, say how one is made, run it.

The methods named `test_...` know no test framework, read no clock and never sleep: time is the
bench's, and stands still. Each step has a module of its own here.
"""

from tickwork.testing.store_contract.bench import Bench
from tickwork.testing.store_contract.case import StoreCase
from tickwork.testing.store_contract.comparison import StoreComparison
from tickwork.testing.store_contract.concurrency import ConcurrencyContract
from tickwork.testing.store_contract.demand import DemandContract
from tickwork.testing.store_contract.editing import EditingContract
from tickwork.testing.store_contract.finishing import FinishingContract
from tickwork.testing.store_contract.keeping import KeepingContract
from tickwork.testing.store_contract.keys import KeysContract
from tickwork.testing.store_contract.leasing import LeasingContract
from tickwork.testing.store_contract.life import LifeContract
from tickwork.testing.store_contract.locks import LocksContract
from tickwork.testing.store_contract.nodes import NodesContract
from tickwork.testing.store_contract.paging import PagingContract
from tickwork.testing.store_contract.planning import PlanningContract
from tickwork.testing.store_contract.reading import PruningContract, ReadingContract
from tickwork.testing.store_contract.seeking import SeekingContract
from tickwork.testing.store_contract.values import ValuesContract

__all__ = ["Bench", "StoreCase", "StoreComparison", "StoreContract"]


class StoreContract(
    LifeContract,
    EditingContract,
    PlanningContract,
    LeasingContract,
    FinishingContract,
    NodesContract,
    DemandContract,
    KeysContract,
    LocksContract,
    KeepingContract,
    ReadingContract,
    PagingContract,
    SeekingContract,
    PruningContract,
    ValuesContract,
    ConcurrencyContract,
):
    """The contract of `tickwork.interfaces.Store`, `Reader`, `OnDemand`, `Locking`, `Keeping`."""
