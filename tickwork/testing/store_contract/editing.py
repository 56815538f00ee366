"""Adding and changing tasks: `put` and `edit`."""

from collections.abc import Callable
from dataclasses import replace

from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Edit, PlannedRun, TaskQuery
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    MINUTE,
    T0,
    decide_never,
    definition,
    finished,
    given_back,
    moves_on,
    pending,
    queued,
    removed,
    runs_now,
    task,
)
from tickwork.testing.store_contract.case import StoreCase

__all__ = ["EditingContract"]


class RefusedError(Exception):
    """What a decision raises that doesn't want to be taken."""


def _refuse(*_: object) -> Edit:
    raise RefusedError


def _renamed(name: str) -> Callable[[TaskRecord], Edit]:
    return lambda record: Edit(replace(record, definition=definition(name=name)))


class EditingContract(StoreCase):
    """The contract of `put` and `edit`."""

    # -- put

    def test_new_tasks_are_added_as_they_are(self) -> None:
        """Answers come in the order asked; nothing is decided about what is new."""
        with self.bench() as bench:
            one, two = task("one"), task("two", None, state=ScheduleState.PAUSED)
            answers = bench.put(two, one)
            assert [each.task for each in answers] == [two, one]
            assert [list(each.runs) for each in answers] == [[], []]
            assert bench.dump().tasks == {"one": one, "two": two}

    def test_nothing_added_is_nothing_done(self) -> None:
        """An empty call is fine."""
        with self.bench() as bench:
            assert bench.put() == []
            assert bench.store.edit([], decide_never, bench.new_id) == []

    def test_one_of_many_that_exists_is_decided_about(self) -> None:
        """However many new ones it comes with; if the decision raises, none of them is added."""
        with self.bench() as bench:
            many = [task(f"t{number:03}", T0 + number) for number in range(500)]
            bench.put(many[333])
            try:
                bench.put(*many, decide=_refuse)
            except RefusedError:
                pass
            else:
                raise AssertionError("what a decision raises must come out of the store")
            assert list(bench.dump().tasks) == ["t333"]
            answers = bench.put(*many, decide=lambda existing, _: Edit(existing, unchanged=True))
            assert [each.task for each in answers] == many
            assert bench.dump().tasks == {each.id: each for each in many}

    def test_one_of_many_that_is_named_twice_is_decided_about(self) -> None:
        """As if the second had come in a call of its own."""
        with self.bench() as bench:
            many = [task(f"t{number:03}", T0 + number) for number in range(500)]
            again = task("t333", name="again")
            answers = bench.put(
                *many,
                again,
                decide=lambda existing, new: Edit(replace(existing, definition=new.definition)),
            )
            assert [each.task for each in answers[:-1]] == many
            changed = replace(many[333], definition=again.definition, revision=1)
            assert answers[-1].task == changed == bench.task("t333")
            assert len(bench.dump().tasks) == 500

    def test_an_existing_task_is_decided_about(self) -> None:
        """The decision sees what is stored and what is new; its record is what is kept."""
        with self.bench() as bench:
            bench.put(task(name="old"))
            seen: list[tuple[TaskRecord, TaskRecord]] = []

            def decide(existing: TaskRecord, new: TaskRecord) -> Edit:
                seen.append((existing, new))
                return Edit(replace(existing, definition=new.definition))

            [answer] = bench.put(task(name="new", created_us=T0 + 1), decide=decide)
            assert seen == [(task(name="old"), task(name="new", created_us=T0 + 1))]
            assert answer.task == task(name="new", revision=1)
            assert bench.task() == answer.task

    def test_unchanged_leaves_everything_as_it_is(self) -> None:
        """Neither the record nor its revision changes, whatever else the edit says."""
        with self.bench() as bench:
            bench.put(task(name="old"))
            before = bench.dump()
            kept = Edit(task(name="new"), [pending(T0)], "no", unchanged=True)
            [answer] = bench.put(task(name="new"), decide=lambda *_: kept)
            assert (answer.task, list(answer.runs)) == (task(name="old"), [])
            assert bench.dump() == before

    def test_a_raising_decision_adds_none(self) -> None:
        """All tasks of a call are added, or none; so are changes decided before."""
        with self.bench() as bench:
            bench.put(task("known"), task("refused"))
            before = bench.dump()

            def decide(existing: TaskRecord, _: TaskRecord) -> Edit:
                if existing.id == "refused":
                    raise RefusedError
                return Edit(replace(existing, problem="changed"), [pending(T0)])

            try:
                bench.put(task("new"), task("known"), task("refused"), task("x"), decide=decide)
            except RefusedError:
                assert bench.dump() == before
            else:
                raise AssertionError("what a decision raises must come out of the store")

    def test_a_new_id_twice_in_a_call_is_decided_about(self) -> None:
        """The second is added to the first, as if it had come later."""
        with self.bench() as bench:
            seen: list[TaskRecord] = []

            def decide(existing: TaskRecord, new: TaskRecord) -> Edit:
                seen.append(existing)
                return Edit(replace(existing, definition=new.definition), [pending(T0)])

            first, second = bench.put(task(name="1"), task(name="2"), decide=decide)
            assert seen == [task(name="1")]
            assert first.task == task(name="1")
            assert second.task == task(name="2", revision=1, active=1, made=1) == bench.task()
            assert [run.fire_us for run in second.runs] == [T0]
            assert bench.active() == (1, 0)

    def test_a_known_id_twice_in_a_call_is_decided_in_turn(self) -> None:
        """The second decision sees what came of the first."""
        with self.bench() as bench:
            bench.put(task(name="0"))
            seen: list[str] = []

            def decide(existing: TaskRecord, new: TaskRecord) -> Edit:
                seen.append(getattr(existing.definition, "name", ""))
                return Edit(replace(existing, definition=new.definition))

            bench.put(task(name="1"), task(name="2"), decide=decide)
            assert seen == ["0", "1"]
            assert bench.task() == task(name="2", revision=2)

    def test_another_generation_replaces_a_task(self) -> None:
        """Its runs stay, its slots are new ones, and nothing of it is left to be executed."""
        with self.bench() as bench:
            [old] = bench.leased(task(generation=1))
            bench.finish(finished(old))
            bench.edit(runs_now(pending(None), queued(T0 + 1)))
            [answer] = bench.put(task(generation=2), decide=lambda _, new: Edit(new))
            assert answer.task is not None
            assert replace(answer.task, revision=0) == task(generation=2)
            assert bench.active() == (0, 0)
            states = [run.state for run in bench.runs()]
            assert states == [RunState.COMPLETED, RunState.CANCELLED, RunState.CANCELLED]
            assert bench.lease() == ((), None, ())
            [leased] = bench.plan().leased
            assert (leased.run.generation, leased.run.fire_us) == (2, T0)
            assert bench.active() == (1, 0)

    # -- edit

    def test_answers_come_in_the_order_of_ids(self) -> None:
        """For an id that isn't there the record is None, and nothing is decided."""
        with self.bench() as bench:
            bench.put(*(task(each) for each in "abc"))
            answers = bench.edit(_renamed("x"), "c", "missing", "a")
            found = [each.task and each.task.id for each in answers]
            assert found == ["c", None, "a"]
            assert [list(each.runs) for each in answers] == [[], [], []]
            assert bench.task("b") == task("b")
            assert set(bench.dump().tasks) == {"a", "b", "c"}

    def test_the_revision_grows_by_one(self) -> None:
        """Whatever the record says, and whatever else the edit does."""
        with self.bench() as bench:
            bench.leased_with_queue(T0, T0 + 1)
            start = bench.task().revision
            bench.edit(_renamed("x"))
            bench.edit(lambda record: Edit(replace(record, revision=99), cancel_pending="no"))
            [answer] = bench.edit(runs_now(pending(None)))
            assert answer.task == bench.task()
            assert bench.task().revision == start + 3

    def test_an_id_named_twice_is_changed_twice(self) -> None:
        """The second decision sees what came of the first."""
        with self.bench() as bench:
            bench.put(task())
            answers = bench.edit(runs_now(pending(None)), "task", "task")
            assert [each.task and each.task.revision for each in answers] == [1, 2]
            assert [len(each.runs) for each in answers] == [1, 1]
            assert bench.active() == (2, 0)
            gone = bench.edit(removed(), "task", "task")
            assert [each.task for each in gone] == [None, None]

    def test_counts_are_the_stores_business(self) -> None:
        """A decision can't change how many runs of a task are active."""
        with self.bench() as bench:
            bench.leased_with_queue(T0, T0 + 1)
            bench.edit(lambda record: Edit(replace(record, active=7, queued=5)))
            assert bench.active() == (2, 1)

    def test_a_raising_decision_changes_none(self) -> None:
        """All tasks of a call are changed, or none."""
        with self.bench() as bench:
            bench.put(task("a"), task("b"))
            before = bench.dump()

            def decide(record: TaskRecord) -> Edit:
                return _refuse() if record.id == "b" else Edit(None)

            try:
                bench.edit(decide, "a", "b")
            except RefusedError:
                assert bench.dump() == before
            else:
                raise AssertionError("what a decision raises must come out of the store")

    def test_runs_of_an_edit_are_made(self) -> None:
        """Pending ones count as active, queued ones as queued too; the others are records."""
        with self.bench() as bench:
            bench.put(task())
            skipped = PlannedRun(RunState.SKIPPED, T0, T0, T0 - MINUTE, T0, 2, reason="paused")
            [answer] = bench.edit(runs_now(skipped, pending(None, T0 + 5), queued(T0 + 1)))
            assert [bench.run(each) for each in answer.runs] == list(answer.runs)
            one, two, three = answer.runs
            assert (one.state, one.finished_us, one.reason) == (RunState.SKIPPED, T0, "paused")
            assert (one.first_us, one.last_us, one.fire_count) == (T0 - MINUTE, T0, 2)
            assert (two.fire_us, two.available_us, two.finished_us) == (None, T0 + 5, None)
            assert (three.fire_us, three.available_us) == (T0 + 1, None)
            assert {(each.node, each.attempt, each.executor) for each in answer.runs} == {
                (None, 0, EXECUTOR)
            }
            assert bench.active() == (2, 1)

    def test_runs_of_an_edit_pass_taken_slots_over(self) -> None:
        """A slot that exists already, or twice in the edit, is made only once."""
        with self.bench() as bench:
            bench.put(task())
            bench.edit(runs_now(pending(T0)))
            [answer] = bench.edit(runs_now(pending(T0), pending(T0 + 1), pending(T0 + 1)))
            assert [run.fire_us for run in answer.runs] == [T0 + 1]
            assert [run.fire_us for run in bench.runs()] == [T0, T0 + 1]
            assert bench.active() == (2, 0)

    def test_removing_keeps_runs(self) -> None:
        """What is over and what is leased stays; what is pending is cancelled for the reason."""
        with self.bench() as bench:
            bench.leased_with_queue(T0, T0 + 1, T0 + 2)
            bench.edit(runs_now(pending(None)))
            [answer] = bench.edit(removed("not needed"))
            assert (answer.task, list(answer.runs)) == (None, [])
            assert bench.reader.get_task("task") is None
            found = [(run.state, run.reason, run.finished_us) for run in bench.runs()]
            cancelled = (RunState.CANCELLED, "not needed", T0)
            assert found == [(RunState.PENDING, None, None)] + [cancelled] * 3
            assert bench.lease() == ((), None, ())

    def test_runs_of_a_removed_task_end(self) -> None:
        """A lease that holds is written back; one given back ends, since nothing can execute it."""
        with self.bench() as bench:
            one, two, three = bench.leased(task("1"), task("2"), task("3"))
            bench.edit(removed(), "1", "2", "3")
            back = given_back(two), given_back(three, started=True, error="[1]")
            assert bench.finish(finished(one), *back) == frozenset()
            states = [run.state for run in bench.runs()]
            assert states == [RunState.COMPLETED, RunState.CANCELLED, RunState.CANCELLED]
            assert all(run.node is None and run.available_us is None for run in bench.runs())
            assert bench.run(two).reason
            assert bench.lease() == ((), None, ())

    def test_pending_runs_are_cancelled_on_demand(self) -> None:
        """Also queued ones; leased ones go on, and the task's counts follow."""
        with self.bench() as bench:
            leased, waiting = bench.leased_with_queue(T0, T0 + 1, T0 + 2)
            bench.put(task("other"))
            bench.edit(runs_now(pending(None)), "other")
            cancelling = lambda record: Edit(record, cancel_pending="changed")  # noqa: E731
            [answer] = bench.edit(cancelling)
            assert answer.task == bench.task()
            assert bench.active() == (1, 0)
            for each in waiting:
                run = bench.run(each)
                assert (run.state, run.reason) == (RunState.CANCELLED, "changed")
            assert bench.run(leased).node is not None
            assert bench.active("other") == (1, 0)
            bench.finish(finished(leased))
            assert bench.active() == (0, 0)

    def test_records_are_copies(self) -> None:
        """Changing what was given or came back changes nothing in the store."""
        with self.bench() as bench:
            mine = task()
            bench.store.put([mine], decide_never, bench.new_id)
            mine.problem = "mine"
            [answer] = bench.edit(runs_now(pending(None)))
            before = bench.dump()
            assert answer.task is not None
            for record in (answer.task, bench.task(), *bench.reader.find_tasks(TaskQuery())):
                record.problem, record.revision = "changed", 99
            for run in (*answer.runs, *bench.runs(), bench.run(answer.runs[0])):
                run.state, run.reason = RunState.LOST, "changed"
            assert bench.dump() == before
            assert bench.task().problem is None

    def test_an_edit_moves_a_task_to_another_due_time(self) -> None:
        """Planning goes by the new one only."""
        with self.bench() as bench:
            bench.put(task(due_us=T0))
            later = T0 + MINUTE
            bench.edit(lambda record: Edit(replace(record, due_us=later, fire_us=later)))
            assert bench.plan(decide_never) == ((), (), (), later, False)
            earlier = T0 - MINUTE
            bench.edit(lambda record: Edit(replace(record, due_us=earlier, fire_us=earlier)))
            [leased] = bench.plan().leased
            assert leased.run.fire_us == earlier
            bench.now_us = later
            assert not bench.plan(decide_never, now_us=later).leased

    def test_removed_tasks_are_not_planned(self) -> None:
        """They are gone from the due ones, too, and come back under their id as new ones."""
        with self.bench() as bench:
            bench.put(task())
            bench.edit(removed())
            assert bench.plan(decide_never) == ((), (), (), None, False)
            bench.put(task(generation=2))
            assert len(bench.plan(moves_on(pending(T0))).leased) == 1
