"""Finding a few of many: by ids, by what became of runs, and not further back than asked for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tickwork.model.policies import RunState, Source
from tickwork.model.records import RunRecord
from tickwork.model.steps import PlannedRun, RunQuery, TaskQuery
from tickwork.testing.store_contract.bench import MINUTE, T0, Bench, pending, runs_now, task
from tickwork.testing.store_contract.case import StoreCase

__all__ = ["SeekingContract"]

_MISSED = RunState.MISSED
_NARROW: list[tuple[dict[str, Any], Callable[[RunRecord], bool]]] = [
    ({}, lambda _: True),
    ({"source": Source.MANUAL}, lambda run: run.source is Source.MANUAL),
    ({"source": Source.STARTUP}, lambda _: False),
    ({"states": frozenset({RunState.SKIPPED})}, lambda run: run.state is RunState.SKIPPED),
    ({"states": frozenset(RunState)}, lambda _: True),
    ({"suspect": False}, lambda _: True),
    ({"since_us": T0 + 5 * MINUTE}, lambda run: run.created_us >= T0 + 5 * MINUTE),
]
"""Further conditions, and which runs they leave."""


def _paged(bench: Bench, **query: Any) -> list[RunRecord]:
    """Return the runs of all pages."""
    found: list[RunRecord] = []
    before: tuple[int, str] | None = None
    while page := bench.reader.find_runs(RunQuery(before=before, **query)):
        found += page
        before = page[-1].created_us, page[-1].id
    return found


class SeekingContract(StoreCase):
    """The contract of `Reader`, as far as it concerns little that is to be found among much."""

    def test_runs_are_sought_among_the_newest(self) -> None:
        """Of a task, until an instant, from a place on: so many, whatever they are."""
        with self.bench() as bench:
            bench.put(task("a", None), task("b", None))
            for number in range(12):
                skipped = PlannedRun(RunState.SKIPPED, T0 + number, T0 + number)
                made = pending(None, source=Source.MANUAL) if number % 4 == 0 else skipped
                bench.edit(runs_now(made), "a" if number % 2 == 0 else "b")
                bench.now_us += MINUTE
            runs = bench.reader.find_runs(RunQuery())
            place = runs[3].created_us, runs[3].id
            for others in (
                *({}, {"before": place}, {"task_id": "a"}, {"task_id": "b", "before": place}),
                *({"until_us": T0 + 7 * MINUTE}, {"task_id": "c"}),
                {"task_id": "a", "until_us": T0 + 9 * MINUTE, "before": place},
            ):
                there = bench.reader.find_runs(RunQuery(**others))
                for among in (1, 2, 5, 12, 13):
                    self._check_among(bench, there[:among], {**others, "among": among})

    @staticmethod
    def _check_among(bench: Bench, there: list[RunRecord], asked: dict[str, Any]) -> None:
        reader = bench.reader
        for narrow, fits in _NARROW:
            query = RunQuery(**asked, **narrow)
            expected = [run for run in there if fits(run)]
            assert reader.find_runs(query) == expected, query
            assert reader.find_runs(replace(query, limit=1, offset=1)) == expected[1:2], query
            if query.before is None:
                assert reader.count_runs(query) == len(expected), query

    def test_suspects_are_found_whatever_became_of_them(self) -> None:
        """And so are all others; as with any other condition."""
        with self.bench() as bench:
            names = "abcdef"
            runs = [bench.submit(task_id=each, suspect=each in "bde") for each in names]
            bench.cancel(runs[3], runs[5])
            pending_now = frozenset({RunState.PENDING})
            cases: list[tuple[dict[str, Any], str]] = [
                ({}, "fedcba"),
                ({"suspect": True}, "edb"),
                ({"suspect": False}, "fca"),
                ({"suspect": True, "states": pending_now}, "eb"),
                ({"suspect": False, "states": pending_now}, "ca"),
                ({"suspect": True, "states": frozenset({RunState.CANCELLED})}, "d"),
                ({"suspect": True, "task_id": "e"}, "e"),
                ({"suspect": True, "task_id": "a"}, ""),
                ({"suspect": True, "source": Source.SCHEDULED}, ""),
                ({"suspect": True, "limit": 1, "offset": 1}, "d"),
                ({"suspect": True, "before": (T0, runs[4].id)}, "db"),
                ({"suspect": True, "since_us": T0 + 1}, ""),
            ]
            for query, expected in cases:
                found = bench.reader.find_runs(RunQuery(**query))
                assert "".join(run.task_id for run in found) == expected, query
                if not {"limit", "before"} & query.keys():
                    assert bench.reader.count_runs(RunQuery(**query)) == len(expected), query

    def test_runs_of_several_states_are_in_one_order(self) -> None:
        """Those that are over and those that aren't, each on one page."""
        with self.bench() as bench:
            bench.put(task("a", None))
            missed, skipped = (PlannedRun(each, None, T0) for each in (_MISSED, RunState.SKIPPED))
            for number in range(24):
                bench.edit(runs_now((missed, skipped, pending(None))[number % 3]), "a")
            every = bench.runs("a")[::-1]
            for states in (
                *({_MISSED, RunState.SKIPPED}, {RunState.PENDING, RunState.SKIPPED}),
                *({_MISSED, RunState.LOST}, {RunState.LOST}, {RunState.COMPLETED}),
                set(RunState),
            ):
                query: dict[str, Any] = {"states": frozenset(states)}
                there = [run for run in every if run.state in states]
                assert _paged(bench, **query, limit=5) == there
                for offset in (0, 3, 30):
                    page = RunQuery(**query, limit=4, offset=offset)
                    assert bench.reader.find_runs(page) == there[offset : offset + 4], page
                assert bench.reader.count_runs(RunQuery(**query)) == len(there)

    def test_tasks_are_found_by_their_ids(self) -> None:
        """Those that are there, in any order, and as many as a page may have."""
        with self.bench() as bench:
            names = [f"t{number:03}" for number in range(600)]
            odd = ["a b", "ä", "%", "日本"]
            bench.put(*(task(each, None, name="x") for each in names), *map(task, odd))

            def found(*ids: str, **query: Any) -> list[str]:
                asked = TaskQuery(ids=frozenset(ids), **{"limit": 1_000, **query})
                assert query or bench.reader.count_tasks(asked) == len(
                    bench.reader.find_tasks(asked)
                )
                return [each.id for each in bench.reader.find_tasks(asked)]

            assert found() == []
            assert found("t007", "gone", "t003") == ["t003", "t007"]
            assert found(*odd) == sorted(odd)
            assert found(*names[::2]) == names[::2]
            assert found(*names[:9], sort="-id", limit=2, offset=1) == ["t007", "t006"]
            assert found(*names[:9], sort="name", after=("x", "t006")) == ["t007", "t008"]
            assert found(*odd, "t001", trigger="date") == []
            assert found("t001", "t002", search="2") == ["t002"]
            assert found("t001", failing=True) == []
