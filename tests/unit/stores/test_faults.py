"""Faults at every step of a store: nothing is lost, and nothing runs twice."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from tests.unit.stores import jobs
from tickwork.errors import InvalidInputError, StoreUnavailableError
from tickwork.interfaces import (
    Keeping,
    Reader,
    Store,
    StoreEnvironment,
    Timekeeping,
    Watching,
)
from tickwork.model.definition import DefinitionCodec
from tickwork.model.instants import SECOND, to_us
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.policies import RunState
from tickwork.model.steps import RunQuery
from tickwork.stores.memory import MemoryStore
from tickwork.stores.sql import SQLStore
from tickwork.testing import Fault, FaultyStore, ManualClock, SteppedScheduler
from tickwork.wiring import load_trigger

ERRORS = [Fault.BEFORE, Fault.AFTER]
STEPS = ["plan", "lease", "finish", "beat", "recover"]
FIRES = 8


@pytest.fixture(autouse=True)
def _fresh_jobs() -> None:
    jobs.calls.clear()


@pytest.fixture(params=["memory", "sqlite"])
def inner(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return SQLStore(f"sqlite:///{tmp_path}/tasks.db", durability="normal")


@contextmanager
def started(store: FaultyStore, tasks: int = 0) -> Iterator[SteppedScheduler]:
    """Start a scheduler whose tasks fire every ten seconds."""
    scheduler = SteppedScheduler(store, clock=ManualClock(), patience_s=5.0)
    with scheduler:
        for number in range(tasks):
            scheduler.add_task(
                jobs.note,
                "interval",
                seconds=10,
                id=f"t{number}",
                args=[f"t{number}"],
                coalesce="all",
                max_instances=100,
                delivery=("at_least_once", "at_most_once")[number % 2],
            )
        yield scheduler
        store.heal()


def check(store: FaultyStore, tasks: int) -> None:
    """Match every fire time to exactly one run, and every run to exactly one call."""
    expected = {f"t{number}": FIRES for number in range(tasks)}
    runs = store.find_runs(RunQuery(limit=10_000))
    start_us = to_us(ManualClock().now())
    slots = Counter((run.task_id, run.fire_us) for run in runs)
    assert slots == {
        (name, start_us + 10 * SECOND * fire): 1
        for name in expected
        for fire in range(1, FIRES + 1)
    }
    assert {(run.state, run.fire_count, run.attempt) for run in runs} == {
        (RunState.COMPLETED, 1, 1)
    }
    assert jobs.calls == expected
    for name in expected:
        task = store.get_task(name)
        assert task is not None
        assert (task.active, task.queued) == (0, 0)


def go_through(scheduler: SteppedScheduler, store: FaultyStore) -> None:
    scheduler.advance(seconds=10 * FIRES)
    store.heal()
    # What waits for its retry has the time of the longest back-off.
    scheduler.advance(seconds=9)


@pytest.mark.parametrize("fault", ERRORS)
@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_lost_or_doubled_by_an_error_in_one_step(
    inner: Store, step: str, fault: Fault
) -> None:
    store = FaultyStore(inner)
    with started(store, 4) as scheduler:
        store.script(step, *[fault, None, None, fault, fault, None] * 30)
        go_through(scheduler, store)
        assert store.faults[step, fault] >= 2
        check(store, 4)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_or_doubled_by_errors_everywhere(inner: Store, seed: int) -> None:
    chances = {Fault.BEFORE: 0.15, Fault.AFTER: 0.15}
    store = FaultyStore(inner, chances=chances, random=Random(seed), methods=STEPS)
    with started(store, 4) as scheduler:
        go_through(scheduler, store)
        assert sum(store.faults.values()) >= 5
        check(store, 4)


@pytest.mark.parametrize("fault", ERRORS)
def test_an_error_at_the_very_plan_of_a_fire_time(inner: Store, fault: Fault) -> None:
    store = FaultyStore(inner)
    with started(store, 1) as scheduler:
        scheduler.advance(seconds=9)
        store.script("plan", fault)
        scheduler.advance(seconds=2)
        assert store.faults == {("plan", fault): 1}
        assert jobs.calls == {"t0": 1}
        [run] = store.find_runs(RunQuery())
        assert (run.state, run.attempt, run.crashes) == (RunState.COMPLETED, 1, 0)


@pytest.mark.parametrize("fault", ERRORS)
def test_an_error_at_the_very_lease_of_a_run(inner: Store, fault: Fault) -> None:
    store = FaultyStore(inner)
    with started(store, 1) as scheduler:
        scheduler.run_task("t0")
        store.script("lease", fault)
        scheduler.advance(seconds=1)
        assert store.faults == {("lease", fault): 1}
        assert jobs.calls == {"t0": 1}
        [run] = store.find_runs(RunQuery())
        assert (run.state, run.attempt) == (RunState.COMPLETED, 1)


@pytest.mark.parametrize("fault", ERRORS)
def test_an_edit_that_fails_is_told_to_its_caller(inner: Store, fault: Fault) -> None:
    store = FaultyStore(inner)
    with started(store, 1) as scheduler:
        store.script("edit", fault)
        with pytest.raises(StoreUnavailableError, match=f"edit failed {fault}"):
            scheduler.run_task("t0")
        scheduler.advance(seconds=1)
        assert jobs.calls == ({"t0": 1} if fault is Fault.AFTER else {})
        store.script("edit", fault)
        with pytest.raises(StoreUnavailableError):
            scheduler.pause_task("t0")
        scheduler.pause_task("t0")
        assert scheduler.get_task("t0").snapshot().schedule_state == "paused"


@pytest.mark.parametrize("fault", ERRORS)
def test_adding_again_after_an_error_adds_once(inner: Store, fault: Fault) -> None:
    store = FaultyStore(inner)
    with started(store) as scheduler:
        store.script("put", fault)
        for attempt in (1, 2, 3):
            if attempt == 1:
                with pytest.raises(StoreUnavailableError):
                    scheduler.add_task(jobs.note, "interval", seconds=10, id="a", args=["a"])
            else:
                scheduler.add_task(jobs.note, "interval", seconds=10, id="a", args=["a"])
        scheduler.advance(seconds=30)
        assert jobs.calls == {"a": 3}


@pytest.mark.parametrize("fault", ERRORS)
def test_an_error_while_a_problem_is_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    inner = SQLStore(f"sqlite:///{tmp_path}/tasks.db", durability="normal")
    with started(FaultyStore(inner)) as scheduler:
        scheduler.add_task(jobs.vanishing, "interval", seconds=10, id="gone")
    monkeypatch.delattr(jobs, "vanishing")
    store = FaultyStore(inner)
    with started(store, 2) as scheduler:
        store.script("edit", fault)
        go_through(scheduler, store)
        assert store.faults["edit", fault] == 1
        assert jobs.calls == {"t0": FIRES, "t1": FIRES}


def test_a_problem_that_could_not_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = SQLStore(f"sqlite:///{tmp_path}/tasks.db", durability="normal")
    with started(FaultyStore(inner)) as scheduler:
        scheduler.add_task(jobs.vanishing, "interval", seconds=10, id="gone")
    monkeypatch.delattr(jobs, "vanishing")
    store = FaultyStore(inner)
    with started(store) as scheduler:
        store.script("edit", Fault.BEFORE)
        scheduler.advance(minutes=10)
        gone = store.get_task("gone")
        assert gone is not None
        assert gone.problem is not None


def test_a_delayed_step_waits_and_works() -> None:
    waits: list[float] = []
    store = FaultyStore(MemoryStore(), wait=waits.append, delay_s=2.5)
    with started(store, 1) as scheduler:
        store.script("plan", Fault.DELAY)
        scheduler.advance(seconds=10)
    assert waits == [2.5]
    assert jobs.calls == {"t0": 1}
    assert store.faults == {("plan", Fault.DELAY): 1}
    assert store.calls["plan"] > 1


def test_scripted_faults_are_met_in_order() -> None:
    store = FaultyStore(MemoryStore())
    assert isinstance(store, Store)
    assert isinstance(store, Reader)
    assert (store.kind, store.persistent) == ("memory", False)
    store.script("counts", None, Fault.BEFORE)
    store.script("counts", Fault.AFTER)
    assert store.waiting == 2
    store.counts()
    with pytest.raises(StoreUnavailableError, match="before it began"):
        store.counts()
    with pytest.raises(StoreUnavailableError, match="after its commit"):
        store.counts()
    store.counts()
    assert (store.waiting, store.calls["counts"]) == (0, 4)


def test_documents_meet_faults_as_well() -> None:
    store = FaultyStore(MemoryStore())
    assert isinstance(store, Keeping)
    store.open(StoreEnvironment(DefinitionCodec(load_trigger), lambda: 0))
    document = Document("note", "key", "{}")
    store.script("keep", Fault.AFTER)
    with pytest.raises(StoreUnavailableError, match="after its commit"):
        store.keep(document, 0)
    assert store.keep(document, 0) is None
    store.script("forget", Fault.BEFORE)
    with pytest.raises(StoreUnavailableError, match="before it began"):
        store.forget("note", "key")
    store.script("documents", Fault.BEFORE)
    with pytest.raises(StoreUnavailableError):
        store.documents(DocumentQuery("note"))
    assert [each.revision for each in store.documents(DocumentQuery("note"))] == [1]


def test_chance_needs_a_seed() -> None:
    with pytest.raises(InvalidInputError, match=r"random=Random\(seed\)"):
        FaultyStore(MemoryStore(), chances={Fault.AFTER: 0.5})
    with pytest.raises(InvalidInputError, match="no method of a store"):
        FaultyStore(MemoryStore()).script("plans", Fault.AFTER)


def test_chance_is_repeatable_and_per_method() -> None:
    def faults(seed: int) -> dict[tuple[str, Fault], int]:
        store = FaultyStore(
            MemoryStore(),
            chances={Fault.BEFORE: 0.5},
            random=Random(seed),
            methods={"counts"},
        )
        for _ in range(50):
            with suppress(StoreUnavailableError):
                store.counts()
        store.nodes()
        return dict(store.faults)

    assert faults(1) == faults(1)
    assert 10 < faults(2)["counts", Fault.BEFORE] < 40


def test_the_powers_of_the_store_within_are_there() -> None:
    class Served(MemoryStore):
        def now_us(self) -> int:
            return 7

        def watch(self, wake: Callable[[], None]) -> None:
            wake()

    plain = FaultyStore(MemoryStore())
    assert not isinstance(plain, Timekeeping | Watching)
    faulty = FaultyStore(Served())
    assert isinstance(faulty, Timekeeping)
    assert isinstance(faulty, Watching)
    woken: list[bool] = []
    faulty.watch(lambda: woken.append(True))
    assert (faulty.now_us(), woken) == (7, [True])
    faulty.script("now_us", Fault.BEFORE)
    with pytest.raises(StoreUnavailableError):
        faulty.now_us()
