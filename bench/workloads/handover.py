"""From one process to another: how long after it was submitted does a run begin?

One process submits, one at a time and with pauses between them, so that each finds the other idle
(the pauses vary, so that they don't keep step with anybody's polling). Where the store can tell
(PostgreSQL, Redis), the other is told; where it can't (SQLite), it looks now and then.
"""

import random
import statistics
import time
from typing import Any

from bench.contenders import Contender, contender
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
    late_ms = sorted(1_000 * (at - submitted[number]) for number, at in begun)
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
