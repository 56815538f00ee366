"""Giving pending runs to nodes: `lease`."""

from dataclasses import replace

from tickwork.model.policies import RunState
from tickwork.model.records import RunRecord
from tickwork.model.steps import Edit, Eligibility, LeaseReply, Verdict
from tickwork.testing.store_contract.bench import (
    ALL_EXECUTORS,
    EXECUTOR,
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    Bench,
    finished,
    given_back,
    pending,
    queued,
    runs_now,
    task,
)
from tickwork.testing.store_contract.case import StoreCase

__all__ = ["LeasingContract"]


def _ids(reply: LeaseReply) -> list[str]:
    return [each.run.task_id for each in reply.leased]


def _pending(bench: Bench, **available: int) -> None:
    """Add tasks that aren't due, with one pending run each, by when it is available."""
    bench.put(*(task(each, None) for each in available))
    for each, available_us in available.items():
        bench.edit(runs_now(pending(None, available_us)), each)


def _suspects(bench: Bench, **due: int) -> None:
    """Add tasks with one suspected run each, pending again after a node died."""
    bench.register("dead", lease_us=1)
    runs = [task(each, due_us) for each, due_us in due.items()]
    bench.leased(*runs, node="dead")
    bench.now_us += 1
    verdict = Verdict(RunState.PENDING, 1, suspect=True)
    assert len(bench.recover(lambda *_: verdict).runs) == len(due)
    bench.now_us -= 1


