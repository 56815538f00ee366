"""Who a task is, and what becomes of it when it is declared again."""

import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tests.unit.scheduler.conftest import STEPPED, Home
from tickwork import ConflictingTaskError, Scheduler, SchedulerStateError, TaskNotFoundError
from tickwork.scheduler.loop import LoopSettings
from tickwork.testing import SteppedScheduler

START = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "tests.unit.scheduler.jobs:note"
ROOT = Path(__file__).parents[3]


def ran(scheduler: Scheduler, **filters: Any) -> list[datetime]:
    """Return the fire times that were executed, oldest first."""
    runs = scheduler.get_runs(status="completed", limit=1000, **filters)
    return [run.fire_time for run in reversed(runs) if run.fire_time is not None]


def minutes(*numbers: float) -> list[datetime]:
    return [START + timedelta(minutes=number) for number in numbers]


# --- identity -----------------------------------------------------------------------------------


def test_recurring_tasks_of_a_store_that_outlives_the_process_have_the_name_of_their_function(
    sqlite_home: Home,
) -> None:
    scheduler = sqlite_home.start()
    assert scheduler.add_task(jobs.note, "interval", minutes=1).id == NAME
    assert scheduler.add_task("tests.unit.scheduler.jobs:other", "cron", hour=1).id == (
        "tests.unit.scheduler.jobs:other"
    )


def test_recurring_tasks_of_the_memory_store_have_fresh_ids(memory_home: Home) -> None:
    scheduler = memory_home.start()
    ids = {scheduler.add_task(jobs.note, "interval", minutes=1).id for _ in range(3)}
    assert len(ids) == 3


def test_one_shots_have_fresh_ids_everywhere(home: Home) -> None:
    scheduler = home.start()
    ids = {scheduler.add_task(jobs.note).id for _ in range(3)}
    ids |= {scheduler.add_task(jobs.note, "date", run_at="2027-01-01").id for _ in range(3)}
    assert len(ids) == 6
    scheduler.step()
    assert len(jobs.calls) == 3


def test_decorated_functions_have_their_name_everywhere(home: Home) -> None:
    scheduler = home.new()
    scheduler.task(every="1m")(jobs.note)
    scheduler.task(at="2027-01-01")(jobs.other)
    scheduler.start()
    assert [task.id for task in scheduler.get_tasks()] == [NAME, "tests.unit.scheduler.jobs:other"]


SCRIPT = """
    from tickwork import InvalidReferenceError, Scheduler

    scheduler = Scheduler("sqlite:///tasks.db")

    def job(): ...

    if __name__ == "__main__":
        try:
            print(scheduler.add_task(job, "interval", minutes=1).id)
        except InvalidReferenceError as error:
            print("refused:", error)
"""


def run_script(folder: Path, *command: str) -> str:
    (folder / "shop_jobs.py").write_text(textwrap.dedent(SCRIPT))
    (folder / "shop-jobs.py").write_text(textwrap.dedent(SCRIPT))
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert not (folder / "tasks.db").exists()
    return ended.stdout.strip()


@pytest.mark.parametrize("command", [["shop_jobs.py"], ["-m", "shop_jobs"]])
def test_functions_of_the_script_go_by_the_name_that_others_import(
    command: list[str], tmp_path: Path
) -> None:
    assert run_script(tmp_path, *command) == "shop_jobs:job"


def test_functions_of_a_script_that_nobody_can_import_are_refused(tmp_path: Path) -> None:
    answer = run_script(tmp_path, "shop-jobs.py")
    assert answer.startswith("refused: 'job' is defined in the script that is being run")
    assert "move it into a module" in answer


# --- declared again -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["decorated", "added", "replacing"])
def test_the_same_declaration_changes_nothing(way: str, sqlite_home: Home) -> None:
    def declare(scheduler: Scheduler) -> None:
        if way == "decorated":
            scheduler.task(every="10m", id="a")(jobs.note)
        else:
            replaces = way == "replacing"
            scheduler.add_task(jobs.note, every="10m", id="a", replace_existing=replaces)

    for _ in range(4):
        scheduler = sqlite_home.new()
        declare(scheduler)
        scheduler.start()
        declare(scheduler)
        scheduler.advance(minutes=7)
        scheduler.stop()
    scheduler = sqlite_home.start()
    assert ran(scheduler) == minutes(10, 20)
    assert scheduler.get_task("a").next_run_time == minutes(30)[0]


