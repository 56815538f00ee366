"""What people look for of which there is little among much, and how SQLite finds it."""

from collections.abc import Callable
from typing import NamedTuple

from tickwork.model.policies import RunState, Source
from tickwork.model.steps import RunQuery, TaskQuery
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import T0

__all__ = ["FAILED_TASKS", "LISTINGS", "TROUBLE", "Listing", "how_many"]

FAILED_TASKS = 40
"""Of how many tasks the last run failed; of twice as many, one of the others did."""

TROUBLE = (
    """
    UPDATE {runs} SET state = 'failed' WHERE task_id BETWEEN 'm000001' AND 'm000080'
    AND (id LIKE '%5' OR id LIKE '%9' AND task_id <= 'm000040')
    """,
    "UPDATE {runs} SET suspect = (1 = 1) WHERE id IN ('m000700', 'm000900')",
)
"""What makes the runs of the tests of costs so."""

_RUNS_BY_ID = "SEARCH tickwork_runs USING INDEX sqlite_autoindex_tickwork_runs_1"
_TASKS_BY_ID = "SEARCH tickwork_tasks USING INDEX sqlite_autoindex_tickwork_tasks_1 (id=?)"
_UNUSUAL = "tickwork_runs USING {}INDEX tickwork_ix_runs_unusual (state=?)"
_MAY_FAIL = (
    "COMPOUND QUERY",
    "LEFT-MOST SUBQUERY",
    "SCAN streaks USING INDEX tickwork_ix_tasks_streak",
    "UNION USING TEMP B-TREE",
    "SEARCH tickwork_runs USING COVERING INDEX tickwork_ix_runs_unusual (state=?)",
)
_LAST_RUN = (
    "CORRELATED SCALAR SUBQUERY 1",
    "SEARCH tickwork_runs USING INDEX tickwork_ix_runs_history (task_id=?)",
)
_AMONG = (
    f"{_RUNS_BY_ID} (id>?)",
    "SCALAR SUBQUERY 1",
    "SCAN newest USING COVERING INDEX sqlite_autoindex_tickwork_runs_1",
)


_OF_RUNS = frozenset({"runs_pkey"})
_OF_UNUSUAL = frozenset({"ix_runs_unusual"})
_OF_SUSPECTS = frozenset({"ix_runs_suspect"})
_OF_FAILING = frozenset({"tasks_pkey", "ix_tasks_streak", "ix_runs_unusual", "ix_runs_history"})


class Listing(NamedTuple):
    """A question, how many it finds, how SQLite goes about it, and the indexes of PostgreSQL.

    Where two ways cost as little, it is a matter of what `ANALYZE` came across which one it goes.
    """

    look: Callable[[Bench], object]
    found: int
    plan: tuple[str, ...]
    indexes: frozenset[str]
    or_indexes: frozenset[str] | None = None


def how_many(found: object) -> int:
    """Return a number that was asked for, or of how many things there is a list."""
    if isinstance(found, int):
        return found
    assert isinstance(found, list)
    return len(found)


def _runs(**query: object) -> Callable[[Bench], object]:
    return lambda bench: bench.reader.find_runs(RunQuery(**query))  # type: ignore[arg-type]


def _how_many(**query: object) -> Callable[[Bench], object]:
    return lambda bench: bench.reader.count_runs(RunQuery(**query))  # type: ignore[arg-type]


def _tasks(**query: object) -> Callable[[Bench], object]:
    return lambda bench: bench.reader.find_tasks(TaskQuery(**query))  # type: ignore[arg-type]


def _newest_of(number: int) -> tuple[str, ...]:
    """Return how the newest of a state are taken."""
    search = "SEARCH " + _UNUSUAL.format("COVERING ")
    return (f"CO-ROUTINE anon_{number}", search, f"SCAN anon_{number}")


LISTINGS: dict[str, Listing] = {
    "lost": Listing(
        _runs(states=frozenset({RunState.LOST})), 0, ("SEARCH " + _UNUSUAL.format(""),), _OF_UNUSUAL
    ),
    "failed": Listing(
        _runs(states=frozenset({RunState.FAILED})),
        100,
        ("SEARCH " + _UNUSUAL.format(""),),
        _OF_UNUSUAL,
    ),
    "how_many_failed": Listing(
        _how_many(states=frozenset({RunState.FAILED})),
        3 * FAILED_TASKS,
        ("SEARCH " + _UNUSUAL.format("COVERING "),),
        _OF_UNUSUAL,
    ),
    "failed_or_lost": Listing(
        _runs(states=frozenset({RunState.FAILED, RunState.LOST})),
        100,
        (
            f"{_RUNS_BY_ID} (id=?)",
            "LIST SUBQUERY 4",
            "COMPOUND QUERY",
            "LEFT-MOST SUBQUERY",
            *_newest_of(1),
            "UNION ALL",
            *_newest_of(2),
        ),
        _OF_UNUSUAL | _OF_RUNS,
    ),
    "failed_of": Listing(
        _runs(task_id="m000007", states=frozenset({RunState.FAILED})),
        2,
        ("SEARCH tickwork_runs USING INDEX tickwork_ix_runs_history (task_id=?)",),
        _OF_UNUSUAL,
        or_indexes=frozenset({"ix_runs_history"}),
    ),
    "suspects": Listing(
        _runs(suspect=True),
        2,
        ("SCAN tickwork_runs USING INDEX tickwork_ix_runs_suspect",),
        _OF_SUSPECTS,
    ),
    "suspects_that_wait": Listing(
        _runs(suspect=True, states=frozenset({RunState.PENDING})),
        0,
        ("SCAN tickwork_runs USING INDEX tickwork_ix_runs_suspect",),
        _OF_SUSPECTS,
    ),
    "until": Listing(_runs(until_us=T0 - 10**13), 0, (f"{_RUNS_BY_ID} (id<?)",), _OF_RUNS),
    "among": Listing(_runs(source=Source.STARTUP, among=5_000), 0, _AMONG, _OF_RUNS),
    "how_many_among": Listing(_how_many(source=Source.MANUAL, among=5_000), 0, _AMONG, _OF_RUNS),
    "completed_among": Listing(
        _runs(states=frozenset({RunState.COMPLETED}), among=5_000), 100, _AMONG, _OF_RUNS
    ),
    "failing": Listing(
        _tasks(failing=True),
        FAILED_TASKS,
        (_TASKS_BY_ID, "LIST SUBQUERY 3", *_MAY_FAIL, *_LAST_RUN),
        _OF_FAILING,
    ),
    "how_many_failing": Listing(
        lambda bench: bench.reader.count_tasks(TaskQuery(failing=True)),
        FAILED_TASKS,
        (_TASKS_BY_ID, "LIST SUBQUERY 3", *_MAY_FAIL, *_LAST_RUN),
        _OF_FAILING,
    ),
    "named": Listing(
        _tasks(ids=frozenset({"m000007", "m000009", "gone"})),
        2,
        (_TASKS_BY_ID,),
        frozenset({"tasks_pkey"}),
    ),
}
