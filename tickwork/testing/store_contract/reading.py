"""Looking at what is stored, and forgetting it: the `Reader`, and `prune`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tickwork.errors import InvalidInputError
from tickwork.interfaces import Reader
from tickwork.model.definition import Unreadable
from tickwork.model.policies import RunState, ScheduleState, Source
from tickwork.model.steps import Edit, PlannedRun, PruneRequest, RunQuery, TaskQuery
from tickwork.testing.store_contract.bench import (
    MINUTE,
    NODE,
    T0,
    Bench,
    decide_never,
    finished,
    pending,
    queued,
    raised,
    runs_now,
    task,
)
from tickwork.testing.store_contract.case import StoreCase
from tickwork.triggers import DateTrigger

__all__ = ["PruningContract", "ReadingContract"]

_ORDER = ["id", "name", "next_run_time", "created_at"]


def _tasks(bench: Bench, **query: Any) -> list[str]:
    return [each.id for each in bench.reader.find_tasks(TaskQuery(**query))]


def _prune(bench: Bench, before_us: int = 0, limit: int = 1_000, **histories: int) -> int:
    return bench.store.prune(PruneRequest(histories, before_us, limit))


class ReadingContract(StoreCase):
    """The contract of `Reader`."""

    def test_the_store_is_a_reader(self) -> None:
        """All its methods are there."""
        assert isinstance(self.make_store(), Reader)

    def test_an_empty_store_shows_nothing(self) -> None:
        """Neither tasks, runs, nodes nor counts."""
        with self.bench() as bench:
            assert bench.dump() == ({}, {}, {})
            assert (bench.reader.get_task("x"), bench.reader.get_run("x")) == (None, None)
            assert dict(bench.reader.counts()) == dict.fromkeys(
                (str(state) for state in ScheduleState), 0
            )

    def test_tasks_are_filtered(self) -> None:
        """All conditions must hold."""
        with self.bench() as bench:
            once = DateTrigger("2026-12-24 18:00", timezone="UTC")
            bench.put(
                task("a", executor="asyncio", tags=("red", "green"), name="Night report"),
                task("b", state=ScheduleState.PAUSED, tags=("red",), trigger=once),
                task("c", function="shop.jobs:other", tags=("Red", "dark red")),
                task("d", name="100% night_ly", tags=("",)),
            )
            cases: list[tuple[dict[str, Any], str]] = [
                ({}, "abcd"),
                ({"state": ScheduleState.PAUSED}, "b"),
                ({"executor": "asyncio"}, "a"),
                ({"function": "shop.jobs:other"}, "c"),
                ({"trigger": "interval"}, "acd"),
                ({"trigger": "date"}, "b"),
                ({"trigger": "shutdown"}, ""),
                ({"tag": "red"}, "ab"),
                ({"tag": "Red"}, "c"),
                ({"tag": "re"}, ""),
                ({"tag": ""}, "d"),
                ({"search": "NIGHT"}, "ad"),
                ({"search": "0%"}, "d"),
                ({"search": "t_r"}, ""),
                ({"search": "_"}, "d"),
                ({"search": "c"}, "bc"),
                ({"tag": "red", "executor": "asyncio", "search": "rep"}, "a"),
                ({"tag": "red", "state": ScheduleState.FINISHED}, ""),
            ]
            for query, expected in cases:
                assert "".join(_tasks(bench, **query)) == expected, query

    def test_tags_are_compared_whole(self) -> None:
        """Whatever is in them: quotes, commas, backslashes, percent signs."""
        odd = ['"', '","', "\\", 'a"', '"a', 'q"x\\', "x\\", "%", "_", "ä", "Ä", "[", "a, b"]
        with self.bench() as bench:
            bench.put(*(task(f"{number:02}", tags=(tag,)) for number, tag in enumerate(odd)))
            bench.put(task("all", tags=tuple(odd)))
            for number, tag in enumerate(odd):
                assert _tasks(bench, tag=tag) == [f"{number:02}", "all"], tag
            assert not _tasks(bench, tag='a, b"')

    def test_declared_tasks_are_found_by_their_module(self) -> None:
        """Only those that were declared by decorators, in exactly this module."""
        with self.bench() as bench:
            bench.put(
                task("a", function="shop.jobs:one", decorated=True),
                task("b", function="shop.jobs:two", decorated=True),
                task("c", function="shop.jobs:three"),
                task("d", function="shop.jobs.more:four", decorated=True),
            )
            assert _tasks(bench, declared_in="shop.jobs") == ["a", "b"]
            assert _tasks(bench, declared_in="shop.jobs.more") == ["d"]
            assert not _tasks(bench, declared_in="shop")

    def test_tasks_are_sorted(self) -> None:
        """Both ways; equal ones by id; those without the value always last."""
        with self.bench() as bench:
            bench.put(
                task("a", T0 + 2, name="x", created_us=T0 + 3),
                task("b", None, name="x", created_us=T0 + 1),
                task("c", T0 + 1, name="w", created_us=T0 + 2),
                task("d", None, name="y", created_us=T0 + 1),
                task("e", T0 + 2, name="v", created_us=T0 - 1),
            )
            expected = ["abcde", "ecabd", "caebd", "ebdca"]
            descending = ["edcba", "dabce", "aecbd", "acbde"]
            for sort, up, down in zip(_ORDER, expected, descending, strict=True):
                assert "".join(_tasks(bench, sort=sort)) == up, sort
                assert "".join(_tasks(bench, sort=f"-{sort}")) == down, sort

    def test_unknown_orders_are_refused(self) -> None:
        """As wrong input, with what there is."""
        with self.bench() as bench:
            bench.put(task())
            for word in ("due_us", "--id", "", "id; drop table"):
                query = TaskQuery(sort=word)
                message = raised(InvalidInputError, partial(bench.reader.find_tasks, query))
                assert all(each in message for each in _ORDER)

    def test_pages_put_together_are_the_whole(self) -> None:
        """In every order, also among equal values; past the end there is nothing."""
        with self.bench() as bench:
            bench.put(*(task(f"t{each}", (T0, None)[each % 2], name="x") for each in range(9)))
            for sort in [*_ORDER, *(f"-{each}" for each in _ORDER)]:
                whole = _tasks(bench, sort=sort)
                pages = [_tasks(bench, sort=sort, limit=2, offset=at) for at in range(0, 9, 2)]
                assert [each for page in pages for each in page] == whole
                assert len(set(whole)) == 9
            assert _tasks(bench, offset=9) == []

    def test_runs_are_filtered_newest_first(self) -> None:
        """All conditions must hold; instants are those of their creation."""
        with self.bench() as bench:
            bench.put(task("a"), task("b", None))
            bench.plan()
            bench.now_us += MINUTE
            manual = pending(None, source=Source.MANUAL)
            skipped = PlannedRun(RunState.SKIPPED, T0 + 1, T0 + 1)
            bench.edit(runs_now(manual, skipped), "b")
            first, second, third = bench.runs()

            def found(**query: Any) -> list[str]:
                return [run.id for run in bench.reader.find_runs(RunQuery(**query))]

            assert found() == [third.id, second.id, first.id]
            assert found(task_id="b") == [third.id, second.id]
            assert found(task_id="c") == []
            assert found(states=frozenset({RunState.SKIPPED})) == [third.id]
            assert found(states=frozenset({RunState.SKIPPED, RunState.PENDING})) == found()
            assert found(states=frozenset()) == []
            assert found(source=Source.MANUAL) == [second.id]
            assert found(since_us=T0 + MINUTE) == [third.id, second.id]
            assert found(since_us=T0 + MINUTE + 1) == []
            assert found(until_us=T0 + MINUTE - 1) == [first.id]
            assert found(until_us=T0, since_us=T0) == [first.id]
            assert found(task_id="b", source=Source.SCHEDULED) == [third.id]
            assert [found(limit=1, offset=at)[:1] for at in range(4)] == [
                [third.id],
                [second.id],
                [first.id],
                [],
            ]

    def test_counts_are_those_of_tasks_by_state(self) -> None:
        """All states are named."""
        with self.bench() as bench:
            bench.put(task("a"), task("b"), task("c", state=ScheduleState.PAUSED))
            bench.plan(limit=1)
            counts = dict(bench.reader.counts())
            assert counts == {"pending": 0, "scheduled": 1, "paused": 1, "finished": 1}

    def test_unreadable_definitions_are_shown_and_kept(self) -> None:
        """They stand between the others; neither planning nor counting nor pruning touches them."""
        with self.bench() as bench:
            bench.put(task("a"), task("b", name="ä'%s"), task("c"))
            bench.spoil("b")
            shown = bench.task("b").definition
            assert isinstance(shown, Unreadable)
            assert bench.codec.refused == {shown.text}
            assert shown.reason
            for sort in _ORDER:
                assert sorted(_tasks(bench, sort=sort)) == ["a", "b", "c"]
            assert _tasks(bench, search="b") == ["b"]
            before = bench.task("b")
            assert sorted(each.run.task_id for each in bench.plan().leased) == ["a", "c"]
            assert bench.task("b") == before
            _prune(bench, T0 + MINUTE)
            assert bench.task("b") == before
            bench.edit(lambda record: Edit(replace(record, problem="seen")), "b")
            changed = bench.task("b")
            assert (changed.definition, changed.problem) == (shown, "seen")
            bench.edit(lambda _: Edit(None), "b")
            assert bench.reader.get_task("b") is None

    def test_reading_changes_nothing(self) -> None:
        """Not even where there is much to be done."""
        with self.bench() as bench:
            bench.register(NODE, lease_us=1)
            bench.put(task("bad"))
            bench.spoil("bad")
            bench.leased_with_queue(T0, T0 + 1)
            bench.put(task("due"), task("late", T0 - MINUTE))
            bench.now_us += 10 * MINUTE
            before = bench.dump()
            calls: Sequence[Callable[[], object]] = (
                bench.dump,
                bench.reader.counts,
                bench.reader.nodes,
                lambda: bench.reader.get_task("bad"),
                lambda: [bench.reader.get_run(each) for each in before.runs],
                lambda: _tasks(bench, search="d", sort="-name"),
                lambda: bench.reader.find_runs(RunQuery(task_id="task", limit=1)),
            )
            for call in calls:
                first, again = call(), call()
                assert first == again
            assert bench.dump() == before


class PruningContract(StoreCase):
    """The contract of `prune`."""

    def test_nothing_to_forget(self) -> None:
        """Nothing goes of an empty store, nor of histories of unknown tasks."""
        with self.bench() as bench:
            assert _prune(bench, T0, unknown=0) == 0

    def test_only_the_newest_of_a_history_stay(self) -> None:
        """As many as it says, of this task only."""
        with self.bench() as bench:
            self._history(bench, "a", 5)
            self._history(bench, "b", 3)
            kept = [run.id for run in bench.runs("a")[3:]]
            assert _prune(bench, a=2) == 3
            assert [run.id for run in bench.runs("a")] == kept
            assert len(bench.runs("b")) == 3
            assert _prune(bench, a=2, b=3) == 0
            assert _prune(bench, a=0, b=1) == 4

    def test_runs_that_are_not_over_are_kept(self) -> None:
        """They are no part of a history, however old they are."""
        with self.bench() as bench:
            self._history(bench, "a", 2)
            bench.edit(runs_now(pending(None), queued(T0 + MINUTE), pending(None)), "a")
            bench.lease()
            self._history(bench, "a", 1, start=T0 + 10)
            assert _prune(bench, T0 + 100 * MINUTE, a=0) == 3
            assert [run.state for run in bench.runs()] == [RunState.PENDING] * 3
            assert bench.active("a") == (3, 1)

    def test_old_runs_go_whatever_their_number(self) -> None:
        """By the instant at which they ended."""
        with self.bench() as bench:
            old, late = bench.leased(task("a"), task("b"))
            bench.finish(finished(old, finished_us=T0 + 5), finished(late, finished_us=T0 + 6))
            assert _prune(bench, T0 + 5) == 0
            assert _prune(bench, T0 + 6) == 1
            assert [run.task_id for run in bench.runs()] == ["b"]

    def test_finished_tasks_go_once_their_runs_are_gone(self) -> None:
        """Disposable ones, if they ended before the time; others stay."""
        with self.bench() as bench:
            over = ScheduleState.FINISHED
            bench.put(
                task("old", None, state=over, disposable=True),
                task("kept", None, state=over),
                task("new", None, state=over, updated_us=T0 + 1, disposable=True),
                task("paused", None, state=ScheduleState.PAUSED, disposable=True),
                task("with_runs", disposable=True),
                task("active", None, state=over, disposable=True),
            )
            stay = {"kept", "new", "paused", "active"}
            [leased] = bench.plan().leased
            bench.now_us += MINUTE
            bench.edit(runs_now(pending(None)), "active")
            assert _prune(bench, T0 + 1) == 1
            assert set(bench.dump().tasks) == {*stay, "with_runs"}
            bench.finish(finished(leased.run, finished_us=T0))
            gone = [_prune(bench, T0 + 1) for _ in range(3)]
            assert (sum(gone), gone[-1]) == (2, 0)
            assert set(bench.dump().tasks) == stay

    def test_pruning_goes_in_pieces(self) -> None:
        """No more runs than the limit go at once, the oldest first; in the end all have gone."""
        with self.bench() as bench:
            self._history(bench, "a", 7)
            assert _prune(bench, T0 + MINUTE, limit=3, a=0) == 3
            assert [run.fire_us for run in bench.runs()] == [T0 + each for each in range(3, 7)]
            assert [_prune(bench, T0 + MINUTE, limit=3, a=0) for _ in range(3)] == [3, 1, 0]

    def test_a_pruned_slot_is_not_planned_again(self) -> None:
        """The task stands beyond it."""
        with self.bench() as bench:
            [run] = bench.leased(task())
            bench.finish(finished(run))
            assert _prune(bench, task=0) == 1
            assert bench.plan(decide_never) == ((), (), (), None, False)
            assert bench.finish(finished(run)) == {run.id}

    @staticmethod
    def _history(bench: Bench, task_id: str, length: int, start: int = T0) -> None:
        """Give a task some more runs that are over."""
        skipped = [
            PlannedRun(RunState.SKIPPED, start + each, start + each) for each in range(length)
        ]
        if bench.reader.get_task(task_id) is None:
            bench.put(task(task_id, None))
        bench.edit(runs_now(*skipped), task_id)