def test_the_same_declaration_keeps_a_pause(home: Home) -> None:
    for _ in range(3):
        scheduler = home.new()
        task = scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
        scheduler.start()
        task.pause("for now")
        scheduler.advance(minutes=5)
        info = task.snapshot()
        assert (info.schedule_state, info.paused_reason) == ("paused", "for now")
        scheduler.stop()
    assert jobs.calls == []


def test_the_same_declaration_keeps_what_an_operator_changed(sqlite_home: Home) -> None:
    scheduler = sqlite_home.new()
    scheduler.task(every="10m", tags=["old"])(jobs.note)
    scheduler.start()
    scheduler.get_task(NAME).update(every="1m", name="edited", max_instances=4)
    scheduler.stop()

    scheduler = sqlite_home.new()
    scheduler.task(every="10m", tags=["old"])(jobs.note)
    scheduler.start()
    info = scheduler.get_task(NAME).snapshot()
    assert (info.trigger_description, info.name) == ("every minute", "edited")
    assert info.max_instances == 4


def test_a_changed_declaration_is_merged_with_what_an_operator_changed(sqlite_home: Home) -> None:
    scheduler = sqlite_home.new()
    scheduler.task(every="10m", tags=["old"], max_instances=2)(jobs.note)
    scheduler.start()
    scheduler.get_task(NAME).update(every="1m", name="edited", max_instances=4)
    scheduler.stop()

    for _ in range(2):  # the second time it is the same declaration again
        scheduler = sqlite_home.new()
        scheduler.task(every="10m", tags=["new"], max_instances=3)(jobs.note)
        scheduler.start()
        info = scheduler.get_task(NAME).snapshot()
        assert info.tags == ("new",)  # changed in the code only
        assert info.name == "edited"  # changed by the operator only
        assert info.trigger_description == "every minute"  # as it is
        assert info.max_instances == 3  # changed by both: the code is newer
        scheduler.stop()


def test_a_changed_declaration_keeps_the_pause(sqlite_home: Home) -> None:
    for tags in (["old"], ["new"]):
        scheduler = sqlite_home.new()
        scheduler.task(every="10m", tags=tags)(jobs.note)
        scheduler.start()
        scheduler.pause_task(NAME)
        scheduler.stop()
    scheduler = sqlite_home.new()
    scheduler.task(every="20m", tags=tags)(jobs.note)
    scheduler.start()
    info = scheduler.get_task(NAME).snapshot()
    assert (info.schedule_state, info.trigger_description) == ("paused", "every 20 minutes")


def test_a_changed_schedule_begins_anew_and_loses_nothing(sqlite_home: Home) -> None:
    for every in ("10m", "30m"):
        scheduler = sqlite_home.new()
        scheduler.task(every=every)(jobs.note)
        scheduler.start()
        scheduler.advance(minutes=25)
        scheduler.stop()
        sqlite_home.clock.advance(minutes=20)
    scheduler = sqlite_home.start()
    scheduler.step()
    ranges = [
        (run.first_fire_time, run.last_fire_time, run.fire_count)
        for run in reversed(scheduler.get_runs())
    ]
    m = {number: minutes(number)[0] for number in (10, 20, 30, 40, 75)}
    assert ranges == [(m[10], m[10], 1), (m[20], m[20], 1), (m[30], m[40], 2), (m[75], m[75], 1)]


def test_a_change_without_leave_is_refused_and_leaves_all_as_it_was(sqlite_home: Home) -> None:
    sqlite_home.start().add_task(jobs.note, every="10m", id="a")
    scheduler = sqlite_home.new()
    scheduler.add_task(jobs.other, every="1m", id="b")
    scheduler.add_task(jobs.note, every="20m", id="a")
    with pytest.raises(ConflictingTaskError, match="replace_existing=True"):
        scheduler.start()
    assert scheduler.state == "new"
    assert [task.id for task in sqlite_home.start().get_tasks()] == ["a"]


def test_declarations_that_are_gone_from_the_code_are_kept(sqlite_home: Home) -> None:
    scheduler = sqlite_home.new()
    scheduler.task(every="10m")(jobs.note)
    scheduler.start()
    scheduler.stop()
    scheduler = sqlite_home.start()
    scheduler.advance(minutes=10)
    assert len(jobs.calls) == 1


