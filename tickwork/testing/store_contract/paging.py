"""Going from page to page by where the last one ended, counting, and who is late or fails."""

from collections.abc import Callable, Iterator
from typing import Any

from tickwork.errors import InvalidInputError
from tickwork.model.policies import RunState, ScheduleState, Source
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import PlannedRun, RunQuery, TaskQuery
from tickwork.testing.store_contract.bench import (
    MINUTE,
    T0,
    Bench,
    finished,
    pending,
    raised,
    removed,
    runs_now,
    task,
)
from tickwork.testing.store_contract.case import StoreCase

__all__ = ["PagingContract"]

_SORTS: dict[str, Callable[[TaskRecord], Any]] = {
    "id": lambda record: record.id,
    "name": lambda record: getattr(record.definition, "name", ""),
    "next_run_time": lambda record: record.due_us,
    "created_at": lambda record: record.created_us,
}
_BOTH_WAYS = [*_SORTS, *(f"-{each}" for each in _SORTS)]
_MANY = 200
_NAMES = ["a", "B", "ä", "日本", ""]


def _many(name: str, count: int) -> list[TaskRecord]:
    """Return tasks many of which have the same values, and a third no time at which to be due."""
    return [
        task(
            f"{name}{number:03}",
            T0 + number * 7 % 11 if number % 3 else None,
            name=_NAMES[number % len(_NAMES)],
            created_us=T0 + number * 5 % 13,
        )
        for number in range(count)
    ]


def _pages(bench: Bench, query: TaskQuery) -> Iterator[list[str]]:
    """Yield the ids of the tasks of page after page, the next one being read when it is needed."""
    key = _SORTS[query.sort.removeprefix("-")]
    after: tuple[str | int | None, str] | None = None
    while True:
        page = bench.reader.find_tasks(_with(query, after=after))
        yield [each.id for each in page]
        if not page:
            return
        after = key(page[-1]), page[-1].id


def _pages_of_runs(bench: Bench, **query: Any) -> Iterator[list[RunRecord]]:
    before: tuple[int, str] | None = None
    while True:
        page = bench.reader.find_runs(RunQuery(before=before, **query))
        yield page
        if not page:
            return
        before = page[-1].created_us, page[-1].id


def _with(query: TaskQuery, **fields: Any) -> TaskQuery:
    known = {name: getattr(query, name) for name in TaskQuery.__dataclass_fields__}
    return TaskQuery(**{**known, **fields})


def _late(bench: Bench, **query: Any) -> str:
    return "".join(each.id for each in bench.reader.find_tasks(TaskQuery(**query)))


