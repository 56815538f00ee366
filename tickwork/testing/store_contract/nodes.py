"""Nodes, and what they leave behind: `beat` and `recover`."""

from collections.abc import Sequence
from dataclasses import replace

from tickwork.errors import LeaseLostError
from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import RunState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import (
    Beat,
    Edit,
    Ended,
    LeaseRequest,
    Mark,
    PlanRequest,
    RecoverReply,
    Verdict,
)
from tickwork.testing.store_contract.bench import (
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    Bench,
    decide_never,
    given_back,
    once,
    pending,
    removed,
    task,
)
from tickwork.testing.store_contract.case import StoreCase

__all__ = ["NodesContract"]

_RECORD = NodeRecord(
    id=NODE,
    host="höst.example",
    pid=4_294_967_295,
    version="1.2.3",
    started_us=T0 - 5,
    offset_us=-7,
    executors=("asyncio", "threadpool"),
    unresolved=("shop.jobs:gone",),
)


def _lost(run: RunRecord, _: object) -> Verdict:
    return Verdict(RunState.LOST, run.crashes + 1, suspect=True, reason="its node died")


def _recover_all(bench: Bench, **fields: object) -> list[RecoverReply]:
    """Recover until there is no more; return all answers."""
    replies = []
    for _ in range(100):
        replies.append(bench.recover(**fields))
        if not replies[-1].more:
            return replies
    raise AssertionError("a store that always says `more` keeps its scheduler busy for ever")


