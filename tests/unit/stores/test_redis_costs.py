"""What a step costs: calls of the server, and what the server looks at, whatever is stored."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import redis

from tests.unit.stores.redis_place import Place, placed
from tickwork.model.locks import LockRequest
from tickwork.model.policies import ScheduleState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import Edit, Eligibility, Mark, Note, PruneRequest, RunQuery, TaskQuery
from tickwork.testing.store_contract.bench import (
    ALL_EXECUTORS,
    EXECUTOR,
    MINUTE,
    NODE,
    OTHER,
    ROOM,
    T0,
    decide_never,
    finished,
    given_back,
    task,
)

STORED = 20_000
EXCLUDED = 10_000


class Counting:
    """A client of the driver that counts the scripts that it sends."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.scripts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        self.scripts += arguments[0] == "EVALSHA"
        return self._client.execute_command(*arguments, **options)


@pytest.fixture
def place(redis_url: str) -> Iterator[Place]:
    with placed(redis_url) as place, redis.Redis.from_url(redis_url) as client:
        place.bench.store = place.store(Counting(client))
        place.bench.open()
        place.bench.register(NODE, OTHER)
        yield place


def scripts(place: Place, step: Callable[[], object]) -> int:
    """Take a step; return how many scripts were sent for it."""
    client = place.bench.store._server.client  # type: ignore[attr-defined]  # noqa: SLF001  there is no other way to its client
    client.scripts = 0
    step()
    return int(client.scripts)


def looks(place: Place, step: Callable[[], object]) -> Counter[str]:
    """Take a step; return which commands the server has done for it, and how often."""

    def done() -> Counter[str]:
        told = place.client.info("commandstats")
        return Counter({name[8:]: stats["calls"] for name, stats in told.items()})

    before = done()
    step()
    return done() - before - Counter(info=1)


def test_steps_take_few_scripts(place: Place) -> None:
    bench = place.bench
    tasks = [task(f"t{each}", T0 if each < 900 else T0 + MINUTE) for each in range(1_000)]
    assert scripts(place, lambda: bench.put(*tasks)) == 2
    assert scripts(place, lambda: bench.plan(capacity={EXECUTOR: 500})) == 2
    assert scripts(place, lambda: bench.plan(decide_never)) == 1
    assert scripts(place, lambda: bench.lease(capacity={EXECUTOR: 300})) == 1
    runs = [run for run in bench.runs() if run.node is not None]
    assert len(runs) == 800
    assert scripts(place, lambda: bench.finish(*map(finished, runs[:700]))) == 1
    assert scripts(place, lambda: bench.finish(*map(given_back, runs[700:]))) == 3
    assert scripts(place, lambda: bench.recover(decide_never)) == 1
    assert scripts(place, lambda: bench.register(NODE)) == 1


def test_a_single_task_is_added_by_one_script_and_read_only_where_it_is_known(
    place: Place,
) -> None:
    bench = place.bench
    assert scripts(place, lambda: bench.put(task("one"))) == 1
    assert bench.task("one").revision == 0

    def keep(existing: TaskRecord, _: TaskRecord) -> Edit:
        return Edit(existing, unchanged=True)

    assert scripts(place, lambda: bench.put(task("one", name="other"), decide=keep)) == 2
    assert bench.task("one").definition == task("one").definition


def test_looking_for_work_costs_the_same_however_much_is_stored(place: Place) -> None:
    bench = place.bench

    def look() -> None:
        bench.plan(decide_never)
        assert bench.lease().leased == ()

    bench.submit(available_us=T0 + MINUTE)
    # Once for nothing: Redis may have forgotten a script, which then is sent to it again.
    look()
    few = looks(place, look)
    bench.put(*(task(f"t{each:05}", T0 + MINUTE + each) for each in range(STORED)))
    bench.plan(now_us=T0 + MINUTE + 2_000, limit=2_000, capacity={})
    bench.put(*(task(f"p{each:05}", T0, state=ScheduleState.PAUSED) for each in range(2_000)))
    assert looks(place, look) == few
    # Two looks for each of three executors, and suspects, too; one for what there is room for. Two
    # find the only rank there is, and two that there is no other.
    assert few == Counter(evalsha=2, hget=3, set=1, zrangebylex=6 + 2 + 6 + 2)


