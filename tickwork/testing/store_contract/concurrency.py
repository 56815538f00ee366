"""Several threads and clients at the same work: each slot exactly once."""

from collections import Counter

from tickwork.interfaces import Store
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import Batch, Edit, Plan, RecoverRequest, Verdict
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    LEASE_US,
    MINUTE,
    T0,
    finished,
    pending,
    removed,
    task,
)
from tickwork.testing.store_contract.case import StoreCase, patiently

__all__ = ["ConcurrencyContract"]

_THREADS = 4
_TASKS = 200
_DEADLINE_S = 60.0
_LONG_US = 1_000 * LEASE_US


def _twice(record: TaskRecord) -> Plan:
    """Plan the fire time at which a task stands, and go on to one more after the first."""
    assert record.fire_us is not None
    run = pending(record.fire_us)
    if record.fire_us > T0:
        return Plan([run], ScheduleState.FINISHED, None, None, record.fire_us)
    return Plan([run], ScheduleState.SCHEDULED, T0 + 1, T0 + 1, record.fire_us)


class ConcurrencyContract(StoreCase):
    """The contract about what others do meanwhile."""

    def test_each_slot_is_planned_and_leased_once(self) -> None:
        """Four callers plan the same 200 tasks, each with two fire times, in small pieces."""
        with self.bench() as bench:
            bench.put(*(task(f"t{each}", T0) for each in range(_TASKS)))
            leased: list[RunRecord] = []

            def work(store: Store, node: str) -> None:
                more = True
                while more:
                    request = bench.plan_request(
                        _twice, node=node, now_us=T0 + 1, limit=7, capacity={EXECUTOR: 5}
                    )
                    reply = patiently(lambda: store.plan(request))  # noqa: B023  called at once
                    leased.extend(each.run for each in reply.leased)
                    more = reply.more or reply.next_us is not None
                taken = bench.lease_request(node=node, now_us=T0 + 1, capacity={EXECUTOR: 3})
                while runs := patiently(lambda: store.lease(taken)).leased:
                    leased.extend(each.run for each in runs)

            self.at_once(bench, work)
            slots = Counter((run.task_id, run.fire_us) for run in leased)
            assert slots == {(f"t{each}", T0 + at): 1 for each in range(_TASKS) for at in (0, 1)}
            assert len(bench.runs()) == len(leased) == 2 * _TASKS
            assert {run.attempt for run in bench.runs()} == {1}
            assert {bench.active(f"t{each}") for each in range(_TASKS)} == {(2, 0)}
            self._check_fences(leased)

    @staticmethod
    def _check_fences(leased: list[RunRecord]) -> None:
        nodes: dict[int, set[str | None]] = {}
        for run in leased:
            nodes.setdefault(run.fence, set()).add(run.node)
        assert all(len(each) == 1 for each in nodes.values()), "two steps had the same fence"

    def test_each_run_is_leased_once(self) -> None:
        """Four callers lease the same 200 runs."""
        with self.bench() as bench:
            bench.put(*(task(f"t{each}") for each in range(_TASKS)))
            bench.plan(capacity={})
            leased: list[RunRecord] = []

            def work(store: Store, node: str) -> None:
                request = bench.lease_request(node=node, capacity={EXECUTOR: 3})
                while runs := patiently(lambda: store.lease(request)).leased:
                    leased.extend(each.run for each in runs)

            self.at_once(bench, work)
            assert sorted(run.id for run in leased) == [run.id for run in bench.runs()]
            assert {run.attempt for run in bench.runs()} == {1}

    def test_each_dead_nodes_run_is_taken_over_once(self) -> None:
        """Four callers recover the same node."""
        with self.bench() as bench:
            bench.register("dead")
            bench.leased(*(task(f"t{each}") for each in range(_TASKS)), node="dead")
            bench.now_us += LEASE_US
            recovered: list[str] = []

            def work(store: Store, node: str) -> None:
                request = RecoverRequest(
                    node,
                    bench.now_us,
                    lambda run, _: Verdict(RunState.LOST, run.crashes + 1, suspect=False),
                    lambda *_: None,
                    limit=9,
                )
                more = True
                while more:
                    reply = patiently(lambda: store.recover(request))
                    recovered.extend(run.id for run in reply.runs)
                    more = reply.more

            self.at_once(bench, work)
            assert sorted(recovered) == [run.id for run in bench.runs()]
            assert {run.crashes for run in bench.runs()} == {1}
            assert {bench.active(f"t{each}") for each in range(_TASKS)} == {(0, 0)}
            assert "dead" not in bench.dump().nodes

    def test_counts_hold_while_everything_happens(self) -> None:
        """Plans, ends, manual runs and edits of the same tasks: every change is counted."""
        with self.bench() as bench:
            bench.put(*(task(f"t{each}", max_instances=1_000) for each in range(8)))
            ids = [f"t{each}" for each in range(8)]

            def work(store: Store, node: str) -> None:
                for number in range(6):
                    manual = lambda record: Edit(record, [pending(None)])  # noqa: E731
                    patiently(lambda: store.edit(ids, manual, bench.new_id))  # noqa: B023
                    planned = bench.plan_request(_twice, node=node, now_us=T0 + 1, limit=2)
                    taken = bench.lease_request(node=node, capacity={EXECUTOR: 5 + number})
                    leased = [
                        *patiently(lambda: store.plan(planned)).leased,  # noqa: B023
                        *patiently(lambda: store.lease(taken)).leased,  # noqa: B023
                    ]
                    batch = Batch(lambda *_: None)
                    batch.finished += [finished(each.run) for each in leased]
                    assert patiently(lambda: store.finish(batch)) == frozenset()  # noqa: B023

            self.at_once(bench, work)
            runs = Counter(run.task_id for run in bench.runs() if run.fire_us is None)
            assert runs == dict.fromkeys(ids, 6 * _THREADS)
            for each in ids:
                bench.active(each)

    def test_adding_the_same_tasks_adds_each_once(self) -> None:
        """The other three callers are asked to decide about what is there."""
        with self.bench() as bench:
            decided: list[str] = []

            def decide(existing: TaskRecord, new: TaskRecord) -> Edit:
                return Edit(existing, unchanged=existing.generation != new.generation)

            def work(store: Store, node: str) -> None:
                generation = int(node[-1])
                tasks = [task(f"t{each}", generation=generation) for each in range(20)]
                for edited in patiently(lambda: store.put(tasks, decide, bench.new_id)):
                    assert edited.task is not None
                    if edited.task.generation == generation:
                        decided.append(edited.task.id)

            self.at_once(bench, work)
            assert sorted(decided) == sorted(bench.dump().tasks)
            assert {each.revision for each in bench.dump().tasks.values()} == {0}

    def test_removing_beside_planning_loses_nothing(self) -> None:
        """Each run of a removed task was leased to somebody, or is cancelled."""
        with self.bench() as bench:
            ids = [f"t{each}" for each in range(40)]
            bench.put(*(task(each) for each in ids))
            leased: list[str] = []

            def work(store: Store, node: str) -> None:
                if node == "node-0":
                    for each in ids:
                        patiently(lambda: store.edit([each], removed("gone"), bench.new_id))  # noqa: B023
                    return
                more = True
                while more:
                    request = bench.plan_request(node=node, limit=2, capacity={EXECUTOR: 1})
                    reply = patiently(lambda: store.plan(request))  # noqa: B023
                    leased.extend(each.run.id for each in reply.leased)
                    more = reply.more or reply.next_us is not None

            self.at_once(bench, work)
            assert bench.dump().tasks == {}
            for run in bench.runs():
                held = run.node is not None
                assert held == (run.id in leased)
                assert held or run.state is RunState.CANCELLED
            assert bench.lease(now_us=T0 + MINUTE) == ((), None, ())
