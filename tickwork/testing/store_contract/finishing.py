"""Writing back what happened to leased runs: `finish`."""

from collections.abc import Sequence
from dataclasses import replace

from tickwork.model.policies import TERMINAL, RunState, ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Edit, Ended, Mark
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    decide_never,
    finished,
    given_back,
    moves_on,
    pending,
    queued,
    task,
)
from tickwork.testing.store_contract.case import StoreCase

__all__ = ["FinishingContract"]

_NONE: frozenset[str] = frozenset()
_ENDS = sorted(TERMINAL - {RunState.MISSED, RunState.SKIPPED})


class FinishingContract(StoreCase):
    """The contract of `finish`."""

    # -- marks

    def test_a_mark_says_that_a_run_started(self) -> None:
        """It is running then, since when it says, and still leased; nothing else changes."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            assert bench.finish(Mark(run.id, run.fence, T0 + 5)) == _NONE
            started = replace(run, state=RunState.RUNNING, started_us=T0 + 5)
            assert bench.run(run) == started
            assert bench.active() == (1, 0)
            # Said again, also as of another instant, it is accepted without doing anything.
            for again_us in (T0 + 5, T0 + 7):
                assert bench.finish(Mark(run.id, run.fence, again_us)) == _NONE
                assert bench.run(run) == started

    def test_a_mark_without_lease_is_refused(self) -> None:
        """Whoever lost the lease must not start, also where the run is over."""
        with self.bench() as bench:
            back, over = bench.leased(task("a"), task("b"))
            bench.finish(given_back(back), finished(over))
            before = bench.dump()
            refused = bench.finish(
                Mark(back.id, back.fence, T0), Mark(over.id, over.fence, T0), Mark("no", 1, T0)
            )
            assert refused == {back.id, over.id, "no"}
            assert bench.dump() == before

    # -- given back

    def test_an_unstarted_run_given_back_was_never_leased(self) -> None:
        """Its attempt doesn't count; it is available when it says."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            assert bench.finish(given_back(run, T0 + 9, reason="stopped")) == _NONE
            assert bench.run(run) == replace(
                run, node=None, attempt=0, available_us=T0 + 9, reason="stopped"
            )
            assert bench.active() == (1, 0)

    def test_a_started_run_given_back_counts(self) -> None:
        """Its attempt stays counted; with errors it is a failure, and they are kept."""
        with self.bench() as bench:
            failed, stopped = bench.leased(task("a"), task("b"))
            bench.finish(Mark(failed.id, failed.fence, T0), Mark(stopped.id, stopped.fence, T0))
            back = given_back(failed, T0 + MINUTE, started=True, error='["no"]')
            assert bench.finish(back, given_back(stopped, started=True)) == _NONE
            run = bench.run(failed)
            assert (run.state, run.node, run.available_us) == (
                RunState.PENDING,
                None,
                T0 + MINUTE,
            )
            assert (run.attempt, run.failures, run.errors) == (1, 1, '["no"]')
            run = bench.run(stopped)
            assert (run.attempt, run.failures, run.errors) == (1, 0, None)
            assert [bench.active(each) for each in "ab"] == [(1, 0)] * 2

    # -- finished

    def test_runs_end_in_every_way(self) -> None:
        """With all that is known about their end; the lease ends, the fence stays."""
        with self.bench() as bench:
            runs = bench.leased(*(task(str(state)) for state in _ENDS))
            entries = [
                finished(run, RunState(run.task_id), result="1", errors="[2]", reason="why")
                for run in runs
            ]
            assert bench.finish(*entries) == _NONE
            for run, entry in zip(runs, entries, strict=True):
                assert bench.run(run) == replace(
                    run,
                    state=entry.state,
                    node=None,
                    started_us=entry.started_us,
                    finished_us=entry.finished_us,
                    result="1",
                    errors="[2]",
                    reason="why",
                    failures=int(entry.state is not RunState.COMPLETED),
                )
                assert bench.active(run.task_id) == (0, 0)

    def test_what_an_end_does_not_say_stays(self) -> None:
        """When it started by its mark, and the errors of earlier attempts."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            bench.finish(given_back(run, started=True, error="[1]"))
            [leased] = bench.lease().leased
            run = leased.run
            bench.finish(Mark(run.id, run.fence, T0 + 3))
            bench.finish(finished(run, started_us=None))
            over = bench.run(run)
            assert (over.started_us, over.errors, over.failures) == (T0 + 3, "[1]", 1)

    def test_all_kinds_go_in_one_batch(self) -> None:
        """Marked and over in the same one, too."""
        with self.bench() as bench:
            a, b, c, d = bench.leased(*(task(each) for each in "abcd"))
            marks = [Mark(each.id, each.fence, T0) for each in (a, d)]
            assert bench.finish(*marks, given_back(b), finished(c), finished(d)) == _NONE
            states = [bench.runs(each)[0].state for each in "abcd"]
            running, waiting, over = RunState.RUNNING, RunState.PENDING, RunState.COMPLETED
            assert states == [running, waiting, over, over]

    def test_a_large_batch_is_written(self) -> None:
        """2,500 runs at once, one of them under a lost lease."""
        with self.bench() as bench:
            runs = bench.leased(*(task(f"t{each:04}") for each in range(2_500)), limit=5_000)
            last = replace(runs[-1], fence=runs[-1].fence + 1)
            refused = bench.finish(*(finished(run) for run in [*runs[:-1], last]))
            assert refused == {last.id}
            over = [run for run in bench.runs() if run.state is RunState.COMPLETED]
            assert len(over) == 2_499
            assert sum(each.active for each in bench.dump().tasks.values()) == 1

    def test_an_empty_batch_does_nothing(self) -> None:
        """No error, no effect."""
        with self.bench() as bench:
            assert bench.finish() == _NONE

    # -- fences

    def test_a_stale_fence_has_no_effect(self) -> None:
        """Those entries are named, and the others of the batch are written."""
        with self.bench() as bench:
            runs = bench.leased(*(task(each) for each in "abcd"))
            stale = [replace(run, fence=run.fence - 1) for run in runs]
            before = bench.dump()
            mark = Mark(stale[0].id, stale[0].fence, T0)
            refused = bench.finish(
                mark, given_back(stale[1]), finished(stale[2]), finished(runs[3])
            )
            assert refused == {run.id for run in runs[:3]}
            after = bench.dump()
            assert [after.runs[run.id] for run in runs[:3]] == runs[:3]
            assert [after.tasks[each] for each in "abc"] == [before.tasks[each] for each in "abc"]
            assert bench.run(runs[3]).state is RunState.COMPLETED
            assert bench.active("d") == (0, 0)

    def test_a_run_leased_to_another_is_refused(self) -> None:
        """What its first holder says later doesn't count."""
        with self.bench() as bench:
            bench.register(NODE, lease_us=LEASE_US)
            [run] = bench.leased(task())
            bench.now_us += LEASE_US
            bench.recover(node=OTHER)
            assert bench.finish(finished(run)) == {run.id}
            [leased] = bench.lease(node=OTHER).leased
            assert bench.finish(finished(run, RunState.FAILED)) == {run.id}
            assert bench.run(run) == leased.run
            assert bench.finish(finished(leased.run)) == _NONE
            assert bench.run(run).state is RunState.COMPLETED

    def test_unknown_runs_are_refused(self) -> None:
        """As those that were pruned."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            ghost = replace(run, id="ghost")
            assert bench.finish(finished(ghost), given_back(ghost)) == {"ghost"}
            assert bench.run(run) == run

    # -- repetition

    def test_a_repeated_batch_does_nothing_twice(self) -> None:
        """It is accepted again, and everything is as after the first time."""
        with self.bench() as bench:
            leased, _ = bench.leased_with_queue(T0, T0 + 1, T0 + 2)
            a, b, c = bench.leased(*(task(each) for each in "abc"))
            batch = (
                Mark(a.id, a.fence, T0),
                given_back(b, started=True, error="[]"),
                finished(leased, follows=True),
                finished(c, RunState.FAILED, errors="[]"),
            )
            calls: list[str] = []
            after_run = lambda record, _: calls.append(record.id)  # noqa: E731
            assert bench.finish(*batch, after_run=after_run) == _NONE
            before = bench.dump()
            assert bench.finish(*batch, after_run=after_run) == _NONE
            assert bench.finish(*batch, after_run=after_run, store=bench.second) == _NONE
            assert bench.dump() == before
            assert calls == ["task"]
            assert bench.active() == (2, 1)

    def test_an_end_named_twice_in_a_batch_counts_once(self) -> None:
        """As if the second had come later."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            assert bench.finish(finished(run), finished(run)) == _NONE
            assert bench.active() == (0, 0)

    def test_two_ends_of_one_run_are_one(self) -> None:
        """The first that comes counts, the other is refused."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            assert bench.finish(finished(run), finished(run, RunState.FAILED)) == {run.id}
            assert bench.run(run).state is RunState.COMPLETED
            assert bench.finish(given_back(run)) == {run.id}
            assert bench.active() == (0, 0)

    # -- what follows for the task

    def test_queued_runs_go_in_order(self) -> None:
        """As each run ends, the longest waiting one becomes available; counts follow."""
        with self.bench() as bench:
            run, waiting = bench.leased_with_queue(T0, T0 + 1, T0 + 2, T0 + 3)
            assert bench.active() == (4, 3)
            for left, expected in zip((2, 1, 0), waiting, strict=True):
                bench.finish(finished(run))
                assert bench.active() == (left + 1, left)
                [leased] = bench.lease(now_us=T0 + MINUTE).leased
                run = leased.run
                assert run.id == expected.id
            bench.finish(finished(run))
            assert bench.active() == (0, 0)

    def test_queued_runs_go_up_to_max_instances(self) -> None:
        """When several end in one batch, several go; never more than may run at once."""
        with self.bench() as bench:
            bench.put(task(max_instances=3))
            first = [pending(T0 + each) for each in range(3)]
            reply = bench.plan(moves_on(*first, *(queued(T0 + each) for each in range(3, 10))))
            one, two, three = (each.run for each in reply.leased)
            bench.finish(finished(one), finished(two))
            assert bench.active() == (8, 5)
            leased = bench.lease(now_us=T0 + MINUTE).leased
            assert [each.run.fire_us for each in leased] == [T0 + 3, T0 + 4]
            bench.finish(given_back(three, started=True, error="[]"))
            assert bench.active() == (8, 5)

    def test_more_instances_let_more_queued_runs_go(self) -> None:
        """The limit is that of the definition when a run ends."""
        with self.bench() as bench:
            run, _ = bench.leased_with_queue(T0, *(T0 + each for each in range(1, 6)))
            wider = task(max_instances=4).definition
            bench.edit(lambda record: Edit(replace(record, definition=wider)))
            bench.finish(finished(run))
            assert bench.active() == (5, 1)

    def test_what_follows_is_asked_once_the_run_is_counted(self) -> None:
        """`after_run` sees the task as it stands then, and moves it on."""
        with self.bench() as bench:
            [run, plain] = bench.leased(task(), task("plain"))
            seen: list[tuple[TaskRecord, list[Ended]]] = []

            def after_run(record: TaskRecord, ended: Sequence[Ended]) -> None:
                seen.append((replace(record), list(ended)))
                record.state = ScheduleState.SCHEDULED
                record.fire_us = record.due_us = ended[0].finished_us + MINUTE

            before = bench.task()
            bench.finish(finished(run, follows=True), finished(plain), after_run=after_run)
            [(record, [(state, finished_us)])] = seen
            assert (record.id, record.active, finished_us) == ("task", 0, T0 + 2_000_000)
            assert state is RunState.COMPLETED
            moved = bench.task()
            assert moved.revision > before.revision
            assert (moved.state, moved.due_us) == (ScheduleState.SCHEDULED, finished_us + MINUTE)
            assert bench.plan(decide_never).next_us == finished_us + MINUTE
            assert len(bench.plan(now_us=finished_us + MINUTE).leased) == 1

    def test_a_stale_give_back_hides_no_end(self) -> None:
        """In one batch with the end of a later lease of the same run."""
        with self.bench() as bench:
            [first] = bench.leased(task())
            bench.finish(given_back(first))
            [again] = bench.lease().leased
            seen: list[tuple[int, int]] = []
            lost = bench.finish(
                given_back(first),
                finished(again.run, follows=True),
                after_run=lambda record, ended: seen.append((record.active, len(ended))),
            )
            assert seen == [(0, 1)]
            assert bench.run(first).state is RunState.COMPLETED
            # Both are about the same run, of which one entry was refused.
            assert lost <= {first.id}

    def test_nothing_follows_for_what_is_gone(self) -> None:
        """No task, another generation, one that can't be understood: `after_run` isn't called."""
        with self.bench() as bench:
            runs = bench.leased(*(task(each) for each in ("gone", "new", "bad")))
            bench.edit(lambda _: Edit(None), "gone")
            bench.put(task("new", generation=2), decide=lambda _, new: Edit(new))
            bench.spoil("bad")
            entries = [finished(run, follows=True) for run in runs]
            assert bench.finish(*entries, after_run=decide_never) == _NONE
            assert {run.state for run in bench.runs()} == {RunState.COMPLETED}
            assert [bench.active(each) for each in ("new", "bad")] == [(0, 0)] * 2

    def test_a_raising_decision_writes_nothing(self) -> None:
        """The whole batch can be written again."""
        with self.bench() as bench:
            run, _ = bench.leased_with_queue(T0, T0 + 1)
            a, b = bench.leased(task("a"), task("b"))
            entries = Mark(a.id, a.fence, T0), finished(b), finished(run, follows=True)
            before = bench.dump()
            try:
                bench.finish(*entries, after_run=decide_never)
            except AssertionError:
                assert bench.dump() == before
            else:
                raise AssertionError("what a decision raises must come out of the store")
            assert bench.finish(*entries) == _NONE
            assert bench.active() == (1, 0)
            assert len(bench.lease(capacity={EXECUTOR: 5}, now_us=T0 + 1).leased) == 1
