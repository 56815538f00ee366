"""How much is planned where there are few places to execute it."""

from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home
from tickwork.executors.inline import InlineExecutor
from tickwork.executors.threads import ThreadPoolExecutor
from tickwork.stores.memory import MemoryStore
from tickwork.testing import ManualClock, SteppedScheduler


class Few(InlineExecutor):
    """Has so many places at a time, and no more."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self.places = places

    def reserve(self, wanted: int) -> int:
        return super().reserve(min(wanted, self.places))


class Asked(MemoryStore):
    """Notes how many tasks it is asked to plan, and how many of their runs it leases at once."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[tuple[int, int]] = []

    def plan(self, request: Any) -> Any:
        reply = super().plan(request)
        self.replies.append((request.limit, len(reply.leased)))
        return reply


def test_what_has_no_place_yet_is_planned_in_small_pieces() -> None:
    store, few = Asked(), Few(4)
    with SteppedScheduler(store, clock=ManualClock(), executors={"default": few}) as scheduler:
        scheduler.add_tasks([{"fn": jobs.note, "trigger": "date", "executor": "default"}] * 300)
        loop = scheduler._loops()[0]  # noqa: SLF001  a tick at a time
        for _ in range(3):
            loop.tick()
        few.places = 1_000
        for _ in range(3):
            loop.tick()
    # 200 fit into a batch; an eighth of it is planned even though earlier runs take each place.
    assert store.replies[:6] == [(200, 4), (25, 0), (25, 0), (25, 0), (25, 25), (200, 0)]


@pytest.mark.parametrize("count", [1, 4])
def test_what_waits_in_a_queue_is_ordered_by_priority(memory_home: Home, count: int) -> None:
    scheduler = memory_home.start(executors={"threadpool": ThreadPoolExecutor(1)})
    scheduler.add_task(jobs.note, args=[count], priority=count)
    scheduler.step()
    scheduler.add_tasks(
        {"fn": jobs.note, "trigger": "date", "args": [number], "priority": number}
        for number in range(count + 1)
    )
    scheduler.step()
    assert jobs.calls == [(count,), *((number,) for number in reversed(range(count + 1)))]
