from tickwork.stores.memory import MemoryStore
from tickwork.testing.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    def make_store(self) -> MemoryStore:
        return MemoryStore()
