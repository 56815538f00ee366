"""Random commands to a store and, beside it, to the memory store: both must show the same.

Ids of runs and numbers of fences are a store's own business; they are compared by their order.
Nothing is ever due or available at the same instant as something else, since then either may come
first.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from tickwork.model.policies import TERMINAL, RunState, ScheduleState
from tickwork.model.records import NodeRecord, RunRecord, TaskRecord
from tickwork.model.steps import (
    Deferral,
    Edit,
    Ended,
    Finished,
    GivenBack,
    Mark,
    Note,
    Plan,
    PlannedRun,
    PruneRequest,
    Verdict,
)
from tickwork.testing.store_contract.bench import EXECUTOR, LEASE_US, T0, Bench, pending, task

__all__ = ["ENDS", "NAMES", "NODES", "Pair"]

NAMES = ("a", "b", "c")
_STEP_US = 1_000
NODES = ("node-1", "node-2")
ENDS = sorted(TERMINAL - {RunState.MISSED, RunState.SKIPPED})

Entry = Mark | GivenBack | Finished | Note


def _decision(kind: str) -> Callable[[TaskRecord], Plan | Deferral]:
    def decide(record: TaskRecord) -> Plan | Deferral:
        first_us = record.fire_us or 0
        fires = [first_us + _STEP_US * each for each in range(4)]
        goes_on = ScheduleState.SCHEDULED
        if kind == "defer":
            return Deferral("not now")
        if kind == "skip":
            skipped = PlannedRun(RunState.SKIPPED, first_us, first_us, reason="skipped")
            return Plan([skipped], goes_on, fires[1], fires[1], first_us)
        if kind == "many":
            runs = [pending(fires[0]), *(pending(each, queued=True) for each in fires[1:3])]
            return Plan(runs, goes_on, fires[3], fires[3], fires[2], fires[2])
        if kind == "last":
            return Plan([pending(first_us)], ScheduleState.FINISHED, None, None, first_us)
        return Plan([pending(first_us)], goes_on, fires[1], fires[1], first_us)

    return decide


def _noted(record: TaskRecord, ended: Sequence[Ended]) -> None:
    ends = ", ".join(f"{state} at {finished_us}" for state, finished_us in sorted(ended))
    record.problem = f"{record.active} active; {ends}"
    record.streak += len(ended)


class Pair:
    """Two benches to which the same is said."""

    def __init__(self, one: Bench, other: Bench) -> None:
        self.benches = one, other
        self._instant = count(T0)
        self._earlier = count()
        self._generation = count(1)
        self.alive: set[str] = set()
        self.leased: list[tuple[RunRecord, ...]] = []

    def both(self, say: Callable[[Bench], Any]) -> Any:
        """Say the same to both, and return the one answer that both must give."""
        one, other = (say(bench) for bench in self.benches)
        assert one == other
        return one

    def check(self) -> None:
        """Compare all that both show."""
        self.both(_shown)

    def pass_time(self, by_us: int) -> None:
        """Set both clocks on."""
        for bench in self.benches:
            bench.now_us += by_us

    def put(self, name: str, *, again: bool, paused: bool, max_instances: int) -> None:
        """Add a task, or put another one in its place, or its definition into the one there."""
        due_us = self.benches[0].now_us + 100 * NAMES.index(name)
        keyed = {"concurrency_key": "shared", "concurrency_limit": 2} if name == "c" else {}
        new = task(
            name,
            None if paused else due_us,
            generation=next(self._generation),
            state=ScheduleState.PAUSED if paused else ScheduleState.SCHEDULED,
            max_instances=max_instances,
            disposable=True,
            **keyed,
        )

        def decide(existing: TaskRecord, added: TaskRecord) -> Edit:
            if again:
                return Edit(added)
            return Edit(replace(existing, definition=added.definition))

        self.both(lambda bench: [_plain(each.task) for each in bench.put(new, decide=decide)])

    def edit(self, names: Sequence[str], kind: str) -> None:
        """Change tasks; a name may be there twice."""
        instants = [next(self._instant) for _ in names]

        def say(bench: Bench) -> Any:
            left = iter(instants)

            def decide(record: TaskRecord) -> Edit:
                if kind == "run":
                    return Edit(record, [pending(None, next(left))])
                if kind == "remove":
                    return Edit(None)
                if kind == "cancel":
                    return Edit(record, cancel_pending="cancelled")
                paused = replace(record, state=ScheduleState.PAUSED, due_us=None)
                return Edit(paused, unchanged=kind == "unchanged")

            edited = bench.edit(decide, *names)
            return [(_plain(each.task), len(each.runs)) for each in edited]

        self.both(say)

    def beat(self, node: str, *, leaving: bool) -> None:
        """Register a node, renew its lease, or let it go."""
        known = node in self.alive
        record = NodeRecord(id=node, beat_us=T0 if known else 0)
        answer = self.both(lambda bench: bench.store.beat(record, LEASE_US, leaving=leaving))
        if answer.alive and not leaving:
            self.alive.add(node)
        else:
            self.alive.discard(node)

    def plan(self, node: str, kind: str, limit: int, room: int) -> None:
        """Plan, and remember what was leased."""
        self._lease_from(
            lambda bench: bench.plan(
                _decision(kind), node=node, limit=limit, capacity={EXECUTOR: room}
            )
        )

    def lease(self, node: str, room: int, *, suspects: bool) -> None:
        """Lease, and remember what was leased."""
        self._lease_from(
            lambda bench: bench.lease(node=node, capacity={EXECUTOR: room}, suspects=suspects)
        )

    def _lease_from(self, say: Callable[[Bench], Any]) -> None:
        answers = []
        for bench in self.benches:
            bench._registered |= self.alive  # noqa: SLF001  both belong to this package
            answers.append([replace(each.run) for each in say(bench).leased])
        one, other = answers
        assert [_anonymous(run) for run in one] == [_anonymous(run) for run in other]
        self.leased += zip(one, other, strict=True)

    def submit(self, key: str | None, rank: int, after_us: int) -> None:
        """Submit a run, with a key or without."""
        # No two at the same instant: nobody says which of them comes first.
        at_us = self.benches[0].now_us + after_us - next(self._earlier)

        def say(bench: Bench) -> Any:
            run = bench.submit(
                concurrency_key=key, task_id="a", rank=rank, available_us=at_us, due_us=at_us
            )
            return _anonymous(run)

        self.both(say)

    def cancel(self, places: Sequence[int]) -> None:
        """Cancel runs, the newest of which has place 0."""

        def say(bench: Bench) -> Any:
            runs = bench.runs()[::-1]
            named = [runs[place % len(runs)] for place in places] if runs else []
            return [_anonymous(run) for run in bench.cancel(*named, after_run=_noted) if run]

        self.both(say)

    def asked(self, node: str) -> None:
        """Ask which runs of a node were asked to end."""
        self.both(lambda bench: len(bench.demand.asked(node)))

    def finish(self, choices: Sequence[tuple[int, str]]) -> None:
        """Say what happened to runs that were leased at some time, whoever has them now."""
        at_us = next(self._instant)
        named = {number % len(self.leased): kind for number, kind in choices}

        def say(bench: Bench) -> Any:
            side = self.benches.index(bench)
            entries = [
                _entry(self.leased[number][side], kind, at_us + place)
                for place, (number, kind) in enumerate(named.items())
            ]
            rejected = bench.finish(*entries, after_run=_noted)
            return [entry.run_id in rejected for entry in entries]

        self.both(say)
        for _ in named:
            next(self._instant)

    def recover(self, node: str, verdict: Verdict, *, held: bool | None) -> None:
        """Take over what dead nodes hold; where told, the node holds all of its runs or none."""

        def say(bench: Bench) -> Any:
            mine = frozenset(run.id for run in bench.runs() if run.node == node)
            reply = bench.recover(
                lambda run, _: verdict._replace(crashes=run.crashes + 1),
                _noted,
                node=node,
                held=None if held is None else mine if held else frozenset(),
            )
            self.alive -= set(reply.dead)
            return sorted(reply.dead), sorted(map(repr, map(_anonymous, reply.runs))), reply.more

        self.both(say)

    def prune(self, kept: int, before_us: int) -> None:
        """Forget all but some runs of each task, and old ones."""
        request = PruneRequest(dict.fromkeys(NAMES, kept), before_us, now_us=before_us)
        self.both(lambda bench: bench.store.prune(request))


def _entry(run: RunRecord, kind: str, at_us: int) -> Entry:
    if kind == "note":
        return Note(run.id, run.fence, progress=f"{at_us}")
    if kind == "mark":
        return Mark(run.id, run.fence, at_us)
    if kind == "return":
        return GivenBack(run.id, run.fence, at_us)
    if kind == "retry":
        return GivenBack(run.id, run.fence, at_us, started=True, error="[]", reason="retry")
    fence = run.fence + 1_000_000 if kind == "stale" else run.fence
    if kind == "linger":
        return Finished(
            run.id, run.task_id, run.generation, fence, RunState.TIMEOUT, at_us, at_us,
            errors='["late"]', lingers=True, expires_us=at_us,
        )  # fmt: skip
    state = RunState.COMPLETED if kind in {"stale", "follow"} else RunState(kind)
    errors = None if state is RunState.COMPLETED else '["no"]'
    return Finished(
        run.id, run.task_id, run.generation, fence, state, at_us, at_us,
        errors=errors, follows=kind == "follow",
    )  # fmt: skip


def _plain(record: TaskRecord | None) -> TaskRecord | None:
    # How often a record changed is a store's own business: it has to grow, no more.
    return None if record is None else replace(record, revision=0)


def _anonymous(run: RunRecord) -> RunRecord:
    return replace(run, id="", fence=min(run.fence, 1))


def _shown(bench: Bench) -> Any:
    tasks, runs, nodes = bench.dump()
    for name in tasks:
        bench.active(name)
    # The oldest first: in both stores the same run has the same place.
    return (
        {name: _plain(record) for name, record in tasks.items()},
        [_anonymous(runs[each]) for each in sorted(runs)],
        nodes,
        dict(bench.reader.counts()),
    )
