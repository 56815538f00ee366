from itertools import count
from uuid import uuid4

import pytest

from tickwork.interfaces import Store
from tickwork.stores.redis import RedisStore
from tickwork.testing.store_contract import StoreComparison, StoreContract


class RedisCase:
    @pytest.fixture(autouse=True)
    def _on_server(self, redis_url: str) -> None:
        self.url = redis_url
        self.prefixes = (f"test-{uuid4().hex}-{number}" for number in count())
        self.prefix = ""

    def make_store(self) -> RedisStore:
        self.prefix = next(self.prefixes)
        return RedisStore(self.url, prefix=self.prefix)

    def make_second(self, store: Store) -> RedisStore:
        return RedisStore(self.url, prefix=self.prefix)


class TestRedisStore(RedisCase, StoreContract):
    pass


class TestRedisBesideMemory(RedisCase, StoreComparison):
    pass