def test_a_first_time_that_is_dealt_with_is_not_begun_again_by_a_changed_declaration(
    sqlite_home: Home,
) -> None:
    for every in ("10m", "20m", "20m"):
        scheduler = sqlite_home.new()
        scheduler.add_task(
            jobs.note, every=every, id="a", replace_existing=True,
            next_run_time="2026-01-01 00:05",
        )  # fmt: skip
        scheduler.start()
        scheduler.advance(hours=1)
        scheduler.stop()
    runs = list(reversed(sqlite_home.start().get_runs()))
    firsts = [run.first_fire_time for run in runs]
    assert firsts[0] == minutes(5)[0]
    assert firsts == sorted(set(firsts), key=lambda each: each or START)
    assert all(run.fire_count == 1 for run in runs)


def test_a_declared_one_shot_is_done_once(sqlite_home: Home) -> None:
    for _ in range(3):
        scheduler = sqlite_home.new()
        scheduler.task(at="2026-01-01 00:10")(jobs.note)
        scheduler.start()
        scheduler.advance(minutes=30)
        scheduler.stop()
    assert len(jobs.calls) == 1


def test_a_declared_one_shot_is_done_once_even_when_its_history_is_pruned(
    sqlite_home: Home,
) -> None:
    settings = LoopSettings(threaded=False, result_ttl_us=3600 * 10**6)
    for _ in range(4):
        scheduler = sqlite_home.new(settings=settings)
        scheduler.task(at="2026-01-01 00:10")(jobs.note)
        scheduler.start()
        scheduler.advance(hours=3)
        scheduler.advance(hours=3)
        scheduler.stop()
    assert len(jobs.calls) == 1


def test_the_same_id_at_the_same_instant_is_another_task(sqlite_home: Home) -> None:
    for number in range(3):
        scheduler = sqlite_home.start()
        scheduler.add_task(jobs.note, id="a", args=[number])
        scheduler.step()
        scheduler.remove_task("a")
        scheduler.stop()
    assert jobs.calls == [(0,), (1,), (2,)]


# --- pending ------------------------------------------------------------------------------------


def test_declaring_touches_no_store(sqlite_home: Home) -> None:
    scheduler = sqlite_home.new()
    scheduler.task(every="1m")(jobs.note)
    task = scheduler.add_task(jobs.other, "interval", minutes=1, id="a", tags=["x"])
    info = task.snapshot()
    assert (info.schedule_state, info.store) == ("pending", "default")
    assert [each.schedule_state for each in scheduler.get_tasks()] == ["pending"] * 2
    assert scheduler.get_runs() == []
    assert scheduler.snapshot().pending_tasks == 2
    assert scheduler.preview(task, 1) == minutes(1)
    assert not sqlite_home.file.exists()
    assert list(sqlite_home.file.parent.iterdir()) == []
    scheduler.start()
    assert [each.schedule_state for each in scheduler.get_tasks()] == ["scheduled"] * 2
    assert scheduler.snapshot().pending_tasks == 0


def test_pending_tasks_can_be_changed_and_removed(home: Home) -> None:
    scheduler = home.new()
    task = scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
    task.update(name="b", args=[1]).reschedule("interval", minutes=2)
    task.pause()
    scheduler.add_task(jobs.other, "interval", minutes=1, id="gone").remove()
    scheduler.start()
    info = task.snapshot()
    assert (info.name, info.args, info.schedule_state) == ("b", [1], "paused")
    assert info.trigger_description == "every 2 minutes"
    task.resume()
    scheduler.advance(minutes=2)
    assert jobs.calls == [(1,)]
    with pytest.raises(TaskNotFoundError):
        scheduler.get_task("gone")


def test_a_pending_task_that_is_declared_again_stays_as_it_is(home: Home) -> None:
    scheduler = home.new()
    task = scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
    task.pause()
    task.update(name="edited")
    scheduler.add_task(jobs.note, "interval", minutes=1, id="a")
    scheduler.start()
    info = task.snapshot()
    assert (info.schedule_state, info.name) == ("paused", "edited")


def test_pending_tasks_are_found_like_any_other(home: Home) -> None:
    scheduler = home.new()
    scheduler.add_task(jobs.note, "interval", minutes=1, id="a", tags=["x"])
    scheduler.add_task(jobs.other, "cron", hour=1, id="b", name="nightly")
    for filters, found in [
        ({"tag": "x"}, ["a"]),
        ({"search": "night"}, ["b"]),
        ({"trigger": "cron"}, ["b"]),
        ({"state": "pending"}, ["a", "b"]),
        ({"state": "scheduled"}, []),
        ({"sort": "-id"}, ["b", "a"]),
        ({"limit": 1}, ["a"]),
        ({"limit": 1, "offset": 1}, ["b"]),
    ]:
        assert [task.id for task in scheduler.get_tasks(**filters)] == found, filters  # type: ignore[arg-type]


