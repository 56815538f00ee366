"""What is wrong with a store, and the tables of SQL stores."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import NOW, Tickwork
from tickwork import Scheduler
from tickwork.stores.sql.checking import migration_sql
from tickwork.stores.sql.schema import HEAD
from tickwork.stores.sql.store import SQLStore
from tickwork.testing import ManualClock, SteppedScheduler


def _findings(tickwork: Tickwork, store: str, code: int, *words: str) -> list[tuple[str, str, str]]:
    said = tickwork("doctor", "--store", store, "--json", *words)
    told = json.loads(said.out)
    assert (said.exit_code, told["status"]) == (
        code,
        {0: "healthy", 10: "warnings", 11: "errors"}[code],
    )
    return [(each["check"], each["severity"], each["about"]) for each in told["findings"]]


def test_a_store_that_is_worked_on_is_healthy(
    tickwork: Tickwork, store: str, clock: ManualClock
) -> None:
    with SteppedScheduler(store, clock=clock) as scheduler:
        scheduler.step()
        assert tickwork("doctor", "--store", store) == (
            0, "Healthy: schema, nodes, overdue, stuck, orphaned, functions, clocks.\n", ""
        )  # fmt: skip
    said = tickwork("doctor", "--store", store)
    assert (said.exit_code, said.err) == (10, "")
    assert said.out == (
        "warning nodes      sqlite:///tasks.db: no scheduler works on it, and it has 3 scheduled "
        "tasks\n"
    )


def test_what_is_overdue_unreadable_or_without_an_index_is_told(
    tickwork: Tickwork, store: str, clock: ManualClock
) -> None:
    with closing(sqlite3.connect("tasks.db")) as database, database:
        database.execute("DROP INDEX tickwork_ix_tasks_due")
        database.execute("UPDATE tickwork_tasks SET definition = 'x' WHERE id = 'new-year'")
    clock.set(NOW + timedelta(minutes=61))
    assert _findings(tickwork, store, 11) == [
        ("schema", "warning", "tickwork_ix_tasks_due"),
        ("nodes", "warning", "sqlite:///tasks.db"),
        ("overdue", "error", "greet"),
        ("unreadable", "error", "new-year"),
    ]
    lines = tickwork("doctor", "--store", store).out.splitlines()
    assert lines[2] == "error   overdue    greet: should have fired 1 min ago"
    said = tickwork("db", "check", "--store", store)
    assert said == (11, "Missing index: tickwork_ix_tasks_due\n", "")


def test_runs_that_take_long_or_whose_node_is_dead_are_told(
    tickwork: Tickwork, store: str, clock: ManualClock
) -> None:
    with closing(sqlite3.connect("tasks.db")) as database, database:
        started = int(NOW.timestamp()) * 1_000_000
        database.execute(
            "UPDATE tickwork_runs SET state = 'running', node = 'gone', finished_us = NULL,"
            " started_us = ? WHERE task_id = 'report'",
            [started],
        )
    clock.set(NOW + timedelta(minutes=30))
    assert ("stuck", "warning") not in {each[:2] for each in _findings(tickwork, store, 11)}
    found = _findings(tickwork, store, 11, "--stuck-after", "20m")
    assert [each[:2] for each in found] == [
        ("nodes", "warning"), ("stuck", "warning"), ("orphaned", "error")
    ]  # fmt: skip


def test_tables_are_made_checked_and_upgraded(
    tickwork: Tickwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = ("--store", "sqlite:///new.db")
    assert tickwork("db", "check", *where).exit_code == 3
    assert list(tmp_path.iterdir()) == []
    said = tickwork("db", "upgrade", *where)
    assert said == (0, f"The tables are at version {HEAD} now; before, none.\n", "")
    said = tickwork("db", "upgrade", *where, "--json")
    assert json.loads(said.out) == {"kind": "sqlalchemy", "before": HEAD, "after": HEAD}
    assert tickwork("db", "check", *where) == (
        0, f"The tables are up to date, at version {HEAD}.\n", ""
    )  # fmt: skip
    with closing(sqlite3.connect("new.db")) as database, database:
        database.execute("UPDATE tickwork_version SET version_num = '9999'")
    said = tickwork("db", "check", *where, "--json")
    assert (said.exit_code, json.loads(said.out)["version"]) == (11, "9999")
    assert tickwork("doctor", *where).exit_code == 11
    assert tickwork("db", "upgrade", *where).exit_code == 75


def test_the_sql_makes_the_same_tables(tickwork: Tickwork, tmp_path: Path) -> None:
    text = tickwork("db", "sql", "--store", "sqlite:///nowhere.db").out
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    with closing(sqlite3.connect(first)) as database:
        database.executescript(text)
        made = _schema(database)
    Scheduler(f"sqlite:///{second}").connect().close()
    with closing(sqlite3.connect(second)) as database:
        assert made == _schema(database)
    assert tickwork("db", "check", "--store", f"sqlite:///{first}").exit_code == 0
    # And it works: a scheduler takes it for its own.
    with Scheduler(f"sqlite:///{first}").connect(create=False) as scheduler:
        scheduler.add_task("tests.cli.chores:report", every="5m", id="x")
        assert [task.id for task in scheduler.get_tasks()] == ["x"]


def _schema(database: sqlite3.Connection) -> set[tuple[str, str, str]]:
    found = database.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {(kind, name, " ".join(sql.split())) for kind, name, sql in found}


@pytest.mark.parametrize("url", ["postgresql://a@b/c", "mysql://a@b/c"])
def test_sql_is_written_without_a_server(tickwork: Tickwork, url: str) -> None:
    whole = tickwork("db", "sql", "--store", url).out
    last = tickwork("db", "sql", "--store", url, "--from", "0003").out
    assert (whole.count("CREATE TABLE"), last.count("CREATE TABLE")) in {(7, 1), (8, 1)}
    assert whole.endswith(last)
    assert migration_sql(SQLStore(url), HEAD) == ""
    assert tickwork("db", "sql", "--store", url, "--from", "x").exit_code == 2


def test_other_stores_have_no_tables(tickwork: Tickwork, tmp_path: Path) -> None:
    url = f"file:///{tmp_path}/folder"
    assert tickwork("db", "check", "--store", url).out == (
        "file stores have no tables: their layout needs no upgrades, and is made at first use.\n"
    )
    assert tickwork("db", "sql", "--store", url).exit_code == 2
    assert list(tmp_path.iterdir()) == []
