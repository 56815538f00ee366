"""How much is planned and leased where there are few places to execute it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import Home
from tests.unit.scheduler.test_sharing import until
from tickwork import Scheduler
from tickwork.executors.inline import InlineExecutor
from tickwork.executors.threads import ThreadPoolExecutor
from tickwork.model.jobs import Job
from tickwork.model.policies import RunState, Source
from tickwork.scheduler.gatekeeping import Passage
from tickwork.scheduler.gates import Gate
from tickwork.scheduler.held import Held
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


class Noting(ThreadPoolExecutor):
    """Notes how many jobs it is given at once."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.batches: list[int] = []

    def start(self, jobs: Sequence[Job]) -> None:
        self.batches.append(len(jobs))
        super().start(jobs)


def test_what_waits_behind_long_jobs_is_begun_by_another_node(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}?durability=normal"
    greedy, idle = Noting(2), Noting(2)
    with Scheduler(url, executors={"threadpool": idle}) as other:
        other.pause()
        with Scheduler(url, executors={"threadpool": greedy}) as scheduler:
            scheduler.pause()
            scheduler.add_tasks([{"fn": jobs.wait_for_go, "trigger": "date"}] * 20)
            scheduler.resume()
            until(lambda: jobs.calls == ["waiting"] * 2)
            other.resume()
            until(lambda: jobs.calls == ["waiting"] * 4)
            assert greedy.batches[0] == 20
            assert idle.batches
            jobs.go.set()
            until(lambda: len(jobs.calls) == 40)
            until(lambda: len(scheduler.get_runs(status=RunState.COMPLETED)) == 20)
            runs = scheduler.get_runs()
    assert Counter(jobs.calls) == {"waiting": 20, "went": 20}
    assert {(run.status, run.attempt) for run in runs} == {("completed", 1)}
    assert len({run.task_id for run in runs}) == len(runs) == 20


def test_a_stop_gives_back_what_waits_behind_long_jobs_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}?durability=normal"
    with Scheduler(url, executors={"threadpool": ThreadPoolExecutor(1)}) as scheduler:
        scheduler.add_tasks([{"fn": jobs.wait_for_go, "trigger": "date"}] * 5)
        until(lambda: jobs.calls == ["waiting"])
        until(lambda: len(scheduler.get_runs(status=RunState.PENDING)) == 4)
        jobs.go.set()
    assert len(jobs.calls) % 2 == 0
    assert set(jobs.calls) == {"waiting", "went"}


def test_only_what_may_as_well_run_elsewhere_and_later_is_given_back(memory_home: Home) -> None:
    scheduler = memory_home.start()
    scheduler.add_task(jobs.wait_for_go)
    loop = scheduler._loops()[0]  # noqa: SLF001  what it holds shows nowhere else
    loop.tick()
    [original] = loop.in_flight()

    def held(source: Source = Source.SCHEDULED) -> Held:
        run = replace(original.run, source=source)
        return Held(original.holding, run, original.definition, original.target, 0)

    plain, marked, gated, last = held(), held(), held(), held(Source.SHUTDOWN)
    marked.marked = True
    gated.passage = Passage(gated, Gate(None, None, None, None, 0))
    assert [each.withdraw() for each in (plain, marked, gated, last)] == [True] + [False] * 3
    assert [each.withdrawn for each in (plain, marked, gated, last)] == [True] + [False] * 3


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