def test_a_pending_task_can_not_be_run_yet(home: Home) -> None:
    task = home.new().add_task(jobs.note, "interval", minutes=1)
    with pytest.raises(SchedulerStateError, match=r"start the scheduler, or connect\(\)"):
        task.run()


def test_the_time_of_a_pending_task_counts_from_the_connection(home: Home) -> None:
    scheduler = home.new()
    task = scheduler.add_task(jobs.note, "interval", minutes=10)
    home.clock.advance(hours=1)
    scheduler.start()
    assert task.next_run_time == minutes(70)[0]


def test_importing_a_module_that_declares_tasks_touches_no_store(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        textwrap.dedent("""
            from tickwork import Scheduler
            scheduler = Scheduler("sqlite:///tasks.db")
            @scheduler.task(every="5m")
            def clean(): ...
            scheduler.add_task(clean, "cron", hour=3, id="nightly")
        """)
    )
    subprocess.run(
        [sys.executable, "-c", "import shop, sys; assert 'sqlalchemy.orm' not in sys.modules"],
        cwd=tmp_path,
        check=True,
        timeout=30,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert [file.name for file in tmp_path.iterdir()] == ["shop.py"]


# --- clients ------------------------------------------------------------------------------------


def test_a_client_does_everything_but_fire(sqlite_home: Home) -> None:
    worker = sqlite_home.start()
    worker.step()
    with sqlite_home.new().connect() as client:
        assert client.state == "connected"
        task = client.add_task(jobs.note, "interval", minutes=1, id="a")
        client.add_task(jobs.other, "interval", minutes=1, id="b").pause()
        sqlite_home.clock.advance(minutes=3)
        assert jobs.calls == []
        assert client.nodes()[0].host
        assert client.get_runs() == []
        task.reschedule("interval", minutes=5)
        assert [run.status for run in client.get_runs()] == ["pending"]
        run = task.run()
        worker.step()
        assert run.snapshot().status == "completed"
        assert len(jobs.calls) == 2
        client.remove_task("b")
    assert client.state == "new"
    assert [task.id for task in worker.get_tasks()] == ["a"]
    assert client.get_tasks() == []


def test_a_client_can_be_connected_again_and_started(sqlite_home: Home) -> None:
    scheduler = sqlite_home.new()
    for _ in range(2):
        with scheduler.connect():
            scheduler.add_task(jobs.note, "interval", minutes=1)
        with pytest.raises(SchedulerStateError, match="connect"):
            scheduler.nodes()
    with scheduler:
        scheduler.advance(minutes=1)
    assert len(jobs.calls) == 1


def test_a_connected_scheduler_is_no_node(home: Home) -> None:
    with home.new().connect() as client:
        assert client.nodes() == []
        with pytest.raises(SchedulerStateError, match="start"):
            client.pause()
        with pytest.raises(SchedulerStateError, match="start"):
            client.step()


def test_a_task_of_another_process_is_executed_without_being_declared_here(
    sqlite_home: Home,
) -> None:
    with sqlite_home.new().connect() as client:
        client.add_task(jobs.note, "interval", minutes=1, args=["far"])
    worker = SteppedScheduler(sqlite_home.store, clock=sqlite_home.clock, settings=STEPPED)
    with worker:
        worker.advance(minutes=2)
    assert jobs.calls == [("far",)] * 2


# --- what isn't stored ---------------------------------------------------------------------------


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("connected", [False, True])
def test_the_gate_is_the_one_that_was_said_last(*, replaces: bool, connected: bool) -> None:
    """It isn't part of the definition that is compared: locks and leaders are objects."""
    scheduler = SteppedScheduler()
    if connected:
        scheduler.start()
    with scheduler:
        for options in ({"scope": "node"}, {"max_lock_seconds": 60}, {"max_lock_seconds": 90}):
            scheduler.add_task(
                jobs.note, "interval", minutes=1, start_at=START, id="a",
                replace_existing=replaces, **options,
            )  # fmt: skip
        scheduler.advance(minutes=1)
        (lock,) = scheduler.locks_at().store.locks()
        assert lock.forgotten_us - lock.acquired_us == 120_000_000
        gate = scheduler._book.record("local", "a")[0].definition.gate  # type: ignore[union-attr]  # noqa: SLF001  nothing shows it
        assert gate.max_lock_us == 90_000_000
