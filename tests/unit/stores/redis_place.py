"""A place of one's own in a Redis: stores, the driver beside them, and a look at what is kept."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import redis

from tickwork.interfaces import StoreEnvironment
from tickwork.stores.redis import RedisStore
from tickwork.stores.redis.layout import (
    KEYS,
    available_entry,
    history_entry,
    id_of,
    key_names,
    queue_entry,
    word,
)
from tickwork.stores.redis.texts import kept_runs, kept_tasks
from tickwork.testing.store_contract import Bench

__all__ = ["Place", "orders_of", "placed"]


class Place:
    """A prefix of its own on a server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = redis.Redis.from_url(url, decode_responses=True)
        self.look_at(f"test-{uuid4().hex}")
        self.bench = Bench(self.store(), self.store())
        self._open: list[RedisStore] = []

    def look_at(self, prefix: str) -> None:
        """Look at what is kept under another prefix."""
        self.prefix = prefix
        self.keys = dict(zip(KEYS, key_names(prefix), strict=True))

    def store(self, url: Any = None, **options: Any) -> RedisStore:
        """Return another store with the same prefix, not opened."""
        return RedisStore(url or self.url, **{"prefix": self.prefix, **options})

    def open(self, store: RedisStore) -> RedisStore:
        """Open a store with the bench's clock; it is closed at the end."""
        store.open(self.environment())
        self._open.append(store)
        return store

    def environment(self, *, simulated: bool = True) -> StoreEnvironment:
        return StoreEnvironment(self.bench.codec, lambda: self.bench.now_us, simulated)

    def left(self) -> set[str]:
        """Return the names of the keys that there are."""
        found = self.client.scan_iter(match=f"{{{self.prefix}}}*", count=1_000)
        return {str(key).partition(":")[2] for key in found}

    def close(self) -> None:
        for store in self._open:
            store.close()
        self.bench.close()
        self.client.close()


@contextmanager
def placed(url: str) -> Iterator[Place]:
    place = Place(url)
    try:
        yield place
    finally:
        place.close()


def orders_of(place: Place) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return all orders and counts as they are, and as they follow from the records."""
    client, keys = place.client, place.keys
    orders = ("due", "finished", "labels", "newest", "history", "available", "suspects", "queues")
    found: dict[str, Any] = {name: sorted(client.zrange(keys[name], 0, -1)) for name in orders}
    found["ids"] = [id_of(each) for each in client.zrange(keys["ids"], 0, -1)]
    found["leases"] = sorted(client.zrange(keys["leases"], 0, -1))
    found["holds"] = {name: int(held) for name, held in client.hgetall(keys["holds"]).items()}
    found["grants"] = set(client.hkeys(keys["grants"]))
    counts = {name: int(count) for name, count in client.hgetall(keys["counts"]).items()}
    found["counts"] = {name: count for name, count in counts.items() if count}
    return found, _expected(place, list(found))


def _expected(place: Place, names: list[str]) -> dict[str, Any]:
    client, keys = place.client, place.keys
    definitions = client.hgetall(keys["definitions"])
    texts = client.hgetall(keys["tasks"])
    assert definitions.keys() == texts.keys()
    expected: dict[str, Any] = {name: [] for name in names}
    rows = [(name, text, definitions[name]) for name, text in texts.items()]
    tasks = kept_tasks(rows, place.bench.codec)
    for kept in tasks:
        expected["due"] += filter(None, [kept.due_entry()])
        expected["finished"] += filter(None, [kept.finished_entry()])
        expected["labels"] += [f"{label}\n{kept.id_word}" for label in kept.labels]
    expected["ids"] = sorted(kept.record.id for kept in tasks)
    expected["counts"] = dict(Counter(kept.record.state.value for kept in tasks))
    holds: Counter[str] = Counter()
    leases = set()
    for run in kept_runs(list(client.hgetall(keys["runs"]).items())):
        record = run.record
        expected["newest"].append(record.id)
        expected["history"].append(history_entry(record))
        if run.flag == "A":
            order = "suspects" if record.suspect else "available"
            expected[order].append(available_entry(record))
        elif run.flag == "Q":
            expected["queues"].append(queue_entry(record))
        elif run.flag in "LM":
            holds[str(record.fence)] += 1
            leases.add(f"{word(record.node or '')}\n{record.fence}")
    expected |= {"leases": leases, "holds": dict(holds), "grants": set(holds)}
    ordered = [name for name, entries in expected.items() if not isinstance(entries, dict)]
    return expected | {name: sorted(expected[name]) for name in ordered if name != "grants"}
