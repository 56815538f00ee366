"""Scenarios of everyday life: changes, poison, functions that not everybody has, many at once."""

import sys
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.cluster.changes import Changes
from tests.cluster.cluster import Cluster, now_us, until
from tests.cluster.schedules import Every, length_s
from tests.cluster.staging import (
    LONG,
    MS,
    NAMES,
    NEVER_US,
    QUICK,
    REST_S,
    SHORT,
    Case,
    Size,
    add,
    add_mixture,
    check,
    check_until_now,
    executed,
    sizes,
    work_on,
)
from tickwork.model.instants import SECOND
from tickwork.model.policies import Delivery, RunState
from tickwork.scheduler.planner import CRASHES

__all__ = ["ALONE", "Living", "module_elsewhere"]

ALONE = "only_some_know"
"""A module that is importable only where a test says so."""


def module_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a path with that module on it, importable here, and where a worker is told of it."""
    place = folder / "modules"
    place.mkdir()
    (place / f"{ALONE}.py").write_text("def work():\n    pass\n")
    monkeypatch.syspath_prepend(place)
    monkeypatch.delitem(sys.modules, ALONE, raising=False)
    return place


class Living(Case):
    @sizes(SHORT._replace(tasks=12, fires=300, blows=1), LONG._replace(blows=8))
    def test_changes_by_another_process_are_all_accounted_for(
        self, cluster: Cluster, size: Size, tmp_path: Path
    ) -> None:
        random = Random(1)
        workers = cluster.start_all(*NAMES)
        tasks = add_mixture(cluster, random, size)
        changes = Changes(tasks, random, now_us() + SECOND, length_s(tasks) - 2.5)
        with changes.make(cluster, tmp_path) as under_way:
            for blow in range(size.blows):
                work_on(cluster, random, size)
                victim = blow % len(workers)
                cluster.kill(workers[victim])
                workers[victim] = cluster.start(workers[victim].name)
            under_way.await_end(length_s(tasks) + REST_S)
        cluster.await_rest(length_s(tasks) + size.rest_s)
        report = cluster.verdict(under_way.expected())
        assert not report.flaws, f"\n{report}"

    def test_a_change_is_noticed_by_another_process_within_a_second(self, cluster: Cluster) -> None:
        cluster.start("one", poll_s=0.5, lease_s=5, beat_s=1)
        with cluster.client() as client:
            for number in range(3):
                task_id = f"now-{number}"
                client.add_task("tests.cluster.work:work", id=task_id)
                added_us = now_us()
                until(partial(executed, cluster, task_id), 5, "it is executed", every_s=0.005)
                assert now_us() - added_us < SECOND
            start_us = now_us() + SECOND
            often = Every(id="often", interval_us=100 * MS, start_us=start_us, end_us=NEVER_US)
            client.add_task(**often.options())
            until(lambda: cluster.begun() > 8, 10, "it fires often")
            client.pause_task("often", reason="a test")
            paused_us = now_us()
            begun = cluster.begun()
            client.add_task("tests.cluster.work:work", id="after")
            until(partial(executed, cluster, "after"), 5, "it goes on")
            late = [run for run in cluster.runs("often") if (run.fire_us or 0) > paused_us]
            assert not late, "what is paused doesn't fire"
            client.resume_task("often")
            until(lambda: cluster.begun() > begun + 5, 10, "it fires again")
            client.remove_task("often")
        cluster.await_rest(10)

    def test_a_poison_task_ends_lost_and_the_innocent_go_on(self, cluster: Cluster) -> None:
        workers = cluster.start_all(*NAMES, **QUICK)
        tasks = add_mixture(cluster, Random(3), Size(12, 200, 0))
        with cluster.client() as client:
            client.add_task("tests.cluster.work:poison", id="poison")
        deaths = 0

        def is_over() -> bool:
            nonlocal deaths
            for at, worker in enumerate(workers):
                if not worker.alive:
                    deaths += 1
                    worker.reap()
                    workers[at] = cluster.start(worker.name, **QUICK)
            return any(run.finished_us for run in cluster.runs("poison"))

        until(is_over, 30, lambda: f"poison is given up: {cluster.runs('poison')}")
        cluster.await_rest(REST_S)
        (poison,) = cluster.runs("poison")
        assert poison.state is RunState.LOST
        assert poison.crashes == CRASHES
        deadly = [each for each in cluster.executions() if each.task_id == "poison"]
        # The first death comes before a start is written down, unless that happened to be at once.
        assert len(deadly) == deaths
        assert CRASHES <= deaths <= CRASHES + 1
        known = [run for run in cluster.runs() if run.task_id != "poison"]
        unjust = [run for run in known if run.crashes >= CRASHES]
        assert not unjust, f"innocents are not given up: {unjust}"
        once_us = poison.fire_us or 0
        tasks.append(Every(id="poison", interval_us=1, start_us=once_us, end_us=once_us))
        check(cluster, tasks)

    def test_what_a_process_cannot_import_is_left_to_others_and_starves_nothing(
        self, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = module_elsewhere(tmp_path, monkeypatch)
        unknown = add(cluster, lambda start_us: _regular(f"{ALONE}:work", start_us, count=12))
        known = add(cluster, lambda start_us: _regular(None, start_us, count=4))
        cluster.start("without", **QUICK)
        until(lambda: cluster.begun() > 15, 15, "the known ones go on")
        assert not executed(cluster, ALONE)
        assert not [run for run in cluster.runs() if run.task_id.startswith(ALONE)]
        stored = {task.id: task for task in cluster.tasks()}
        for task in unknown:
            problem = stored[task.id].problem or ""
            assert ALONE in problem, f"{task.id} shows why it doesn't go on"
        having = cluster.start("with", path=place, **QUICK)
        until(lambda: executed(cluster, ALONE) > 10, 15, "the unknown ones go on")
        # Its runs are taken over by the one who can't execute them: they must wait, not block.
        cluster.kill(having)
        begun = cluster.begun()
        until(lambda: cluster.begun() > begun + 10, 15, "the known ones still go on")
        cluster.start("with", path=place, **QUICK)
        check_until_now(cluster, [*unknown, *known])

    def test_many_at_most_once_runs_at_once_all_start(self, cluster: Cluster) -> None:
        cluster.start("one", max_workers=2)
        tasks = add(cluster, _many_at_most_once)
        cluster.await_rest(10)
        check(cluster, tasks)


def _many_at_most_once(start_us: int) -> list[Every]:
    return [
        Every(
            id=f"once-{number}",
            interval_us=SECOND,
            start_us=start_us,
            end_us=start_us + SECOND,
            delivery=Delivery.AT_MOST_ONCE,
            duration_s=0.02,
        )
        for number in range(20)
    ]


def _regular(function: str | None, start_us: int, *, count: int) -> list[Every]:
    return [
        Every(
            id=f"{ALONE if function else 'known'}-{number}",
            interval_us=250 * MS,
            start_us=start_us,
            end_us=NEVER_US,
            coalesce=("all", "latest")[number % 2],
            function=function,
        )
        for number in range(count)
    ]