def test_plain_runs_pay_nothing_for_what_others_have(place: Place) -> None:
    bench = place.bench
    leased: list[RunRecord] = []

    def plan() -> None:
        leased.extend(
            each.run for each in bench.plan(eligibility=Eligibility(frozenset(ROOM))).leased
        )

    for name in ("warm", "done"):
        bench.put(*(task(f"{name}{each}") for each in range(100)))
        leased.clear()
        planned = looks(place, plan)
        marked = looks(place, lambda: bench.finish(*(Mark(e.id, e.fence, T0) for e in leased)))
        ended = looks(place, lambda: bench.finish(*map(finished, leased)))
    assert len(leased) == 100
    assert planned == Counter(
        evalsha=2, hget=3, hmget=2, get=3, set=2, time=1, zrangebylex=2, hset=4, hincrby=2, incr=1,
        zadd=3, zrem=1,
    )  # fmt: skip
    assert marked == Counter(evalsha=1, set=1, hmget=1, hset=1)
    assert ended == Counter(
        evalsha=1, set=1, hmget=2, hset=2, hincrby=1, hget=1, hdel=2, zrem=1, incr=1
    )


def test_urgent_runs_that_are_not_available_yet_hide_nothing(place: Place) -> None:
    bench = place.bench
    own = bench.submit(rank=5)
    later = replace(own, rank=-1, available_us=T0 + MINUTE)
    ids = [f"{own.id}{each:05}" for each in range(STORED)]
    for start in range(0, STORED, 5_000):
        bench.demand.submit([replace(later, id=each) for each in ids[start : start + 5_000]])
    ranks = [replace(later, id=f"{own.id}r{each}", rank=each) for each in (-3, -2, 1)]
    bench.demand.submit(ranks)
    mine = Eligibility(frozenset({EXECUTOR}))
    lease = partial(bench.lease, eligibility=mine, suspects=False, capacity={EXECUTOR: 1})
    leased: list[str] = []
    done = looks(place, lambda: leased.extend(each.run.id for each in lease().leased))
    assert leased == [own.id]
    # One look for each rank up to its own, and one for what is available there.
    assert done["zrangebylex"] == 5 + 1
    # Nothing is left: each of the other ranks is looked at, again for when the next one comes.
    assert looks(place, lambda: lease().next_us)["zrangebylex"] == 5 + 5
    assert lease().next_us == T0 + MINUTE


def test_runs_on_demand_take_few_scripts(place: Place) -> None:
    bench = place.bench
    run = bench.submit(concurrency_key="key")
    new = [replace(run, id=f"{run.id}{each}") for each in range(1_000)]
    assert scripts(place, lambda: bench.demand.submit(new)) == 1
    assert scripts(place, lambda: bench.demand.submit(new)) == 1
    assert scripts(place, lambda: bench.demand.submit([*new, replace(run, id="new")])) == 2
    [leased] = bench.lease().leased
    # What is asked of the task, too: there is none here. What is only asked for needs no task.
    assert scripts(place, lambda: bench.cancel(*new[:500])) == 3
    assert scripts(place, lambda: bench.cancel(leased.run)) == 2
    assert scripts(place, lambda: bench.demand.asked(NODE)) == 1
    note = Note(run.id, leased.run.fence, progress="1")
    assert scripts(place, lambda: bench.finish(note, finished(leased.run))) == 1
    assert sum(each.holds_key for each in bench.runs()) == 1


def test_what_is_left_out_is_passed_over_in_pages(place: Place) -> None:
    bench = place.bench
    for start in range(0, EXCLUDED, 5_000):
        names = (f"gone{each:05}" for each in range(start, start + 5_000))
        bench.put(*(task(each, T0 - EXCLUDED, function="gone:away") for each in names))
    bench.put(task("fine"), task("later", T0 + MINUTE))
    mine = Eligibility(ALL_EXECUTORS, frozenset({"gone:away"}))
    done = looks(place, lambda: bench.plan(eligibility=mine))
    assert [run.task_id for run in bench.runs()] == ["fine"]
    # Ten full pages and the rest, and one look for each other executor, now and later.
    assert done["zrangebylex"] == EXCLUDED // 1_000 + 1 + 2 + 3
    assert done["hget"] == 3
    named = frozenset(f"gone{each:05}" for each in range(EXCLUDED))
    bench.put(task("also"))
    bench.plan(eligibility=Eligibility(ALL_EXECUTORS, frozenset(), named))
    assert [run.task_id for run in bench.runs()] == ["fine", "also"]


def test_histories_are_read_only_where_they_are_too_long(place: Place) -> None:
    bench = place.bench
    runs = bench.leased(*(task(f"t{each}") for each in range(100)))
    bench.finish(*map(finished, runs))
    keeping = PruneRequest({f"t{each}": 1 for each in range(100)}, T0)
    assert scripts(place, lambda: bench.store.prune(keeping)) == 6
    forgetting = PruneRequest({"t1": 0, "t2": 0, "t3": 1}, T0)
    assert scripts(place, lambda: bench.store.prune(forgetting)) == 9


