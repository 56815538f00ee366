"""A place of one's own in a Redis: stores, the driver beside them, and a look at what is kept."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import redis

from tickwork.interfaces import StoreEnvironment
from tickwork.stores.redis import RedisStore
from tickwork.stores.redis.entries import (
    asked_entry,
    available_entry,
    expiry_entry,
    history_entry,
    queue_entry,
    waiter_entry,
)
from tickwork.stores.redis.layout import KEYS, id_entry, key_names, word
from tickwork.stores.redis.run_texts import KeptRun, kept_runs
from tickwork.stores.redis.texts import kept_tasks
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


_ORDERS = (
    *("ids", "due", "finished", "labels", "newest", "history"),
    *("available", "suspects", "queues", "leases"),
    *("waiters", "asked", "expiring", "lapsing", "titles", "dated"),
)
_HASHES = (
    *("tasks", "definitions", "runs", "counts", "holds", "grants", "holders", "locks"),
    "documents",
)


def orders_of(place: Place) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return all orders and counts as they are, and as they follow from the records."""
    with place.client.pipeline(transaction=False) as pipeline:
        for name in _ORDERS:
            pipeline.zrange(place.keys[name], 0, -1)
        for name in _HASHES:
            pipeline.hgetall(place.keys[name])
        kept = dict(zip((*_ORDERS, *_HASHES), pipeline.execute(), strict=True))
    found: dict[str, Any] = {name: sorted(kept[name]) for name in _ORDERS}
    found["holds"] = {name: int(held) for name, held in kept["holds"].items()}
    found["holders"] = {key: int(count) for key, count in kept["holders"].items()}
    found["grants"] = set(kept["grants"])
    found["counts"] = {name: int(count) for name, count in kept["counts"].items() if int(count)}
    return found, _expected(place, kept)


def _expected(place: Place, kept: dict[str, Any]) -> dict[str, Any]:
    expected: dict[str, Any] = {name: [] for name in _ORDERS}
    definitions = kept["definitions"]
    assert definitions.keys() == kept["tasks"].keys()
    rows = [(name, text, definitions[name]) for name, text in kept["tasks"].items()]
    tasks = kept_tasks(rows, place.bench.codec)
    for each in tasks:
        expected["ids"].append(id_entry(each.record.id))
        expected["due"] += filter(None, [each.due_entry()])
        expected["finished"] += filter(None, [each.finished_entry()])
        expected["labels"] += [f"{label}\n{each.id_word}" for label in each.labels]
    holds: Counter[str] = Counter()
    holders: Counter[str] = Counter()
    for run in kept_runs(list(kept["runs"].items()), place.bench.codec):
        record = run.record
        expected["newest"].append(record.id)
        expected["history"].append(history_entry(record))
        _expect_place(run, expected)
        holds[str(record.fence)] += record.node is not None
        holders[word(record.key or "")] += record.holds_key
    expected["leases"] = set(expected["leases"])
    for name, text in kept["locks"].items():
        _, expires, _, forgotten, _ = text.partition("\n")[0].split(" ")
        expected["lapsing"].append(f"{max(expires, forgotten)}\n{name}")
    for entry, text in kept["documents"].items():
        expected["titles"].append(entry)
        expires = text.partition("\n")[0].split(" ")[2]
        expected["dated"] += [f"{expires}\n{entry}"] if expires else []
    counts = dict(Counter(each.record.state.value for each in tasks))
    orders = {name: sorted(entries) for name, entries in expected.items()}
    held = {"holds": dict(+holds), "grants": set(+holds), "holders": dict(+holders)}
    return {**orders, "counts": counts, **held}


def _expect_place(run: KeptRun, expected: dict[str, Any]) -> None:
    record = run.record
    if run.flag == "A":
        expected["suspects" if record.suspect else "available"].append(available_entry(record))
    elif run.flag == "G":
        expected["waiters"].append(waiter_entry(record))
    elif run.flag == "Q":
        expected["queues"].append(queue_entry(record))
    elif run.flag == "E":
        if record.expires_us is not None:
            expected["expiring"].append(expiry_entry(record.id, record.expires_us))
    else:
        node = word(record.node or "")
        expected["leases"].append(f"{node}\n{record.fence}")
        if record.cancel_us is not None and run.flag != "O":
            expected["asked"].append(asked_entry(node, record.id))
