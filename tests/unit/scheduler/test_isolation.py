"""One bad thing stops only itself."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.scheduler import doubtful, jobs
from tests.unit.scheduler.conftest import Home, tick
from tests.unit.scheduler.doubtful import START, Foreign, good_until
from tickwork import AndTrigger, OrTrigger, Scheduler, StoreUnavailableError, TickworkError
from tickwork.events import StoreFailed, StoreRecovered, TaskUnplannable
from tickwork.interfaces import StoreEnvironment
from tickwork.model.instants import SECOND
from tickwork.model.records import NodeRecord
from tickwork.model.steps import Beat
from tickwork.scheduler.loop import LoopSettings
from tickwork.stores.memory import MemoryStore
from tickwork.testing import SteppedScheduler

AT_THREE = START + timedelta(seconds=3)


def executed(scheduler: Scheduler, task_id: str) -> int:
    return sum(
        run.fire_count for run in scheduler.get_runs(task=task_id, status="completed", limit=1000)
    )


# --- triggers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("misbehaviour", "says"),
    [
        (doubtful.raising, "RuntimeError: no idea"),
        (doubtful.exiting, "SystemExit: 3"),
        (doubtful.naive, "fire times must be aware"),
        (doubtful.backwards, "fire times must increase strictly"),
        (doubtful.standing_still, "fire times must increase strictly"),
        (doubtful.garbage, "its trigger failed"),
        (doubtful.too_late, "its trigger failed"),
    ],
)
@pytest.mark.parametrize("fixed_delay", [False, True])
def test_a_bad_trigger_stops_only_its_task(
    misbehaviour: Callable[[datetime], Any], says: str, fixed_delay: bool, memory_home: Home
) -> None:
    heard: list[TaskUnplannable] = []
    scheduler = memory_home.start()
    scheduler.on(TaskUnplannable, heard.append)
    trigger = good_until(AT_THREE, misbehaviour)
    scheduler.add_task(jobs.note, trigger, id="bad", fixed_delay=fixed_delay)
    scheduler.add_task(jobs.note, "interval", seconds=1, id="good")
    scheduler.advance(seconds=30)
    assert executed(scheduler, "good") == 30
    assert 3 <= executed(scheduler, "bad") <= 4
    info = scheduler.get_task("bad").snapshot()
    assert says in (info.problem or "")
    assert {event.task_id for event in heard} == {"bad"}
    assert scheduler.get_task("good").snapshot().problem is None


def test_a_trigger_that_recovers_is_planned_again_and_nothing_is_lost(memory_home: Home) -> None:
    scheduler = memory_home.start()
    broken = threading.Event()
    trigger = Foreign(
        lambda after: doubtful.raising(after) if broken.is_set() else doubtful.each_second(after)
    )
    scheduler.add_task(jobs.note, trigger, id="a", coalesce="all")
    scheduler.advance(seconds=3)
    broken.set()
    scheduler.advance(seconds=10)
    broken.clear()
    scheduler.advance(seconds=120)
    runs = scheduler.get_runs(task="a", status="completed", limit=1000)
    assert executed(scheduler, "a") == 134
    assert len({run.fire_time for run in runs}) == 134
    assert scheduler.get_task("a").snapshot().problem is None


@pytest.mark.parametrize(
    "around", [lambda each: each, lambda each: OrTrigger([each]), lambda each: AndTrigger([each])]
)
def test_a_trigger_that_never_answers_stops_only_its_task(
    around: Callable[[Foreign], Any], memory_home: Home
) -> None:
    scheduler = memory_home.start(patience_s=15)
    scheduler.add_task(jobs.note, around(good_until(AT_THREE, doubtful.hanging)), id="bad")
    scheduler.add_task(jobs.note, "interval", seconds=1, id="good")
    began = time.monotonic()
    scheduler.advance(seconds=10)
    assert time.monotonic() - began < 8
    assert executed(scheduler, "good") == 10
    assert "didn't come back" in (scheduler.get_task("bad").snapshot().problem or "")


@pytest.mark.parametrize("misbehaviour", [doubtful.raising, doubtful.naive, doubtful.garbage])
def test_a_trigger_that_is_bad_from_the_start_is_refused(
    misbehaviour: Callable[[datetime], Any], memory_home: Home
) -> None:
    scheduler = memory_home.start()
    with pytest.raises(Exception, match=r"."):
        scheduler.add_task(jobs.note, Foreign(misbehaviour), id="bad")
    assert scheduler.get_tasks() == []


def test_a_task_with_a_bad_trigger_can_still_be_dealt_with(memory_home: Home) -> None:
    scheduler = memory_home.start()
    bad = scheduler.add_task(jobs.note, good_until(AT_THREE, doubtful.raising), id="bad")
    scheduler.advance(seconds=5)
    done = executed(scheduler, "bad")
    assert bad.run().snapshot().status == "pending"
    scheduler.advance(seconds=61)
    assert [run.status for run in scheduler.get_runs(source="manual")] == ["completed"]
    bad.pause()
    bad.reschedule("interval", seconds=10)
    bad.resume()
    scheduler.advance(seconds=10)
    assert executed(scheduler, "bad") > done
    bad.remove()


def test_runs_of_an_excluded_task_keep_nothing_busy(memory_home: Home) -> None:
    store = MemoryStore()
    scheduler = SteppedScheduler(store, clock=memory_home.clock, patience_s=3)
    client = Scheduler(store, clock=memory_home.clock)
    with scheduler:
        scheduler.add_task(jobs.note, good_until(AT_THREE, doubtful.raising), id="bad")
        scheduler.advance(seconds=5)
        with client.connect():
            client.run_task("bad")
            ticks = scheduler.step()
            assert ticks is None or ticks > memory_home.clock.now_us()
            scheduler.advance(minutes=2)
            assert [run.status for run in client.get_runs(source="manual")] == ["completed"]


# --- rows ---------------------------------------------------------------------------------------


def corrupt(home: Home, statement: str, *values: object) -> None:
    connection = sqlite3.connect(home.file)
    with connection:
        assert connection.execute(statement, values).rowcount
    connection.close()


def definition_of(home: Home, task_id: str) -> dict[str, Any]:
    connection = sqlite3.connect(home.file)
    (text,) = connection.execute(
        "select definition from tickwork_tasks where id = ?", [task_id]
    ).fetchone()
    connection.close()
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def stored(home: Home) -> None:
    with home.new().connect() as client:
        client.add_task(jobs.note, "interval", minutes=1, id="bad", args=["bad"])
        client.add_task(jobs.note, "interval", minutes=1, id="good", args=["good"])


NONSENSE: list[Any] = [
    "", "{", "null", "5", "[]", '{"version": 1}', '{"version": 99}',
    {"trigger": {"kind": "unheard_of", "version": 1}},
    {"trigger": {"kind": "interval", "version": 99}},
    {"trigger": {"kind": "interval", "version": 1, "interval_us": -5}},
    {"trigger": None}, {"coalesce": "sometimes"}, {"colour": "green"}, {"max_instances": "many"},
    {"tags": 5},
]  # fmt: skip


@pytest.mark.parametrize("nonsense", NONSENSE, ids=str)
def test_a_row_that_can_not_be_understood_is_shown_and_kept_and_stops_nothing(
    nonsense: Any, sqlite_home: Home
) -> None:
    stored(sqlite_home)
    if isinstance(nonsense, dict):
        nonsense = json.dumps(definition_of(sqlite_home, "bad") | nonsense)
    corrupt(sqlite_home, "update tickwork_tasks set definition = ? where id = 'bad'", nonsense)
    scheduler = sqlite_home.start()
    scheduler.advance(minutes=5)
    assert jobs.calls.count(("good",)) == 5
    infos = {task.id: task for task in scheduler.get_tasks()}
    assert infos["good"].problem is None
    assert infos["bad"].problem
    scheduler.snapshot()
    for action in (
        lambda: scheduler.resume_task("bad"),
        lambda: scheduler.update_task("bad", name="x"),
        lambda: scheduler.reschedule_task("bad", "interval", minutes=1),
        lambda: scheduler.preview("bad"),
        lambda: scheduler.run_task("bad"),
        lambda: scheduler.add_task(jobs.note, every="1m", id="bad", replace_existing=True),
    ):
        try:
            action()
        except TickworkError as error:
            assert "bad" in str(error)  # noqa: PT017  it may go well, too
    scheduler.advance(minutes=2)
    assert jobs.calls.count(("good",)) == 7
    scheduler.stop()
    connection = sqlite3.connect(sqlite_home.file)
    rows = dict(connection.execute("select id, definition from tickwork_tasks"))
    connection.close()
    assert rows["bad"] == nonsense
    with sqlite_home.new().connect() as client:
        client.remove_task("bad")
        assert [task.id for task in client.get_tasks()] == ["good"]


def test_arguments_that_can_not_be_read_fail_their_runs_only(sqlite_home: Home) -> None:
    stored(sqlite_home)
    broken = definition_of(sqlite_home, "bad") | {"payload": "garbage"}
    corrupt(
        sqlite_home,
        "update tickwork_tasks set definition = ? where id = 'bad'",
        json.dumps(broken),
    )
    scheduler = sqlite_home.start()
    assert len(scheduler.get_tasks()) == 2
    scheduler.advance(minutes=3)
    assert jobs.calls == [("good",)] * 3
    assert [run.status for run in scheduler.get_runs(task="bad")] == ["failed"] * 3
    assert scheduler.get_task("bad").snapshot().problem


def test_a_result_that_can_not_be_read_hides_no_other(sqlite_home: Home) -> None:
    scheduler = sqlite_home.start()
    scheduler.add_task(jobs.add, every="1m", id="a", args=[1])
    scheduler.advance(minutes=3)
    runs = scheduler.get_runs()
    corrupt(sqlite_home, "update tickwork_runs set result = 'garbage' where id = ?", runs[1].id)
    assert [run.result for run in scheduler.get_runs()] == [2, None, 2]
    assert scheduler.get_run(runs[1].id).status == "completed"


def test_errors_that_can_not_be_read_hide_no_other(sqlite_home: Home) -> None:
    scheduler = sqlite_home.start()
    scheduler.add_task(jobs.fail, every="1m", id="a")
    scheduler.advance(minutes=3)
    runs = scheduler.get_runs()
    corrupt(sqlite_home, "update tickwork_runs set errors = 'garbage' where id = ?", runs[1].id)
    assert [bool(run.error) for run in scheduler.get_runs()] == [True, False, True]


# --- functions and executors --------------------------------------------------------------------


def test_a_missing_function_is_waited_for(
    sqlite_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "coming", jobs.other, raising=False)
    with sqlite_home.new().connect() as client:
        client.add_task("tests.unit.scheduler.jobs:coming", every="1m", id="a", coalesce="all")
        client.add_task("tests.unit.scheduler.jobs:coming", every="4m", id="b")
        client.add_task(jobs.note, every="1m", id="good")
    monkeypatch.delattr(jobs, "coming")
    scheduler = sqlite_home.start()
    scheduler.advance(minutes=5)
    assert jobs.calls == [()] * 5
    for each in "ab":
        info = scheduler.get_task(each).snapshot()
        assert "has no 'coming'" in (info.problem or "")
        assert info.schedule_state == "scheduled"
    assert scheduler.nodes()[0].unresolved in {(), ("tests.unit.scheduler.jobs:coming",)}
    monkeypatch.setattr(jobs, "coming", jobs.other, raising=False)
    scheduler.advance(minutes=3)
    assert executed(scheduler, "a") == 8
    assert executed(scheduler, "b") == 2
    assert scheduler.get_task("a").snapshot().problem is None


def test_an_executor_that_is_not_here_is_waited_for(sqlite_home: Home) -> None:
    with sqlite_home.start(executors={"gpu": "inline"}) as scheduler:
        scheduler.add_task(jobs.other, every="1m", id="a", executor="gpu")
        scheduler.add_task(jobs.note, every="1m", id="good")
    with sqlite_home.start() as scheduler:
        scheduler.advance(minutes=5)
        assert jobs.calls == [()] * 5
        info = scheduler.get_task("a").snapshot()
        assert (info.executor, info.schedule_state) == ("gpu", "scheduled")
        assert "gpu" in (info.problem or "")
    with sqlite_home.start(executors={"gpu": "inline"}) as scheduler:
        scheduler.advance(minutes=1)
        assert executed(scheduler, "a") == 6


def test_a_run_whose_executor_is_not_here_stays_pending(sqlite_home: Home) -> None:
    with sqlite_home.new(executors={"gpu": "inline"}).connect() as client:
        client.add_task(jobs.note, every="1h", id="a", executor="gpu").run()
    with sqlite_home.start() as scheduler:
        scheduler.advance(minutes=5)
        assert [run.status for run in scheduler.get_runs()] == ["pending"]
    with sqlite_home.start(executors={"gpu": "inline"}) as scheduler:
        scheduler.step()
        assert [run.status for run in scheduler.get_runs()] == ["completed"]


# --- a run whose task is gone -------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True])
def test_a_run_given_back_after_its_task_was_removed_keeps_nothing_busy(
    again: bool, home: Home
) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.forever, id="a")
    tick(scheduler)
    scheduler.remove_task("a")
    assert len(scheduler.stop(timeout=0.2).given_back) == 1
    scheduler = home.start(patience_s=3)
    if again:
        scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
    scheduler.add_task(jobs.note, "interval", minutes=1, id="good")
    loop = scheduler._loops()[0]  # noqa: SLF001  stepping would spin
    for _ in range(5):
        due_us = loop.tick()
    assert due_us is None or due_us > home.clock.now_us()
    scheduler.advance(minutes=3)
    assert executed(scheduler, "good") == 3
    assert len(jobs.calls) == jobs.calls.count("forever") + 3 + 3 * again
    assert scheduler.get_runs(task="a")[-1].status in {"cancelled", "lost"}


# --- stores -------------------------------------------------------------------------------------


class Shaky(MemoryStore):
    """A store that is down when it is told so, before or after it did what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.down: dict[str, str] = {}

    def _doing(self, name: str, step: Callable[..., Any], *args: Any, **options: Any) -> Any:
        when = self.down.get(name) or self.down.get("all")
        if when == "before":
            raise StoreUnavailableError(f"down before {name}")
        answer = step(*args, **options)
        if when == "after":
            raise StoreUnavailableError(f"down after {name}")
        return answer

    def plan(self, *args: Any) -> Any:
        return self._doing("plan", super().plan, *args)

    def lease(self, *args: Any) -> Any:
        return self._doing("lease", super().lease, *args)

    def finish(self, *args: Any) -> Any:
        return self._doing("finish", super().finish, *args)

    def beat(self, *args: Any, **options: Any) -> Any:
        return self._doing("beat", super().beat, *args, **options)

    def recover(self, *args: Any) -> Any:
        return self._doing("recover", super().recover, *args)

    def prune(self, *args: Any) -> Any:
        return self._doing("prune", super().prune, *args)

    def put(self, *args: Any) -> Any:
        return self._doing("put", super().put, *args)

    def open(self, environment: StoreEnvironment) -> None:
        self._doing("open", super().open, environment)