class LeasingContract(StoreCase):
    """The contract of `lease`."""

    def test_an_empty_store_has_nothing_to_lease(self) -> None:
        """It says so."""
        with self.bench() as bench:
            assert bench.lease() == ((), None, ())

    def test_a_lease_is_an_attempt(self) -> None:
        """The run names its node and fence, counts one attempt more, and is available no more."""
        with self.bench() as bench:
            _pending(bench, task=T0 - 5)
            [leased] = bench.lease().leased
            run = leased.run
            assert (run.state, run.node, run.attempt) == (RunState.PENDING, NODE, 1)
            assert (run.available_us, run.started_us) == (None, None)
            assert run.fence > 0
            assert bench.run(run) == run
            assert leased.definition == bench.task().definition
            run.reason = "mine"
            assert bench.run(run).reason is None
            assert bench.active() == (1, 0)

    def test_only_available_runs_are_leased(self) -> None:
        """From the very instant on; the next one is told."""
        with self.bench() as bench:
            _pending(bench, now=T0, past=T0 - 1, later=T0 + 1, latest=T0 + 2)
            assert _ids(bench.lease()) == ["past", "now"]
            assert bench.lease() == ((), T0 + 1, ())
            assert _ids(bench.lease(now_us=T0 + 2)) == ["later", "latest"]
            assert bench.lease() == ((), None, ())

    def test_the_longest_available_come_first(self) -> None:
        """Over all executors, in one call and over several."""
        with self.bench() as bench:
            for number in (3, 1, 4, 2):
                executor = "asyncio" if number % 2 else EXECUTOR
                bench.put(task(f"t{number}", None, executor=executor))
                bench.edit(runs_now(pending(None, T0 - number)), f"t{number}")
            one_each = {"asyncio": 1, EXECUTOR: 1}
            assert _ids(bench.lease(capacity=one_each)) == ["t4", "t3"]
            assert _ids(bench.lease(capacity=one_each)) == ["t2", "t1"]

    def test_capacity_is_that_of_each_executor(self) -> None:
        """No run of an executor without places is leased."""
        with self.bench() as bench:
            for number in range(4):
                for executor in ("asyncio", EXECUTOR):
                    bench.put(task(f"{executor}{number}", None, executor=executor))
                    bench.edit(runs_now(pending(None)), f"{executor}{number}")
            leased = _ids(bench.lease(capacity={"asyncio": 3, EXECUTOR: 1, "processpool": 5}))
            assert len(leased) == 4
            assert sum(each.startswith("asyncio") for each in leased) == 3
            assert bench.lease(capacity={}).leased == ()
            assert bench.lease(capacity={"asyncio": 0, EXECUTOR: 0}).leased == ()
            assert len(bench.lease().leased) == 3

    def test_ineligible_runs_stay_and_starve_nobody(self) -> None:
        """Other executors', left out functions' and left out tasks; they don't count as next."""
        with self.bench() as bench:
            bench.put(
                task("executor", None, executor="elsewhere"),
                task("function", None, function="gone:away"),
                task("task", None),
                task("fine", None),
            )
            for back, each in enumerate(("fine", "task", "function", "executor")):
                bench.edit(runs_now(pending(None, T0 - back)), each)
            mine = Eligibility(ALL_EXECUTORS, frozenset({"gone:away"}), frozenset({"task"}))
            room = {EXECUTOR: 1, "elsewhere": 1}
            assert _ids(bench.lease(eligibility=mine, capacity=room)) == ["fine"]
            assert bench.lease(eligibility=mine, capacity=room) == ((), None, ())
            assert _ids(bench.lease()) == ["function", "task"]

    def test_queued_runs_are_not_leased(self) -> None:
        """They wait for another run of their task."""
        with self.bench() as bench:
            bench.put(task(due_us=None))
            bench.edit(runs_now(queued(T0)))
            assert bench.lease() == ((), None, ())

    def test_a_second_caller_does_not_get_the_same_run(self) -> None:
        """Nor does the same one again."""
        with self.bench() as bench:
            _pending(bench, a=T0, b=T0, c=T0)
            assert len(bench.lease(capacity={EXECUTOR: 2}).leased) == 2
            rest = bench.lease(node=OTHER, store=bench.second).leased
            assert [each.run.node for each in rest] == [OTHER]
            assert bench.lease(node=OTHER, store=bench.second) == ((), None, ())
            assert bench.lease() == ((), None, ())
            assert {run.attempt for run in bench.runs()} == {1}

    def test_a_run_given_back_is_leased_again(self) -> None:
        """With a higher fence, when it is available again."""
        with self.bench() as bench:
            [first] = bench.leased(task())
            bench.finish(given_back(first, T0 + MINUTE, started=True, error="[]"))
            assert bench.lease() == ((), T0 + MINUTE, ())
            [again] = bench.lease(now_us=T0 + MINUTE).leased
            assert again.run.id == first.id
            assert again.run.fence > first.fence
            assert (again.run.attempt, again.run.failures) == (2, 1)

    # -- suspects

    def test_at_most_one_suspect_is_leased(self) -> None:
        """The longest available one, over all executors; the others stand behind nobody."""
        with self.bench() as bench:
            _suspects(bench, s1=T0 - 1, s2=T0 - 3, s3=T0 - 2)
            _pending(bench, fine=T0)
            assert _ids(bench.lease()) == ["s2", "fine"]
            assert _ids(bench.lease()) == ["s3"]

    def test_suspects_take_places_too(self) -> None:
        """A suspect and the others together are no more than the capacity."""
        with self.bench() as bench:
            _suspects(bench, s1=T0 - 1, s2=T0 - 2)
            _pending(bench, a=T0, b=T0)
            assert len(bench.lease(capacity={EXECUTOR: 2}).leased) == 2
            assert len(bench.lease(capacity={EXECUTOR: 2}).leased) == 2

    def test_suspects_are_leased_only_if_asked_for(self) -> None:
        """They don't count as next ones either."""
        with self.bench() as bench:
            _suspects(bench, suspect=T0 - 1)
            _pending(bench, fine=T0)
            assert _ids(bench.lease(suspects=False)) == ["fine"]
            assert bench.lease(suspects=False) == ((), None, ())
            [leased] = bench.lease().leased
            assert (leased.run.suspect, leased.run.crashes, leased.run.attempt) == (True, 1, 2)

    # -- only these

    def test_only_named_runs_are_leased(self) -> None:
        """The others are left for the next call."""
        with self.bench() as bench:
            _pending(bench, a=T0 - 3, b=T0 - 2, c=T0 - 1)
            [wanted] = bench.runs("b")
            assert _ids(bench.lease(only=frozenset({wanted.id, "unknown"}))) == ["b"]
            assert not bench.lease(only=frozenset()).leased
            assert _ids(bench.lease()) == ["a", "c"]

    def test_many_named_runs_are_no_problem(self) -> None:
        """40,000 names for one run."""
        with self.bench() as bench:
            _pending(bench, a=T0, b=T0)
            [wanted] = bench.runs("b")
            names = {wanted.id, *(f"no{each}" for each in range(40_000))}
            assert _ids(bench.lease(only=frozenset(names))) == ["b"]

    # -- what can't be executed

    def test_runs_of_unreadable_tasks_are_deferred(self) -> None:
        """They stay pending and are named; the others are leased."""
        with self.bench() as bench:
            _pending(bench, bad=T0 - 1, fine=T0)
            bench.spoil("bad")
            reply = bench.lease()
            assert _ids(reply) == ["fine"]
            assert [name for name, _ in reply.deferred] == ["bad"]
            assert all(deferral.reason for _, deferral in reply.deferred)
            [run] = bench.runs("bad")
            assert (run.state, run.attempt, run.available_us) == (RunState.PENDING, 0, T0 - 1)
            without = Eligibility(ALL_EXECUTORS, without_tasks=frozenset({"bad"}))
            assert bench.lease(eligibility=without) == ((), None, ())

    def test_an_old_generations_run_is_not_executed_by_the_new(self) -> None:
        """Given back after its task was replaced, it ends."""
        with self.bench() as bench:
            [old] = bench.leased(task(generation=1))
            bench.put(task(due_us=None, generation=2), decide=lambda _, new: Edit(new))
            assert bench.finish(given_back(old)) == frozenset()
            assert bench.run(old).state is RunState.CANCELLED
            assert bench.lease() == ((), None, ())
            assert bench.active() == (0, 0)

    def test_leases_outlast_nothing_but_their_node(self) -> None:
        """Time alone gives no run to another: somebody has to declare the node dead."""
        with self.bench() as bench:
            bench.register(NODE)
            [run] = bench.leased(task())
            bench.now_us += 10 * LEASE_US
            assert not bench.lease(node=OTHER).leased
            assert bench.finish(finished(run)) == frozenset()

    def test_what_is_leased_is_told_whole(self) -> None:
        """All fields of the run come back, those of earlier attempts too."""
        with self.bench() as bench:
            [run] = bench.leased(task(due_us=T0 - 7))
            bench.finish(given_back(run, started=True, error='["first"]', reason="try again"))
            [leased] = bench.lease().leased
            expected = replace(run, attempt=2, failures=1, errors='["first"]', reason="try again")
            expected.fence = leased.run.fence
            assert leased.run == expected
            found: RunRecord = bench.run(run)
            assert found == expected
