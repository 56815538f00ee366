"""What only the memory store has: its sharing, and indexes that don't grow by themselves."""

import gc
from dataclasses import replace

import pytest

from tickwork.errors import StoreUnavailableError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.policies import RunState, ScheduleState, Source
from tickwork.model.steps import Edit, Eligibility, PruneRequest
from tickwork.stores.memory import MemoryStore
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import MINUTE, T0, finished, task


def opened() -> Bench:
    store = MemoryStore()
    bench = Bench(store, store)
    bench.open()
    return bench


def test_a_store_that_two_share_is_open_until_both_have_closed_it() -> None:
    bench = opened()
    bench.store.open(StoreEnvironment(bench.codec, lambda: T0))
    bench.store.close()
    bench.put(task())
    bench.register("still here")
    bench.store.close()
    with pytest.raises(StoreUnavailableError):
        bench.register("not any more")
    assert bench.task() == task()


def test_changes_that_move_no_due_time_cost_no_memory() -> None:
    bench = opened()
    bench.put(task(due_us=T0 + MINUTE))
    for number in range(100):
        bench.edit(lambda record, text=str(number): Edit(replace(record, problem=text)))  # type: ignore[misc]
        bench.plan()
    assert isinstance(bench.store, MemoryStore)
    assert len(bench.store._shelves._due) == 1  # noqa: SLF001


def test_runs_that_are_over_are_nothing_to_look_into_for_the_garbage_collector() -> None:
    bench = opened()
    bench.put(task(due_us=T0))
    [over] = bench.plan(now_us=T0).leased
    bench.finish(finished(over.run))
    assert isinstance(bench.store, MemoryStore)
    runs = bench.store._shelves.runs  # noqa: SLF001
    kept = runs._packed  # noqa: SLF001
    assert (len(kept), gc.is_tracked(kept), gc.is_tracked(kept[over.run.id])) == (1, False, False)
    assert runs._live == {}  # noqa: SLF001
    said = bench.run(over.run.id)
    assert (said.state, said.source, said.fire_us) == (RunState.COMPLETED, Source.SCHEDULED, T0)


def test_a_run_with_a_name_of_a_kind_of_its_own_is_kept_as_it_is() -> None:
    class Name(str):
        __slots__ = ()

    bench = opened()
    bench.put(task(Name("odd"), due_us=T0))
    [over] = bench.plan(now_us=T0).leased
    bench.finish(finished(over.run))
    assert isinstance(bench.store, MemoryStore)
    assert list(bench.store._shelves.runs._live) == [over.run.id]  # noqa: SLF001
    said = bench.run(over.run.id)
    assert (said.task_id, said.state) == ("odd", RunState.COMPLETED)


def test_a_task_that_comes_back_to_a_due_time_is_planned_once() -> None:
    bench = opened()
    bench.put(task(due_us=T0))
    for due_us in (T0 + 1, T0, None, T0, T0 - 1, T0):
        state = ScheduleState.SCHEDULED
        bench.edit(lambda record, at=due_us: Edit(replace(record, due_us=at, state=state)))  # type: ignore[misc]  # noqa: B023
    assert len(bench.plan(now_us=T0 + MINUTE).leased) == 1
    assert not bench.plan(now_us=T0 + MINUTE).leased


def test_a_long_queue_is_worked_off_in_time_that_grows_with_it_only() -> None:
    bench = opened()
    run, waiting = bench.leased_with_queue(*range(T0, T0 + 20_001))
    for _ in waiting:
        bench.finish(finished(run))
        run = bench.lease(now_us=T0 + MINUTE, eligibility=Eligibility(frozenset({"threadpool"})))[
            0
        ][0].run
    assert bench.task().active == 1


def test_documents_that_are_written_again_and_again_cost_no_memory() -> None:
    bench = opened()
    store = bench.store
    assert isinstance(store, MemoryStore)
    for number in range(5_000):
        store.keep(Document("session", f"{number % 3}", "{}", expires_us=T0 + number))
    assert len(store._documents._expiring) <= 1_006  # noqa: SLF001
    bench.now_us = T0 + 4_998
    store.prune(PruneRequest({}, 0, now_us=bench.now_us))
    assert [each.key for each in store.documents(DocumentQuery("session"))] == ["1"]
    assert len(store._documents._expiring) == 1  # noqa: SLF001