STEPS = ["plan", "lease", "finish", "beat", "recover", "prune", "all"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_a_store_that_fails_and_comes_back_loses_and_doubles_nothing(
    step: str, when: str, delivery: str, memory_home: Home
) -> None:
    store = Shaky()
    heard: list[str] = []
    scheduler = SteppedScheduler(store, clock=memory_home.clock, patience_s=3)
    scheduler.on(StoreFailed, lambda _: heard.append("failed"))
    scheduler.on(StoreRecovered, lambda _: heard.append("recovered"))
    with scheduler:
        scheduler.add_task(
            jobs.note, every="1s", id="a", coalesce="all", max_instances=100, delivery=delivery
        )
        for _ in range(3):
            scheduler.advance(seconds=5)
            store.down[step] = when
            for _ in range(20):
                memory_home.clock.advance(seconds=1)
                tick(scheduler)
            store.down.clear()
            memory_home.clock.advance(seconds=31)
            scheduler.advance(seconds=31)
        runs = scheduler.get_runs(task="a", limit=10_000)
        assert scheduler.get_task("a").snapshot().active_runs == 0
    passed = 3 * (5 + 20 + 31 + 31)
    assert len(runs) == len({run.fire_time for run in runs}) == passed
    assert {run.status for run in runs} == {"completed"}
    assert len(jobs.calls) == passed
    assert heard[::2] == ["failed"] * (len(heard) // 2)
    assert heard[1::2] == ["recovered"] * (len(heard) // 2)
    if step in {"plan", "all", "lease"}:
        assert heard


def test_a_store_that_is_down_stops_no_other(memory_home: Home) -> None:
    store = Shaky()
    scheduler = SteppedScheduler(
        stores={"default": "memory://", "shaky": store}, clock=memory_home.clock
    )
    with scheduler:
        scheduler.add_task(jobs.note, every="1s", id="a", store="shaky", args=["shaky"])
        scheduler.add_task(jobs.note, every="1s", id="b", args=["steady"])
        store.down["all"] = "before"
        scheduler.advance(seconds=60)
        assert jobs.calls == [("steady",)] * 60
        store.down.clear()
        scheduler.advance(seconds=60)
        assert executed(scheduler, "a") == 120


def test_a_store_that_is_down_at_the_start_says_so_and_can_be_tried_again() -> None:
    store = Shaky()
    store.down["open"] = "before"
    scheduler = SteppedScheduler(store)
    scheduler.add_task(jobs.note)
    with pytest.raises(StoreUnavailableError, match="down before open"):
        scheduler.start()
    assert scheduler.state == "new"
    store.down.clear()
    with scheduler:
        scheduler.step()
    assert jobs.calls == [()]


def test_an_outage_while_adding_keeps_what_was_declared() -> None:
    store = Shaky()
    store.down["put"] = "after"
    scheduler = SteppedScheduler(store)
    scheduler.add_task(jobs.note, every="1m", id="a")
    with pytest.raises(StoreUnavailableError):
        scheduler.start()
    store.down.clear()
    with scheduler:
        scheduler.advance(minutes=2)
    assert jobs.calls == [(), ()]


def test_a_prediction_of_the_end_of_time_is_no_problem(home: Home) -> None:
    scheduler = home.start()
    scheduler.add_task(jobs.note, "date", run_at=datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
    scheduler.add_task(jobs.note, "interval", weeks=300_000, id="slow", jitter=1000)
    scheduler.add_task(jobs.note, every="1m", id="good")
    scheduler.advance(minutes=2)
    assert len(jobs.calls) == 2


class Odd(MemoryStore):
    """A store with a fault of its own: the second beat raises what no store may raise."""

    def __init__(self) -> None:
        super().__init__()
        self.beats: list[str] = []
        self.third = threading.Event()

    def beat(self, node: NodeRecord, lease_us: int, *, leaving: bool = False) -> Beat:
        self.beats.append(threading.current_thread().name.rpartition("-")[0])
        if self.beats.count("tickwork-beat") == 3:
            self.third.set()
        if self.beats.count("tickwork-beat") == 1 and not leaving:
            raise LookupError("a fault of the store's own")
        return super().beat(node, lease_us, leaving=leaving)


def test_a_node_beats_on_after_an_error_that_no_store_may_raise() -> None:
    store = Odd()
    settings = LoopSettings(lease_us=SECOND, beat_us=SECOND // 100)
    with Scheduler(store, settings=settings) as scheduler:
        assert store.third.wait(10)
        assert len([node for node in scheduler.nodes() if node.store == "default"]) == 1
