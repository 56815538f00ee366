"""A process of its own on a file store: `python -m tests.unit.stores.file_writer FOLDER NAME`.

It adds tasks and manual runs, and plans, leases and finishes until nothing is left. It says of each
run that was leased to it what it was for: a line with the task, the fire time and the fence.
"""

import sys
from itertools import count

from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Edit, Plan
from tickwork.stores.file import FileStore, log
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    LEASE_US,
    T0,
    finished,
    pending,
    runs_now,
    task,
)

__all__ = ["FIRES", "MANUAL", "TASKS", "client"]

TASKS, FIRES, MANUAL = 30, 10, 20


def _decide(record: TaskRecord) -> Plan:
    assert record.fire_us is not None
    runs, following = [pending(record.fire_us)], record.fire_us + 1
    if following == T0 + FIRES:
        return Plan(runs, ScheduleState.FINISHED, None, None, record.fire_us)
    return Plan(runs, ScheduleState.SCHEDULED, following, following, record.fire_us)


def client(folder: str, name: str) -> Bench:
    """Return an open client, which makes ids that no other makes."""
    store = FileStore(folder)
    bench = Bench(store, store)
    numbers = count()
    bench.new_id = lambda: f"{next(numbers):06}-{name}"  # type: ignore[method-assign]
    bench.now_us = T0 + FIRES
    bench.open()
    return bench


def execute(bench: Bench, name: str) -> bool:
    """Take some steps; False where nothing was left to do."""
    planned = bench.plan(_decide, node=name, limit=3, capacity={EXECUTOR: 2})
    leased = [*planned.leased, *bench.lease(node=name, capacity={EXECUTOR: 4}).leased]
    for each in leased:
        print(each.run.task_id, each.run.fire_us, each.run.fence, flush=True)
    assert bench.finish(*(finished(each.run) for each in leased)) == frozenset()
    return bool(leased)


def main(folder: str, name: str) -> None:
    # So that there are several logs, one after the other.
    log._SHORT = 20_000  # noqa: SLF001
    bench = client(folder, name)
    bench.register(name, lease_us=LEASE_US)
    tasks = [task(f"t{each}") for each in range(TASKS)]
    bench.put(*tasks, decide=lambda old, _: Edit(old, unchanged=True))
    for _ in range(MANUAL):
        bench.edit(runs_now(pending(None)), "t0")
    while execute(bench, name):
        pass
    bench.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
