"""The store that lives in this process and ends with it."""

from tickwork.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