class PagingContract(StoreCase):
    """The contract of `Reader`, as far as it concerns what is too much for one page."""

    def test_each_task_is_on_one_page(self) -> None:
        """In every order, while others are added and removed between two pages."""
        with self.bench() as bench:
            bench.put(*_many("t", _MANY))
            for round_, sort in enumerate(_BOTH_WAYS):
                query = TaskQuery(sort=sort, limit=23)
                stay = [each.id for each in bench.reader.find_tasks(_with(query, limit=_MANY))]
                assert len(set(stay)) == _MANY
                met: list[str] = []
                for number, page in enumerate(_pages(bench, query)):
                    assert len(page) <= query.limit
                    met += page
                    if number % 4 == 1:
                        self._come_and_go(bench, f"{round_}-{number}-")
                assert [each for each in met if each in stay] == stay, sort
                assert len(met) == len(set(met))
                self._leave(bench)

    @staticmethod
    def _come_and_go(bench: Bench, name: str) -> None:
        """Add tasks all over the order, and remove some that were added before."""
        others = _others(bench)
        bench.put(*(each for start in "asz" for each in _many(f"{start}-{name}", 3)))
        if others:
            bench.edit(removed(), *others[::2])

    @staticmethod
    def _leave(bench: Bench) -> None:
        others = _others(bench)
        if others:
            bench.edit(removed(), *others)

    def test_pages_go_on_after_a_task_that_is_gone(self) -> None:
        """Where it stood is enough; and within a page an offset still counts."""
        with self.bench() as bench:
            bench.put(*(task(each, None if each in "be" else T0, name="x") for each in "abcdef"))
            bench.edit(removed(), "c", "e")
            for sort, after, expected in (
                ("id", ("c", "c"), "df"),
                ("-id", ("c", "c"), "ba"),
                ("name", ("x", "c"), "df"),
                ("-name", ("x", "c"), "df"),
                ("name", ("w", "z"), "abdf"),
                ("-name", ("w", "a"), ""),
                ("created_at", (T0, "c"), "df"),
                ("next_run_time", (T0, "c"), "dfb"),
                ("-next_run_time", (T0, "c"), "dfb"),
                ("next_run_time", (T0 + 1, "a"), "b"),
                ("-next_run_time", (T0 + 1, "z"), "adfb"),
                ("next_run_time", (None, "a"), "b"),
                ("-next_run_time", (None, "b"), ""),
            ):
                assert _late(bench, sort=sort, after=after) == expected, (sort, after)
                for offset in range(6):
                    found = _late(bench, sort=sort, after=after, offset=offset, limit=2)
                    assert found == expected[offset : offset + 2], (sort, after, offset)

    def test_each_run_is_on_one_page(self) -> None:
        """While others are made; of all tasks, and of one."""
        with self.bench() as bench:
            bench.put(task("a", None), task("b", None))
            for number in range(50):
                skipped = PlannedRun(RunState.SKIPPED, T0 + number, T0 + number)
                bench.edit(runs_now(skipped, pending(None, source=Source.MANUAL)), "a", "b")
                bench.now_us += MINUTE // 7
            for query in ({}, {"task_id": "b"}, {"states": frozenset({RunState.SKIPPED})}):
                there = [run.id for run in bench.reader.find_runs(RunQuery(**query, limit=1_000))]
                assert there == sorted(there, reverse=True)
                met: list[str] = []
                for page in _pages_of_runs(bench, **query, limit=17):
                    met += [run.id for run in page]
                    bench.edit(runs_now(pending(None)), "a", "b")
                assert met == there

    def test_pages_go_on_after_a_run_that_is_gone(self) -> None:
        """Where it stood is enough; and within a page an offset still counts."""
        with self.bench() as bench:
            bench.put(task("a", None))
            bench.edit(runs_now(*(PlannedRun(RunState.SKIPPED, T0 + n, T0) for n in range(9))), "a")
            runs = bench.runs()[::-1]
            edge = runs[4].id
            for before, first in ((edge, 5), (f"{edge}x", 4), (edge[:-1], 5)):
                for query in (RunQuery(before=(T0, before)), RunQuery("a", before=(T0, before))):
                    assert bench.reader.find_runs(query) == runs[first:]
            query = RunQuery(before=(T0, edge), offset=1, limit=2)
            assert bench.reader.find_runs(query) == runs[6:8]

    def test_runs_are_in_the_order_of_their_ids(self) -> None:
        """Also where several nodes made them, and a later one came first."""
        with self.bench() as bench:
            for name in "bdacfe":
                bench.submit(id=f"{T0:014x}{name}")
            found = bench.reader.find_runs(RunQuery())
            assert [run.id[-1] for run in found] == list("fedcba")
            before = found[2].created_us, found[2].id
            assert bench.reader.find_runs(RunQuery(before=before, limit=2)) == found[3:5]

    def test_counting_is_finding_all(self) -> None:
        """Whatever the conditions; neither pages nor orders matter to it."""
        with self.bench() as bench:
            bench.put(
                *(task(each, executor="asyncio", tags=("x",)) for each in "abc"),
                *(task(each, None, state=ScheduleState.PAUSED) for each in "de"),
                task("f", T0 + MINUTE, function="shop.jobs:other", decorated=True),
            )
            bench.plan(limit=2)
            reader = bench.reader
            queries: list[dict[str, Any]] = [
                *({"state": state} for state in (None, *ScheduleState)),
                *({"executor": each} for each in ("asyncio", "threadpool", "none")),
                *({"tag": "x"}, {"search": "B"}, {"trigger": "interval"}, {"trigger": "date"}),
                *({"trigger": "shutdown"}, {"declared_in": "shop.jobs"}, {"declared_in": "x"}),
                {"state": ScheduleState.SCHEDULED, "executor": "asyncio"},
                *({"due_before_us": T0 + 1}, {"failing": False}, {"failing": True}),
            ]
            numbers = []
            for query in queries:
                found = len(reader.find_tasks(TaskQuery(**query)))
                numbers.append(found)
                assert reader.count_tasks(TaskQuery(**query)) == found, query
                odd = TaskQuery(**query, limit=1, offset=2, sort="-name", after=("z", "z"))
                assert reader.count_tasks(odd) == found, query
            assert numbers == [6, 0, 2, 2, 2, 3, 3, 0, 3, 1, 6, 0, 0, 1, 0, 1, 1, 6, 0]

    def test_counting_runs_is_finding_all(self) -> None:
        """Whatever the conditions."""
        with self.bench() as bench:
            bench.put(task("a"), task("b"), task("c", None))
            bench.plan()
            bench.now_us += MINUTE
            bench.edit(runs_now(pending(None, source=Source.MANUAL)), "b", "c")
            bench.submit(task_id="c")
            queries: list[dict[str, Any]] = [
                *({}, {"task_id": "b"}, {"task_id": "c"}, {"task_id": "d"}),
                *({"source": Source.MANUAL}, {"source": Source.SCHEDULED, "task_id": "b"}),
                *({"states": frozenset({RunState.PENDING})}, {"states": frozenset()}),
                *({"since_us": T0 + MINUTE}, {"until_us": T0}, {"since_us": T0, "until_us": T0}),
            ]
            numbers = []
            for query in queries:
                found = len(bench.reader.find_runs(RunQuery(**query)))
                numbers.append(found)
                assert bench.reader.count_runs(RunQuery(**query)) == found, query
                odd = RunQuery(**query, limit=1, offset=1, before=(0, ""))
                assert bench.reader.count_runs(odd) == found, query
            assert numbers == [5, 2, 2, 0, 3, 1, 5, 0, 2, 3, 3]

    def test_late_tasks_are_scheduled_and_due_before_an_instant(self) -> None:
        """Not at it; and paused or finished ones never are."""
        with self.bench() as bench:
            bench.put(
                task("a", T0 - 2),
                task("b", T0 - 1),
                task("c", T0),
                task("d", None),
                task("e", T0 - 9, state=ScheduleState.PAUSED),
                task("f", None, state=ScheduleState.FINISHED),
                task("g", T0 - 3, executor="asyncio"),
            )
            assert _late(bench, due_before_us=T0) == "abg"
            assert _late(bench, due_before_us=T0 + 1) == "abcg"
            assert _late(bench, due_before_us=T0 - 3) == ""
            assert _late(bench, due_before_us=T0, sort="next_run_time") == "gab"
            assert _late(bench, due_before_us=T0, sort="-next_run_time", limit=2) == "ba"
            assert _late(bench, due_before_us=T0, executor="asyncio") == "g"
            assert _late(bench, due_before_us=T0, state=ScheduleState.SCHEDULED) == "abg"
            assert _late(bench, due_before_us=T0, state=ScheduleState.PAUSED) == ""

    def test_tasks_fail_whose_last_run_failed(self) -> None:
        """Whatever was never executed to an end says nothing about it."""
        with self.bench() as bench:
            ends = {
                "a": [RunState.FAILED],
                "b": [RunState.COMPLETED],
                "c": [RunState.FAILED, RunState.COMPLETED],
                "d": [RunState.COMPLETED, RunState.TIMEOUT],
                "e": [RunState.LOST, RunState.CANCELLED, RunState.SKIPPED],
                "f": [RunState.CANCELLED],
                "g": [],
                "h": [RunState.COMPLETED, *[RunState.SKIPPED] * 45],
                "i": [RunState.FAILED, *[RunState.SKIPPED] * 45],
            }
            bench.put(*(task(each, None, name=f"task {each}") for each in ends))
            for task_id, states in ends.items():
                for state in states:
                    self._end(bench, task_id, state)
            bench.edit(runs_now(pending(None)), *ends)
            assert _late(bench, failing=True) == "adei"
            assert _late(bench, failing=False) == "bcfgh"
            assert _late(bench) == "abcdefghi"
            self._check_failing_pages(bench)
            assert bench.reader.count_tasks(TaskQuery(failing=True)) == 4
            assert bench.reader.count_tasks(TaskQuery(failing=False, search="task c")) == 1
            assert bench.reader.count_tasks(TaskQuery(failing=True, search="task c")) == 0

    @staticmethod
    def _check_failing_pages(bench: Bench) -> None:
        assert _late(bench, failing=True, sort="-name") == "ieda"
        assert _late(bench, failing=True, sort="-name", limit=2, offset=1) == "ed"
        assert _late(bench, failing=True, limit=2, after=("a", "a")) == "de"
        assert _late(bench, failing=True, sort="next_run_time", after=(None, "d")) == "ei"
        assert _late(bench, failing=True, limit=0) == ""

    @staticmethod
    def _end(bench: Bench, task_id: str, state: RunState) -> None:
        if state is RunState.SKIPPED:
            bench.edit(runs_now(PlannedRun(state, None, T0)), task_id)
            return
        bench.edit(runs_now(pending(None)), task_id)
        [leased] = bench.lease().leased
        bench.finish(finished(leased.run, state))

    def test_a_streak_of_failures_counts_without_its_runs(self) -> None:
        """They may have been forgotten; those of a task that had the same id say nothing."""
        with self.bench() as bench:
            bench.put(task("a", None, streak=2), task("b", None), task("c", None, streak=1))
            self._end(bench, "b", RunState.FAILED)
            self._end(bench, "c", RunState.COMPLETED)
            assert _late(bench, failing=True) == "abc"
            bench.edit(removed(), "b")
            bench.put(task("b", None, generation=7))
            assert _late(bench, failing=True) == "ac"
            assert _late(bench, failing=False) == "b"

    def test_unknown_orders_are_refused_with_a_place_as_well(self) -> None:
        """As wrong input."""
        with self.bench() as bench:
            query = TaskQuery(sort="due_us", after=(T0, "a"), declared_in="shop")
            assert "next_run_time" in raised(
                InvalidInputError, lambda: bench.reader.find_tasks(query)
            )


def _others(bench: Bench) -> list[str]:
    """Return the ids of the tasks that come and go."""
    every = bench.reader.find_tasks(TaskQuery(limit=10_000))
    return [each.id for each in every if "-" in each.id]