def test_locks_cost_the_same_however_many_there_are(place: Place) -> None:
    store = place.open(place.store())
    counting: Any = place.bench.store
    steps: dict[str, Callable[[], object]] = {
        "acquire": lambda: counting.acquire_lock(LockRequest("door", "a", MINUTE)),
        "again": lambda: counting.acquire_lock(LockRequest("door", "a", MINUTE)),
        "other": lambda: counting.acquire_lock(LockRequest("door", "b", MINUTE)),
        "renew": lambda: counting.renew_lock("door", "a", MINUTE),
        "give back": lambda: counting.renew_lock("door", "a", 0),
    }
    costs = []
    # Once for nothing: Redis may have to be told the scripts.
    for stored in (0, 0, 2_000):
        for each in range(stored):
            store.acquire_lock(LockRequest(f"door {each}", "c", 1 + each % 2 * MINUTE))
        done = {name: looks(place, step) for name, step in steps.items()}
        assert [scripts(place, step) for step in steps.values()] == [1] * len(steps)
        costs.append(done)
    # The key of a step is set for a client that was given.
    assert costs[1] == {
        "acquire": Counter(evalsha=1, hget=1, set=2, get=1, time=1, hset=1, zadd=1),
        "again": Counter(evalsha=1, hget=1, set=1, hset=1, zadd=1, zrem=1),
        "other": Counter(evalsha=1, hget=1, set=1),
        "renew": Counter(evalsha=1, hget=1, hset=1, zadd=1, zrem=1),
        "give back": Counter(evalsha=1, hget=1, hdel=1, zrem=1),
    }
    assert costs[2] == costs[1]


def test_locks_are_listed_and_forgotten_by_their_lapse(place: Place) -> None:
    store: Any = place.bench.store
    for each in range(1_000):
        store.acquire_lock(LockRequest(f"door {each}", "a", MINUTE if each % 100 else 2 * MINUTE))
    place.bench.now_us += MINUTE
    listed = [lock.name for lock in store.locks()]
    assert listed == sorted(f"door {each}" for each in range(0, 1_000, 100))
    done = looks(place, store.locks)
    assert done == Counter(evalsha=1, zrangebylex=1, hmget=1)
    prune = partial(store.prune, PruneRequest({}, 0, limit=600, now_us=place.bench.now_us))
    for left in (400, 10, 10):
        prune()
        assert place.client.hlen(place.keys["locks"]) == left
        assert place.client.zcard(place.keys["lapsing"]) == left
    assert [lock.name for lock in store.locks()] == listed


def test_labelled_tasks_are_found_without_reading_all(place: Place) -> None:
    bench = place.bench
    bench.put(*(task(f"t{each:05}") for each in range(3_000)))
    bench.put(task("marked", decorated=True))
    query = TaskQuery(declared_in="shop.jobs")
    assert [each.id for each in bench.reader.find_tasks(query)] == ["marked"]
    assert scripts(place, lambda: bench.reader.find_tasks(query)) == 2
    assert scripts(place, lambda: bench.reader.find_tasks(TaskQuery(trigger="shutdown"))) == 1


def test_a_page_of_tasks_is_found_without_reading_all(place: Place) -> None:
    bench = place.bench
    bench.put(*(task(f"t{each:05}") for each in range(3_000)))
    for sort, first in (("id", "t00100"), ("-id", "t02899")):
        query = TaskQuery(sort=sort, limit=50, offset=100)
        found = bench.reader.find_tasks(query)
        assert (len(found), found[0].id) == (50, first)
        assert scripts(place, partial(bench.reader.find_tasks, query)) == 2


def test_other_orders_are_those_of_all_tasks(place: Place) -> None:
    bench = place.bench
    # More than are held at a time, and in an order that has nothing to do with their ids.
    bench.put(*(task(f"t{each:05}", T0 + each * 7_919 % 12_007) for each in range(12_000)))
    by_time = sorted(range(12_000), key=lambda each: each * 7_919 % 12_007)
    query = TaskQuery(sort="next_run_time", limit=20, offset=300)
    found = [each.id for each in bench.reader.find_tasks(query)]
    assert found == [f"t{each:05}" for each in by_time[300:320]]
    last = bench.reader.find_tasks(TaskQuery(sort="-next_run_time", limit=3))
    assert [each.id for each in last] == [f"t{each:05}" for each in by_time[:-4:-1]]


def test_the_newest_runs_are_found_without_reading_all(place: Place) -> None:
    bench = place.bench
    bench.leased(*(task(f"t{each:05}") for each in range(3_000)), limit=5_000)
    newest = bench.reader.find_runs(RunQuery(limit=3))
    assert [run.task_id for run in newest] == ["t02999", "t02998", "t02997"]
    assert scripts(place, lambda: bench.reader.find_runs(RunQuery(limit=3))) == 1
    assert scripts(place, lambda: bench.reader.find_runs(RunQuery(task_id="t00001"))) == 1
