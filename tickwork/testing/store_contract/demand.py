"""Runs without a task, and ends on demand: `submit`, `cancel` and `asked`."""

from collections.abc import Sequence
from dataclasses import replace

from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import (
    TASK_REMOVED,
    UNREADABLE_AGAIN_US,
    Edit,
    Ended,
    Mark,
    Note,
    PruneRequest,
    Verdict,
)
from tickwork.testing.store_contract.bench import (
    EXECUTOR,
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    Bench,
    decide_never,
    definition,
    finished,
    given_back,
    pending,
    removed,
    runs_now,
    task,
)
from tickwork.testing.store_contract.case import StoreCase

__all__ = ["DemandContract"]

_CANCELLED = RunState.CANCELLED


def _states(bench: Bench, *runs: RunRecord) -> list[RunState]:
    return [bench.run(each).state for each in runs]


class DemandContract(StoreCase):
    """The contract of `OnDemand`."""

    # -- submit

    def test_a_submitted_run_comes_back_as_it_was(self) -> None:
        """All of it, with its definition."""
        with self.bench() as bench:
            own = definition(payload='{"args":[1],"kwargs":{}}', retries=2, name="Büro")
            run = bench.submit(definition=own, task_id="task ✓", rank=-3, retry_of="0")
            assert run.definition == own
            assert (run.task_id, run.generation, run.rank, run.retry_of) == ("task ✓", 0, -3, "0")
            assert (run.state, run.available_us, run.attempt) == (RunState.PENDING, T0, 0)
            assert bench.runs() == [run]
            assert bench.runs("task ✓") == [run]

    def test_a_run_is_submitted_once(self) -> None:
        """A second time changes nothing, whatever has become of it."""
        with self.bench() as bench:
            run = bench.submit()
            bench.demand.submit([run])
            assert bench.runs() == [run]
            [leased] = bench.lease().leased
            bench.finish(finished(leased.run))
            before = bench.dump()
            other = replace(run, id=bench.new_id())
            bench.demand.submit([run, other])
            assert bench.dump().runs == before.runs | {other.id: other}

    def test_a_submitted_run_is_leased_with_its_own_definition(self) -> None:
        """Also beside a task of the same id; none of it counts there."""
        with self.bench() as bench:
            bench.put(task("task", None, generation=7))
            run = bench.submit(task_id="task", name="its own")
            [leased] = bench.lease(store=bench.second).leased
            assert (leased.run.id, leased.run.attempt, leased.run.node) == (run.id, 1, NODE)
            assert leased.definition == run.definition == leased.run.definition
            assert bench.active() == (0, 0)
            assert bench.finish(finished(leased.run, result="1", follows=True)) == frozenset()
            assert bench.active() == (0, 0)
            assert (bench.run(run).state, bench.run(run).result) == (RunState.COMPLETED, "1")

    def test_a_submitted_run_waits_for_its_time(self) -> None:
        """It is leased then, and not before."""
        with self.bench() as bench:
            bench.submit(available_us=T0 + MINUTE)
            assert bench.lease() == ((), T0 + MINUTE, ())
            assert len(bench.lease(now_us=T0 + MINUTE).leased) == 1

    def test_a_submitted_run_outlives_tasks_of_its_id(self) -> None:
        """Neither their end nor their beginning ends it, and it may be given back."""
        with self.bench() as bench:
            bench.put(task("task", None))
            run = bench.submit(task_id="task")
            bench.edit(removed("gone"), "task")
            [leased] = bench.lease().leased
            bench.put(task("task", None, generation=2))
            bench.finish(given_back(leased.run, started=True, error="[1]"))
            [again] = bench.lease().leased
            assert (again.run.id, again.run.attempt, again.run.failures) == (run.id, 2, 1)

    def test_a_submitted_run_is_taken_over(self) -> None:
        """By its own definition."""
        with self.bench() as bench:
            bench.register(NODE)
            run = bench.submit()
            assert len(bench.lease().leased) == 1
            bench.now_us += LEASE_US
            seen: list[object] = []

            def decide(_: RunRecord, its: object) -> Verdict:
                seen.append(its)
                return Verdict(RunState.PENDING, 1, suspect=True)

            bench.recover(decide, node=OTHER)
            assert seen == [run.definition]
            [leased] = bench.lease(node=OTHER).leased
            assert (leased.run.id, leased.run.crashes, leased.definition) == (
                run.id, 1, run.definition,
            )  # fmt: skip

    def test_a_run_says_whose_retry_it_is(self) -> None:
        """Also one of a task."""
        with self.bench() as bench:
            bench.put(task("task", None))
            [edited] = bench.edit(runs_now(pending(None, retry_of="old")), "task")
            [made] = edited.runs
            assert made.retry_of == "old" == bench.run(made).retry_of
            [leased] = bench.lease().leased
            assert leased.run.retry_of == "old"

    # -- rank

    def test_the_lowest_rank_is_leased_first(self) -> None:
        """Of these the longest available; what isn't available yet is in nobody's way."""
        with self.bench() as bench:
            late = bench.submit(rank=-9, available_us=T0 + MINUTE)
            names = {
                bench.submit(rank=rank, available_us=T0 - age).id: (rank, age)
                for rank, age in [(0, 1), (5, 9), (-1, 1), (0, 2), (-1, 3)]
            }
            order = [names[bench.lease(capacity={EXECUTOR: 1}).leased[0].run.id] for _ in range(5)]
            assert order == [(-1, 3), (-1, 1), (0, 2), (0, 1), (5, 9)]
            assert bench.lease().leased == ()
            [leased] = bench.lease(now_us=T0 + MINUTE).leased
            assert leased.run.id == late.id

    def test_runs_of_tasks_have_the_rank_of_their_priority(self) -> None:
        """A higher priority is a lower rank."""
        with self.bench() as bench:
            bench.put(*(task(f"{each}", None, priority=each) for each in (-1, 0, 1)))
            for each in ("-1", "0", "1"):
                bench.edit(runs_now(pending(None)), each)
            ids = [bench.lease(capacity={EXECUTOR: 1}).leased[0].run.task_id for _ in range(3)]
            assert ids == ["1", "0", "-1"]

    # -- cancel

    def test_pending_runs_are_cancelled(self) -> None:
        """They end, are leased by nobody, and their task counts them no more."""
        with self.bench() as bench:
            bench.put(task("task", None))
            bench.edit(runs_now(pending(None)), "task")
            [run] = bench.runs()
            own = bench.submit(available_us=T0 + MINUTE)
            bench.now_us += 5
            found = bench.cancel(run, "nothing", own, reason="why not")
            assert found == [bench.run(run), None, bench.run(own)]
            for each in (run, own):
                ended = bench.run(each)
                assert (ended.state, ended.reason) == (_CANCELLED, "why not")
                assert (ended.finished_us, ended.available_us) == (T0 + 5, None)
            assert bench.active() == (0, 0)
            assert bench.lease(now_us=T0 + MINUTE) == ((), None, ())

    def test_a_leased_run_is_asked_to_end(self) -> None:
        """Its node learns of it, until it is over; nothing else changes."""
        with self.bench() as bench:
            [run, other] = bench.leased(task("a"), task("b"))
            bench.now_us += 7
            [found] = bench.cancel(run)
            assert found == replace(run, cancel_us=T0 + 7) == bench.run(run)
            assert bench.demand.asked(NODE) == [run.id]
            assert bench.demand.asked(OTHER) == []
            bench.now_us += 1
            assert bench.cancel(run, other)[0] == found
            assert sorted(bench.demand.asked(NODE)) == [run.id, other.id]
            bench.finish(finished(run, _CANCELLED), given_back(other))
            assert bench.demand.asked(NODE) == []
            assert bench.run(other).cancel_us == T0 + 8
            assert [bench.active(each) for each in ("a", "b")] == [(0, 0), (1, 0)]

    def test_what_is_over_stays_as_it_is(self) -> None:
        """Whatever it ended as."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            bench.finish(finished(run, RunState.FAILED, errors="[1]"))
            before = bench.dump()
            assert bench.cancel(run, after_run=decide_never) == [bench.run(run)]
            assert bench.dump() == before

    def test_a_cancelled_run_lets_its_task_go_on(self) -> None:
        """Queued runs become available, `after_run` is called once for a task."""
        with self.bench() as bench:
            leased, [second, third] = bench.leased_with_queue(T0, T0 + 1, T0 + 2)
            assert bench.active() == (3, 2)
            seen: list[tuple[str, int, list[Ended]]] = []

            def after_run(record: TaskRecord, ended: Sequence[Ended]) -> None:
                seen.append((record.id, record.active, list(ended)))
                record.problem = "asked"

            bench.cancel(second, leased, after_run=after_run)
            assert seen == [("task", 2, [Ended(_CANCELLED, T0)])]
            assert bench.task().problem == "asked"
            assert bench.active() == (2, 1)
            bench.finish(given_back(leased))
            bench.cancel(leased)
            assert _states(bench, leased, second, third) == [
                _CANCELLED, _CANCELLED, RunState.PENDING,
            ]  # fmt: skip
            assert bench.active() == (1, 0)
            assert [each.run.id for each in bench.lease(now_us=T0 + 2).leased] == [third.id]

    def test_a_raising_decision_cancels_nothing(self) -> None:
        """The whole call can be repeated."""
        with self.bench() as bench:
            bench.put(task("task", None))
            bench.edit(runs_now(pending(None)), "task")
            [run] = bench.runs()
            own = bench.submit()
            before = bench.dump()
            try:
                bench.cancel(own, run, after_run=decide_never)
            except AssertionError:
                assert bench.dump() == before
            else:
                raise AssertionError("what a decision raises must come out of the store")

    def test_runs_of_vanished_tasks_are_cancelled_too(self) -> None:
        """Nothing follows for a task that is another one by now."""
        with self.bench() as bench:
            runs = bench.leased(task("gone"), task("new"))
            bench.edit(removed(), "gone")
            bench.put(task("new", generation=2), decide=lambda _, new: Edit(new))
            bench.finish(*(given_back(run) for run in runs))
            bench.cancel(*runs, after_run=decide_never)
            assert {(run.state, run.reason) for run in bench.runs()} == {(_CANCELLED, TASK_REMOVED)}
            assert bench.active("new") == (0, 0)

    def test_a_cancelled_run_that_is_taken_over_is_decided_about(self) -> None:
        """The decision sees that its end was asked for."""
        with self.bench() as bench:
            bench.register(NODE)
            [run] = bench.leased(task())
            bench.cancel(run)
            bench.now_us += LEASE_US
            seen: list[int | None] = []

            def decide(record: RunRecord, _: object) -> Verdict:
                seen.append(record.cancel_us)
                return Verdict(_CANCELLED, 0, suspect=False, reason="cancelled")

            bench.recover(decide, node=OTHER)
            assert seen == [T0]
            assert (bench.run(run).state, bench.active()) == (_CANCELLED, (0, 0))

    def test_a_run_that_is_asked_to_end_does_not_wait(self) -> None:
        """Given back, it is available at once, so that whoever leases it ends it."""
        with self.bench() as bench:
            bench.now_us += 5
            run = bench.submit()
            [leased] = bench.lease().leased
            bench.cancel(run)
            later = T0 + MINUTE
            bench.finish(given_back(leased.run, later, started=True, error="[1]"))
            assert bench.run(run).available_us == T0 + 5
            [again] = bench.lease().leased
            assert (again.run.id, again.run.cancel_us) == (run.id, T0 + 5)

    def test_a_submitted_run_that_is_not_understood_is_in_nobodys_way(self) -> None:
        """No task is deferred for it; it is offered again later, and the others are leased."""
        with self.bench() as bench:
            odd = bench.submit(task_id="task", name="spoilt")
            plain = bench.submit(task_id="task")
            assert isinstance(odd.definition, Definition)
            text = bench.codec.encode(odd.definition)
            bench.codec.refused.add(text)
            if not isinstance(bench.run(odd).definition, Unreadable):
                # A store that keeps records instead of texts keeps this one.
                unreadable = Unreadable(text, "a definition of version 99")
                odd = bench.submit(task_id="task", definition=unreadable)
            reply = bench.lease()
            assert plain.id in {each.run.id for each in reply.leased}
            assert odd.id not in {each.run.id for each in reply.leased}
            assert reply.deferred == ()
            waiting = bench.run(odd)
            assert isinstance(waiting.definition, Unreadable)
            assert (waiting.state, waiting.available_us) == (
                RunState.PENDING, T0 + UNREADABLE_AGAIN_US,
            )  # fmt: skip
            assert bench.lease().leased == ()

    # -- lingering

    def test_a_run_that_lingers_is_over_and_counts(self) -> None:
        """Until it is written once more; nothing else of it changes then but the reason."""
        with self.bench() as bench:
            leased, [waiting] = bench.leased_with_queue(T0, T0 + 1)
            entry = finished(leased, RunState.TIMEOUT, errors="[1]", reason="still running")
            assert bench.finish(entry._replace(lingers=True)) == frozenset()
            run = bench.run(leased)
            assert (run.state, run.reason, run.failures) == (RunState.TIMEOUT, "still running", 1)
            assert (run.node, run.finished_us, run.errors) == (NODE, T0 + 2_000_000, "[1]")
            assert bench.active() == (2, 1)
            assert bench.lease(now_us=T0 + 1).leased == ()
            assert bench.finish(entry._replace(lingers=True)) == frozenset()
            assert bench.run(leased) == run
            assert bench.cancel(run) == [run]
            assert bench.demand.asked(NODE) == []
            last = entry._replace(errors=None, reason="has returned")
            assert bench.finish(last) == frozenset()
            assert bench.run(leased) == replace(run, node=None, reason="has returned")
            assert bench.active() == (1, 0)
            assert [each.run.id for each in bench.lease(now_us=T0 + 1).leased] == [waiting.id]
            assert bench.finish(last) == frozenset()

    def test_nothing_follows_for_a_run_that_lingers(self) -> None:
        """But when it ends."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            entry = finished(run, RunState.TIMEOUT, follows=True)
            bench.finish(entry._replace(lingers=True), after_run=decide_never)
            seen: list[Sequence[Ended]] = []
            bench.finish(entry, after_run=lambda _, ended: seen.append(list(ended)))
            assert seen == [[Ended(RunState.TIMEOUT, entry.finished_us)]]

    def test_a_run_that_lingers_is_not_pruned(self) -> None:
        """However old it is, and whatever is to be kept."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            entry = finished(run, RunState.TIMEOUT, lingers=True, expires_us=T0)
            bench.finish(entry)
            everything = PruneRequest({"task": 0}, T0 + MINUTE, now_us=T0 + MINUTE)
            assert bench.store.prune(everything) == 0
            bench.finish(entry._replace(lingers=False))
            assert bench.store.prune(everything) == 1
            assert bench.runs() == []

    def test_a_run_that_lingers_on_a_dead_node_is_counted_as_over(self) -> None:
        """It isn't decided about, and stays as it is."""
        with self.bench() as bench:
            bench.register(NODE)
            leased, [waiting] = bench.leased_with_queue(T0, T0 + 1)
            entry = finished(leased, RunState.TIMEOUT, errors="[1]", reason="still running")
            bench.finish(entry._replace(lingers=True))
            run = bench.run(leased)
            bench.now_us += LEASE_US
            reply = bench.recover(decide_never, node=OTHER)
            assert reply.dead == (NODE,)
            assert bench.run(leased) == replace(run, node=None)
            assert bench.active() == (1, 0)
            assert bench.run(waiting).available_us == T0 + 1

    # -- notes

    def test_notes_are_written_as_long_as_nobody_leased_the_run_again(self) -> None:
        """What they don't mention stays; they end nothing."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            bench.finish(Note(run.id, run.fence, progress="[1,2]"))
            bench.finish(Note(run.id, run.fence, log='["ä"]'))
            assert bench.run(run) == replace(run, progress="[1,2]", log='["ä"]')
            bench.finish(finished(run), Note(run.id, run.fence, progress="[2,2]"))
            ended = bench.run(run)
            assert (ended.state, ended.progress, ended.log) == (
                RunState.COMPLETED, "[2,2]", '["ä"]',
            )  # fmt: skip
            bench.finish(Note(run.id, run.fence, log="[]"))
            assert bench.run(run) == replace(ended, log="[]")

    def test_what_a_run_says_as_it_is_given_back_is_kept(self) -> None:
        """That of an attempt that has failed, whose last lines come with its end."""
        with self.bench() as bench:
            runs = bench.leased(task("begun"), task("not begun"))
            bench.finish(*(Note(run.id, run.fence, "1", '["before"]') for run in runs))
            bench.finish(
                *(Note(run.id, run.fence, "2", '["before","after"]') for run in runs),
                *(given_back(run, started=run is runs[0]) for run in runs),
            )
            said = [(each.run.progress, each.run.log) for each in bench.lease().leased]
            assert said == [("2", '["before","after"]')] * 2

    def test_late_notes_are_dropped(self) -> None:
        """Without a word, and without harm to the rest of the batch."""
        with self.bench() as bench:
            [run, other] = bench.leased(task("a"), task("b"))
            bench.finish(given_back(run, started=True))
            [again] = bench.lease().leased
            late = Note(run.id, run.fence, progress="1", log="1")
            gone = Note("nothing", 1, progress="1")
            mark = Mark(other.id, other.fence, T0)
            assert bench.finish(late, gone, mark) == frozenset()
            assert bench.run(run).progress is None
            assert bench.run(other).state is RunState.RUNNING
            bench.finish(Note(run.id, again.run.fence, progress="2"))
            assert bench.run(run).progress == "2"

    # -- expiry

    def test_expired_runs_are_pruned(self) -> None:
        """Neither before, nor those that don't expire."""
        with self.bench() as bench:
            soon, later, never = bench.leased(task("soon"), task("later"), task("never"))
            bench.finish(
                finished(soon, expires_us=T0 + 1),
                finished(later, expires_us=T0 + MINUTE),
                finished(never),
            )
            assert bench.run(soon).expires_us == T0 + 1
            assert bench.store.prune(PruneRequest({}, 0, now_us=T0)) == 0
            assert bench.store.prune(PruneRequest({}, 0, now_us=T0 + 1)) == 1
            assert {run.task_id for run in bench.runs()} == {"later", "never"}
            assert bench.store.prune(PruneRequest({}, 0, now_us=T0 + MINUTE)) == 1
            assert [run.task_id for run in bench.runs()] == ["never"]

    def test_a_run_that_expires_later_outlives_the_others(self) -> None:
        """Its own word goes before the one for all; how many are kept counts nevertheless."""
        with self.bench() as bench:
            runs = bench.leased(task("own"), task("plain"))
            bench.finish(finished(runs[0], expires_us=T0 + 2 * MINUTE), finished(runs[1]))
            assert bench.store.prune(PruneRequest({}, T0 + MINUTE, now_us=T0 + MINUTE)) == 1
            assert [run.task_id for run in bench.runs()] == ["own"]
            assert bench.store.prune(PruneRequest({"own": 0}, T0 + MINUTE, now_us=T0)) == 1

    def test_expired_runs_go_in_pieces(self) -> None:
        """Not more than the limit at once."""
        with self.bench() as bench:
            runs = bench.leased(*(task(f"{each}") for each in range(5)))
            bench.finish(*(finished(run, expires_us=T0) for run in runs))
            request = PruneRequest({}, 0, limit=2, now_us=T0)
            assert [bench.store.prune(request) for _ in range(4)] == [2, 2, 1, 0]
