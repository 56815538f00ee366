"""Errors: one line on stderr, an exit code by whose fault it is, never a traceback."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Tickwork
from tickwork import errors
from tickwork.cli.client import shown
from tickwork.cli.failures import exit_code_of

COMMANDS = [
    ["tasks"], ["runs"], ["show", "x"], ["pause", "x"], ["resume", "x"], ["trigger", "x"],
    ["remove", "x"],
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidTriggerError("x"), 2),
        (errors.TaskNotFoundError("x"), 3),
        (errors.ConflictingTaskError("x"), 4),
        (errors.SchedulerStateError("x"), 4),
        (errors.TaskError("x"), 5),
        (errors.StoreUnavailableError("x"), 75),
        (errors.UnreadableRecordError("x"), 75),
        (errors.TickworkError("x"), 1),
        (RuntimeError("x"), 70),
    ],
)
def test_the_exit_code_says_whose_fault_it_is(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_is_not_there_is_not_made(
    tickwork: Tickwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tickwork(*command, "--store", "sqlite:///data.db") == (
        3,
        "",
        "tickwork: there is no database data.db; the scheduler that uses it makes it\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_others_gets_no_tables(tickwork: Tickwork, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE mine (x)")
    before = path.read_bytes()
    said = tickwork("tasks", "--store", f"sqlite:///{path}")
    assert said.exit_code == 3
    assert f"{path} has no tables of tickwork (prefix 'tickwork_') in it" in said.err
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_database_is_the_stores_error(tickwork: Tickwork, tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam,\n" * 100)
    said = tickwork("tasks", "--store", f"sqlite:///{path}")
    assert said.exit_code == 75
    assert said.err == (
        "tickwork: the database doesn't answer as it should: file is not a database\n"
    )


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ([], "which store? Say --store sqlite:///tasks.db, or set TICKWORK_STORE"),
        (["--store", "memory://"], "memory:// lives in the process that made it"),
        (["--store", "tasks.db"], "'tasks.db' is not the URL of a store"),
        (["--store", "sqlite://tasks.db"], "three slashes"),
        (["--store", "sqlite:///"], "database in memory"),
        (["--store", "carrier-pigeon://coop"], "'carrier-pigeon' is not one of the known stores"),
    ],
)
def test_a_store_that_can_not_be_looked_at_is_bad_input(
    tickwork: Tickwork, store: list[str], words: str
) -> None:
    said = tickwork("tasks", *store)
    assert (said.exit_code, said.out, said.err.count("\n")) == (2, "", 1)
    assert words in said.err


def test_errors_are_json_where_json_is_asked_for(tickwork: Tickwork, store: str) -> None:
    said = tickwork("show", "nobody", "--store", store, "--json")
    assert (said.exit_code, said.out) == (3, "")
    assert json.loads(said.err) == {
        "error": {
            "type": "TaskNotFoundError",
            "message": "there is no task 'nobody'",
            "exit_code": 3,
        }
    }


def test_wrong_options_are_told_by_the_framework_or_as_json(tickwork: Tickwork) -> None:
    said = tickwork("tasks", "--sate", "paused")
    assert said.exit_code == 2
    assert "No such option: --sate" in said.err
    told = json.loads(tickwork("tasks", "--sate", "paused", "--json").err)["error"]
    assert told["exit_code"] == 2
    assert "No such option: --sate" in told["message"]


@pytest.mark.parametrize(
    "arguments", [["--state", "asleep"], ["--sort", "color"], ["--limit", "0"]]
)
def test_bad_filters_are_bad_input(tickwork: Tickwork, store: str, arguments: list[str]) -> None:
    said = tickwork("tasks", "--store", store, *arguments)
    assert (said.exit_code, said.out) == (2, "")


def test_our_own_mistakes_are_one_line_too(
    tickwork: Tickwork, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr("tickwork.service.operations.Operations.list_tasks", fail)
    assert tickwork("tasks", "--store", store) == (
        70, "", "tickwork: unexpected ZeroDivisionError: oh (TICKWORK_TRACEBACK=1 shows where)\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("sqlite:///tasks.db", "sqlite:///tasks.db"),
        ("redis://:p@ss@host:6379/0", "redis://:***@host:6379/0"),
        (
            "postgresql+psycopg://ada:p/w@host/shop?prefix=x",
            "postgresql+psycopg://ada:***@host/shop",
        ),
        ("postgresql://ada@/shop?host=/tmp/socket", "postgresql://ada@/shop"),
        ("mongodb://ada:p?w@one:1,two:2/shop", "mongodb://ada:***@one:1,two:2/shop"),
        ("mysql+pymysql://host:3306/shop", "mysql+pymysql://host:3306/shop"),
    ],
)
def test_passwords_of_stores_are_shown_to_nobody(url: str, seen: str) -> None:
    assert shown(url) == seen


def test_moments_that_are_none_are_told_how_to_say_them(tickwork: Tickwork, store: str) -> None:
    said = tickwork("runs", "--since", "yesterday", "--store", store)
    assert (said.exit_code, said.out) == (2, "")
    assert "'yesterday' is no moment; say 2026-12-24T18:00, or a distance such as 90s" in said.err
    assert tickwork("runs", "--since", "900000d", "--store", store).err == (
        "tickwork: '900000d' is too far away\n"
    )
    assert tickwork("doctor", "--stuck-after", "soon", "--store", store).err == (
        "tickwork: 'soon' is no duration; say it as 90s, 15m, 2h or 7d\n"
    )
