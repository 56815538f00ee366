from collections.abc import Iterator
from itertools import count
from uuid import uuid4

import pytest

from tests.unit.stores.redis_place import Place, orders_of, placed
from tickwork.interfaces import Store
from tickwork.stores.redis import RedisStore
from tickwork.testing.store_contract import StoreComparison, StoreContract
from tickwork.testing.store_contract.pair import Pair


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


class _Audited(Pair):
    """A pair whose orders must be those of its records, too, after each command."""

    place: Place

    def check(self) -> None:
        super().check()
        self.place.bench.codec = self.benches[0].codec
        found, expected = orders_of(self.place)
        assert found == expected


class TestRedisBesideMemory(RedisCase, StoreComparison):
    @pytest.fixture(autouse=True)
    def _with_place(self, redis_url: str) -> Iterator[None]:
        with placed(redis_url) as self.place:
            yield

    def _pair(self) -> Pair:
        pair = _Audited(*super()._pair().benches)
        self.place.look_at(self.prefix)
        pair.place = self.place
        return pair