class NodesContract(StoreCase):
    """The contract of `beat` and `recover`."""

    # -- beat

    def test_the_first_beat_registers_a_node(self) -> None:
        """As it says, with the time of the beat and the end of its lease."""
        with self.bench() as bench:
            assert bench.store.beat(_RECORD, LEASE_US) == Beat(alive=True, now_us=T0)
            registered = replace(_RECORD, beat_us=T0, expires_us=T0 + LEASE_US)
            assert bench.dump().nodes == {NODE: registered}
            assert bench.store.beat(_RECORD, LEASE_US).alive
            assert bench.dump().nodes == {NODE: registered}

    def test_later_beats_renew_the_lease(self) -> None:
        """By the store's clock; what else the node says is kept too."""
        with self.bench() as bench:
            bench.register(NODE, OTHER)
            bench.now_us += MINUTE
            node = NodeRecord(id=NODE, beat_us=T0, expires_us=1, unresolved=("a:b",))
            assert bench.store.beat(node, LEASE_US) == Beat(alive=True, now_us=T0 + MINUTE)
            renewed = replace(node, beat_us=T0 + MINUTE, expires_us=T0 + MINUTE + LEASE_US)
            nodes = bench.dump().nodes
            assert nodes[NODE] == renewed
            assert nodes[OTHER].expires_us == T0 + LEASE_US

    def test_an_unknown_node_is_not_alive(self) -> None:
        """One that has beaten before and isn't there was declared dead."""
        with self.bench() as bench:
            assert not bench.store.beat(NodeRecord(id=NODE, beat_us=T0), LEASE_US).alive
            assert bench.dump().nodes == {}

    def test_dead_stays_dead(self) -> None:
        """Also while its runs are being taken over, and after."""
        with self.bench() as bench:
            bench.register(NODE)
            bench.leased(*(task(each) for each in "abc"))
            bench.now_us += LEASE_US
            node = NodeRecord(id=NODE, beat_us=T0)
            assert bench.recover(node=OTHER, limit=1).more
            assert not bench.store.beat(node, LEASE_US).alive
            _recover_all(bench, node=OTHER)
            assert not bench.store.beat(node, LEASE_US).alive
            assert bench.dump().nodes == {}

    def test_a_late_node_that_nobody_missed_lives_on(self) -> None:
        """A lease that is over is renewed, as long as the node wasn't declared dead."""
        with self.bench() as bench:
            bench.register(NODE)
            bench.now_us += 10 * LEASE_US
            assert bench.store.beat(NodeRecord(id=NODE, beat_us=T0), LEASE_US).alive
            assert bench.recover(decide_never, node=OTHER) == ((), (), False)

    def test_a_node_that_leaves_is_forgotten(self) -> None:
        """It may say so twice; others stay."""
        with self.bench() as bench:
            bench.register(NODE, OTHER)
            node = NodeRecord(id=NODE, beat_us=T0)
            assert bench.store.beat(node, LEASE_US, leaving=True) == Beat(alive=True, now_us=T0)
            assert set(bench.dump().nodes) == {OTHER}
            assert not bench.store.beat(node, LEASE_US, leaving=True).alive
            assert set(bench.dump().nodes) == {OTHER}

    def test_a_node_that_leaves_runs_behind_is_kept(self) -> None:
        """For its lease to end: then they are taken over, and it is forgotten."""
        with self.bench() as bench:
            bench.register(NODE)
            [run] = bench.leased(task())
            before = bench.dump()
            bench.store.beat(NodeRecord(id=NODE, beat_us=T0), LEASE_US, leaving=True)
            assert bench.dump() == before
            bench.now_us += LEASE_US
            assert [each.id for each in bench.recover(node=OTHER).runs] == [run.id]

    # -- recover

    def test_runs_of_living_nodes_are_left_alone(self) -> None:
        """Until the very end of their lease."""
        with self.bench() as bench:
            bench.register(NODE)
            bench.leased(task())
            before = bench.dump()
            bench.now_us += LEASE_US - 1
            assert bench.recover(decide_never, node=OTHER) == ((), (), False)
            assert bench.dump() == before
            bench.now_us += 1
            assert len(bench.recover(node=OTHER).runs) == 1

    def test_a_node_does_not_bury_itself(self) -> None:
        """Its own late lease is its next beat's business."""
        with self.bench() as bench:
            bench.register(NODE)
            bench.leased(task())
            bench.now_us += LEASE_US
            assert bench.recover(decide_never, node=NODE) == ((), (), False)

    def test_runs_of_dead_nodes_are_taken_over(self) -> None:
        """As decided for each, by its record and its task's definition; the answer says how."""
        with self.bench() as bench:
            bench.register(NODE, OTHER)
            kept, lost = bench.leased(task("kept", T0 - 3), task("lost", T0 - 2))
            [other] = bench.leased(task("other"), node=OTHER)
            bench.finish(Mark(lost.id, lost.fence, T0))
            bench.now_us += LEASE_US
            bench.store.beat(NodeRecord(id=OTHER, beat_us=T0), LEASE_US)
            seen: dict[str, tuple[RunState, object]] = {}

            def decide(run: RunRecord, its: Definition | Unreadable | None) -> Verdict:
                seen[run.task_id] = (run.state, its)
                if run.task_id == "lost":
                    return _lost(run, its)
                return Verdict(RunState.PENDING, 2, suspect=True, reason="again")

            reply = bench.recover(decide, node=OTHER)
            its = bench.task("kept").definition
            assert seen == {"kept": (RunState.PENDING, its), "lost": (RunState.RUNNING, its)}
            assert (list(reply.dead), reply.more) == ([NODE], False)
            runs = {run.task_id: run for run in reply.runs}
            assert runs == {each: bench.run(run.id) for each, run in runs.items()}
            assert runs["kept"] == replace(
                kept, node=None, available_us=T0 - 3, crashes=2, suspect=True, reason="again"
            )
            assert runs["lost"] == replace(
                lost,
                state=RunState.LOST,
                node=None,
                started_us=T0,
                finished_us=bench.now_us,
                crashes=1,
                suspect=True,
                reason="its node died",
            )
            assert bench.run(other) == other
            assert (bench.active("kept"), bench.active("lost")) == ((1, 0), (0, 0))
            assert set(bench.dump().nodes) == {OTHER}

    def test_a_second_caller_finds_nothing(self) -> None:
        """Neither runs nor nodes."""
        with self.bench() as bench:
            bench.register(NODE)
            bench.leased(task("a"), task("b"))
            bench.now_us += LEASE_US
            assert len(bench.recover(node=OTHER).runs) == 2
            before = bench.dump()
            assert bench.recover(decide_never, node=OTHER) == ((), (), False)
            assert bench.recover(decide_never, node="third") == ((), (), False)
            assert bench.dump() == before

    def test_recovery_goes_in_pieces(self) -> None:
        """Up to the limit each; a node is forgotten when all its runs are taken over."""
        with self.bench() as bench:
            bench.register(NODE, "node-0")
            bench.leased(*(task(f"a{each}") for each in range(5)))
            bench.leased(*(task(f"b{each}") for each in range(2)), node="node-0")
            bench.now_us += LEASE_US
            first = bench.recover(node=OTHER, limit=2)
            assert (len(first.runs), first.more) == (2, True)
            rest = _recover_all(bench, node=OTHER, limit=2)
            assert all(len(each.runs) <= 2 for each in rest)
            taken = [run.id for reply in (first, *rest) for run in reply.runs]
            assert sorted(taken) == [run.id for run in bench.runs()]
            assert {each for reply in (first, *rest) for each in reply.dead} == {NODE, "node-0"}
            assert bench.dump().nodes == {}
            assert {run.node for run in bench.runs()} == {None}

    def test_who_is_not_registered_gets_nothing(self) -> None:
        """Neither before the first beat, nor once declared dead; nothing happens then."""
        with self.bench() as bench:
            bench.put(task("due"), task("manual", None))
            bench.edit(lambda record: Edit(record, [pending(None)]), "manual")
            plan, lease = bench.plan_request(once), bench.lease_request()
            stranger = replace(plan, node="stranger"), replace(lease, node="stranger")
            self._gets_nothing(bench, *stranger)
            bench.register("dead")
            bench.leased(task("a", T0 - 1), task("b", T0 - 1), node="dead", limit=2)
            bench.now_us += LEASE_US
            dead = replace(plan, node="dead"), replace(lease, node="dead")
            assert bench.recover(node=OTHER, limit=1).more
            self._gets_nothing(bench, *dead)
            _recover_all(bench, node=OTHER)
            self._gets_nothing(bench, *dead)

    @staticmethod
    def _gets_nothing(bench: Bench, plan: PlanRequest, lease: LeaseRequest) -> None:
        before = bench.dump()
        for step in (lambda: bench.store.plan(plan), lambda: bench.store.lease(lease)):
            try:
                step()
            except LeaseLostError:
                assert bench.dump() == before
            else:
                raise AssertionError(f"node {plan.node!r} got work without being registered")

    def test_a_lost_run_lets_its_task_go_on(self) -> None:
        """Queued runs become available, and `after_run` is asked, with the time of the step."""
        with self.bench() as bench:
            bench.register(NODE)
            _, [waiting] = bench.leased_with_queue(T0, T0 + 1)
            bench.now_us += LEASE_US
            seen: list[tuple[str, int, list[Ended]]] = []

            def after_run(record: TaskRecord, ended: Sequence[Ended]) -> None:
                seen.append((record.id, record.active, list(ended)))
                record.problem = "asked"

            bench.recover(_lost, after_run, node=OTHER)
            assert seen == [("task", 1, [Ended(RunState.LOST, bench.now_us)])]
            assert bench.task().problem == "asked"
            assert bench.active() == (1, 0)
            assert bench.run(waiting).available_us == T0 + 1

    def test_runs_of_vanished_tasks_are_decided_too(self) -> None:
        """Without a definition where the task is gone or another one now."""
        with self.bench() as bench:
            bench.register(NODE)
            bench.leased(*(task(each) for each in ("gone", "new", "bad")))
            bench.edit(removed(), "gone")
            bench.put(task("new", generation=2), decide=lambda _, new: Edit(new))
            bench.spoil("bad")
            bench.now_us += LEASE_US
            seen: dict[str, object] = {}

            def decide(run: RunRecord, its: Definition | Unreadable | None) -> Verdict:
                seen[run.task_id] = its if its is None else type(its)
                return _lost(run, its)

            assert len(bench.recover(decide, decide_never, node=OTHER).runs) == 3
            assert seen == {"gone": None, "new": None, "bad": Unreadable}
            assert [bench.active(each) for each in ("new", "bad")] == [(0, 0)] * 2

    def test_a_raising_decision_recovers_nothing(self) -> None:
        """Not even the node is dead then."""
        with self.bench() as bench:
            bench.register(NODE)
            bench.leased(task("a"), task("b"))
            bench.now_us += LEASE_US
            before = bench.dump()

            def decide(run: RunRecord, its: object) -> Verdict:
                return decide_never() if run.task_id == "b" else _lost(run, its)

            for decisions in ((decide,), (_lost, decide_never)):
                try:
                    bench.recover(*decisions, node=OTHER)
                except AssertionError:
                    assert bench.dump() == before
                else:
                    raise AssertionError("what a decision raises must come out of the store")
            assert bench.store.beat(NodeRecord(id=NODE, beat_us=T0), LEASE_US).alive

    # -- own runs that were never received

    def test_strays_go_back_as_if_never_leased(self) -> None:
        """Those of the node that it doesn't hold; the others stay."""
        with self.bench() as bench:
            bench.register(NODE, OTHER)
            held, stray, marked = bench.leased(*(task(each, T0 - 5) for each in "abc"))
            [others] = bench.leased(task("d"), node=OTHER)
            bench.finish(Mark(marked.id, marked.fence, T0))
            reply = bench.recover(decide_never, held=frozenset({held.id}))
            assert {run.id for run in reply.runs} == {stray.id, marked.id}
            assert (list(reply.dead), reply.more) == ([], False)
            for run in (stray, marked):
                expected = replace(run, node=None, attempt=0, available_us=T0 - 5)
                assert bench.run(run) == expected
            assert (bench.run(held), bench.run(others)) == (held, others)
            again = bench.lease().leased
            assert [each.run.attempt for each in again] == [1, 1]

    def test_holding_everything_is_no_stray(self) -> None:
        """And without `held`, own runs are left alone."""
        with self.bench() as bench:
            bench.register(NODE)
            runs = bench.leased(task("a"), task("b"))
            before = bench.dump()
            held = frozenset(run.id for run in runs)
            assert bench.recover(decide_never, held=held) == ((), (), False)
            assert bench.recover(decide_never) == ((), (), False)
            assert bench.dump() == before

    def test_strays_of_a_removed_task_end(self) -> None:
        """Nothing could execute them any more."""
        with self.bench() as bench:
            bench.register(NODE)
            [run] = bench.leased(task())
            bench.edit(removed())
            [stray] = bench.recover(decide_never, held=frozenset()).runs
            assert bench.run(run) == stray
            assert (stray.state, stray.finished_us) == (RunState.CANCELLED, T0)
            assert bench.lease() == ((), None, ())

    def test_taken_over_retries_keep_their_history(self) -> None:
        """Failures and errors of earlier attempts stay with the run."""
        with self.bench() as bench:
            bench.register(NODE)
            [run] = bench.leased(task())
            bench.finish(given_back(run, started=True, error="[1]"))
            bench.lease()
            bench.now_us += LEASE_US
            [taken] = bench.recover(node=OTHER).runs
            assert (taken.attempt, taken.failures, taken.errors) == (2, 1, "[1]")

    def test_runs_without_slot_are_taken_over(self) -> None:
        """Manual ones as well."""
        with self.bench() as bench:
            bench.register(NODE)
            bench.put(task(due_us=None))
            bench.edit(lambda record: Edit(record, [pending(None, T0 - 1)]))
            bench.lease()
            bench.now_us += LEASE_US
            [taken] = bench.recover(node=OTHER).runs
            assert (taken.fire_us, taken.available_us) == (None, T0 - 1)
