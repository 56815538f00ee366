"""Definitions as YAML, between any two stores."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Tickwork
from tickwork import Scheduler

GREET = """\
- id: greet
  function: tests.cli.chores:greet
  schedule: 1h
  args:
  - Ada
  kwargs:
    times: 2
  executor: threadpool
  tags:
  - mail
"""

TWICE = """\
version: 1
tasks:
- {id: a, function: 'm:f', schedule: 5m}
- {id: a, function: 'm:f', schedule: 6m}
"""


@pytest.fixture
def file(tickwork: Tickwork, store: str, tmp_path: Path) -> Path:
    """The definitions of the store, in a file."""
    path = tmp_path / "tasks.yaml"
    path.write_text(tickwork("export", "--store", store).out)
    return path


def test_an_export_is_stable_and_says_what_its_fields_mean(
    tickwork: Tickwork, store: str, file: Path
) -> None:
    text = file.read_text()
    assert text == tickwork("export", "--store", store).out
    assert GREET in text
    ids = [line[6:] for line in text.splitlines() if line.startswith("- id: ")]
    assert ids == ["break", "greet", "new-year", "report"]
    assert "#   misfire_grace_time  seconds after which a fire time is missed\n" in text
    assert "#   retries" not in text
    assert tickwork("export", "--store", store, "--tag", "mail").out.endswith(GREET)


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_definitions_move_to_another_store_and_nothing_differs_then(  # noqa: PLR0917  fixtures
    tickwork: Tickwork, store: str, file: Path, tmp_path: Path, kind: str
) -> None:
    other = f"sqlite:///{tmp_path}/other.db" if kind == "sqlite" else f"file:///{tmp_path}/other"
    with Scheduler(store).connect() as scheduler:
        # Values that JSON doesn't know come back as themselves.
        scheduler.add_task(
            "tests.cli.chores:greet", every="90s", id="odd", args=[date(2026, 1, 2)],
            retries=3, delay=1.5, retry_on=[ValueError], timeout=None, coalesce="all",
            concurrency_key="k", name="odd one", max_history=5,
        )  # fmt: skip
    file.write_text(tickwork("export", "--store", store).out)
    Scheduler(other).connect().close()
    said = tickwork("apply", str(file), "--store", other, "--yes")
    assert (said.exit_code, said.out.splitlines()[-1]) == (0, "5 done, 0 failed.")
    assert tickwork("diff", str(file), "--store", other) == (
        0, "Nothing differs; as in the file: 5.\n", ""
    )  # fmt: skip
    with Scheduler(store).connect() as first, Scheduler(other).connect() as second:
        for task_id in ("odd", "greet", "report", "break"):
            one, two = (each.get_task_info(task_id) for each in (first, second))
            still = {"created_at", "updated_at", "etag", "next_run_time", "runs_made"}
            still |= {"failures_in_a_row"}
            assert one.model_dump(exclude=still) == two.model_dump(exclude=still)
        assert second.get_task_info("new-year").schedule_state.value == "paused"


def test_what_differs_is_shown_and_nothing_happens_without_yes(
    tickwork: Tickwork, store: str, file: Path
) -> None:
    text = file.read_text().replace("times: 2", "times: 3").replace("id: report", "id: reports")
    file.write_text(text)
    where = (str(file), "--store", store)
    shown = (
        "+ reports: cron hour=8 (Europe/Berlin), tests.cli.chores:report\n"
        '~ greet\n    kwargs  {"times":2} -> {"times":3}\n'
    )
    kept = "Not in the file, and kept: 1 (--prune removes them).\n"
    assert tickwork("diff", *where) == (10, shown + kept, "")
    assert tickwork("apply", *where) == (
        10, shown + kept + "Nothing is changed yet; --yes does it.\n", ""
    )  # fmt: skip
    told = json.loads(tickwork("diff", *where, "--prune", "--json").out)
    assert (told["create"], told["remove"], told["same"]) == (["reports"], ["report"], 2)
    assert tickwork("diff", *where).exit_code == 10
    said = tickwork("apply", *where, "--prune", "--yes")
    assert said == (0, f"{shown}- report\n3 done, 0 failed.\n", "")
    with Scheduler(store).connect() as scheduler:
        assert scheduler.get_task_info("greet").kwargs == {"times": 3}
        assert scheduler.get_task_info("greet").args == ["Ada"]
    actions = {e["action"] for e in json.loads(tickwork("audit", "--json", "--store", store).out)}
    assert actions == {"tasks.create", "tasks.change", "tasks.remove"}


def test_secrets_are_left_out_and_kept_where_they_stand(
    tickwork: Tickwork, store: str, tmp_path: Path
) -> None:
    with Scheduler(store).connect() as scheduler:
        scheduler.add_task(
            "tests.cli.chores:log_in", every="1h", id="login",
            kwargs={"user": "ada", "password": "swordfish"},
        )  # fmt: skip
    file = tmp_path / "tasks.yaml"
    file.write_text(tickwork("export", "--store", store).out)
    assert "swordfish" not in file.read_text()
    assert "swordfish" in tickwork("export", "--secrets", "--store", store).out
    assert tickwork("diff", str(file), "--store", store).exit_code == 0
    file.write_text(file.read_text().replace("user: ada", "user: bob"))
    said = tickwork("apply", str(file), "--store", store, "--yes")
    assert said.out.startswith(
        '~ login\n    kwargs  {"user":"ada","password":"(hidden)"} -> '
        '{"user":"bob","password":"(hidden)"}\n'
    )
    with Scheduler(store).connect() as scheduler:
        kwargs = scheduler.get_task_info("login").kwargs
        assert kwargs == {"user": "bob", "password": "swordfish"}
        scheduler.remove_task("login")
    said = tickwork("apply", str(file), "--store", store, "--yes")
    assert (said.exit_code, said.out) == (2, "")
    assert "write their values" in said.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tasks: [", "is no YAML"),
        ("tasks: []", "has no `version: 1`"),
        ("version: 1\ntasks: [x]", "task 1 has no fields"),
        ("version: 1\ntasks: [{id: a}]", "task 1 has no `function`"),
        ("version: 1\ntasks: [{id: a, function: 'm:f', color: 1}]", "unknown fields: color"),
        ("version: 1\ntasks: [{id: a, function: 'm:f'}]", "say either `schedule` or `trigger`"),
        ("version: 1\ntasks: [{id: a, function: 'm:f', schedule: x}]", "'x' is not a schedule"),
        (
            "version: 1\ntasks: [{id: a, function: 'm:f', schedule: 5m, retries: -1}]",
            "task 'a': retries: Input should be greater",
        ),
        (TWICE, "has tasks twice: a"),
    ],
)
def test_a_file_that_says_something_else_is_refused(  # noqa: PLR0917  fixtures
    tickwork: Tickwork, store: str, tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "tasks.yaml"
    file.write_text(text)
    said = tickwork("apply", str(file), "--store", store, "--yes")
    assert (said.exit_code, said.out, said.err.count("\n")) == (2, "", 1)
    assert words in said.err


def test_one_task_that_can_not_be_made_keeps_no_other_from_it(
    tickwork: Tickwork, store: str, tmp_path: Path
) -> None:
    file = tmp_path / "tasks.yaml"
    file.write_text(
        "version: 1\ntasks:\n- {id: a, function: 'nowhere.at:all', schedule: 5m}\n"
        "- {id: b, function: 'tests.cli.chores:report', schedule: 5m}\n"
    )
    said = tickwork("apply", str(file), "--store", store, "--yes", "--json")
    told = json.loads(said.out)
    assert (said.exit_code, [each["id"] for each in told["failed"]]) == (2, ["a"])
    with Scheduler(store).connect() as scheduler:
        assert scheduler.get_task_info("b").created_at == datetime(2026, 11, 23, 9, tzinfo=UTC)
