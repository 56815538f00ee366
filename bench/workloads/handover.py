"""From one process to another: how long after it was submitted does a run begin?

One process submits, one at a time and with pauses between them, so that each finds the other idle
(the pauses vary, so that they don't keep step with anybody's polling). Where the store can tell
(PostgreSQL, Redis), the other is told; where it can't (SQLite), it looks now and then.
"""

import random
import statistics
import time
from collections.abc import Iterable
from typing import Any

from bench.contenders import Contender, contender
from bench.databases import libpq_address
from bench.spec import Spec
from bench.work import stamp_function
from bench.workloads.nodes import Node
from bench.workloads.stage import fresh_store

__all__ = ["measure"]

_PAUSE_S = (0.06, 0.14)
_LAST_S = 3.0
"""How long the last may take."""

_STARTED_S = 1.0


def measure(spec: Spec) -> dict[str, Any]:
    """Return the milliseconds from submitting to the first line of the function: p50 and p99."""
    with fresh_store(spec) as alone:
        if spec.contender == "raw":
            return _figures(_raw(alone.place, spec.count))
        setup = alone._replace(shared=True)
        client = contender(spec.contender)
        client.open(setup)
        with Node(spec.contender, setup) as node:
            node.wait_for("ready")
            node.begin()
            time.sleep(_STARTED_S)
            submitted = _submit(client, spec.count)
            time.sleep(_LAST_S)
            node.end()
            begun = node.wait_for("stamps")
        client.close()
    numbers = sorted(number for number, _ in begun)
    assert numbers == list(range(spec.count)), f"{len(begun)} runs instead of {spec.count}"
    return _figures([at - submitted[number] for number, at in begun])


def _figures(late_s: Iterable[float]) -> dict[str, Any]:
    late_ms = sorted(1_000 * each for each in late_s)
    return {
        "p50_ms": statistics.median(late_ms),
        "p99_ms": late_ms[len(late_ms) * 99 // 100],
        "most_ms": late_ms[-1],
    }


def _submit(client: Contender, count: int) -> list[float]:
    """Submit one after the other; return when."""
    chance = random.Random(1)
    submitted = []
    for number in range(count):
        submitted.append(time.time())
        client.submit(stamp_function, number)
        time.sleep(chance.uniform(*_PAUSE_S))
    return submitted


def _raw(place: str, count: int) -> list[float]:
    """Return how late each row was begun, by the driver alone."""
    import psycopg

    chance = random.Random(1)
    address = libpq_address(place)
    with (
        psycopg.connect(address) as client,
        psycopg.connect(address) as node,
        psycopg.connect(address, autocommit=True) as listener,
    ):
        client.execute("CREATE TABLE raw_nodes (id int PRIMARY KEY)")
        client.execute("INSERT INTO raw_nodes VALUES (1)")
        client.execute("CREATE TABLE raw_jobs (id int PRIMARY KEY, node int, body text)")
        client.execute("CREATE INDEX raw_free ON raw_jobs (id) WHERE node IS NULL")
        client.commit()
        listener.execute("LISTEN raw")
        late = []
        for number in range(count):
            since = time.perf_counter()
            client.execute("INSERT INTO raw_jobs VALUES (%s, NULL, %s)", [number, "x" * 200])
            client.execute("NOTIFY raw")
            client.commit()
            next(listener.notifies())
            _begin_raw(node)
            late.append(time.perf_counter() - since)
            time.sleep(chance.uniform(*_PAUSE_S))
    return late


def _begin_raw(node: Any) -> None:
    free = "SELECT id FROM raw_jobs WHERE node IS NULL ORDER BY id LIMIT 1"
    [number] = node.execute(free).fetchone()
    node.rollback()
    assert node.execute("SELECT id FROM raw_nodes WHERE id = 1 FOR SHARE").fetchone() == (1,)
    assert node.execute(f"{free} FOR UPDATE SKIP LOCKED").fetchone() == (number,)
    node.execute("UPDATE raw_jobs SET node = 1 WHERE id = %s", [number])
    node.commit()
