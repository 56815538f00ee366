"""What may happen to the processes of a cluster; a test file for each kind of store inherits this.

Each scenario ends the same way: schedules come to their end, the cluster is left to catch up, and
the checker compares what should have fired, what the store says and what was executed.
"""

import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from tests.cluster.changes import Changes
from tests.cluster.cluster import Cluster, Worker, now_us, until
from tests.cluster.mishaps import Mishap
from tests.cluster.schedules import FIRES_A_SECOND, Every, a_mixture
from tickwork.model.instants import SECOND
from tickwork.model.policies import Delivery, RunState, ScheduleState
from tickwork.scheduler.planner import CRASHES

__all__ = ["ClusterScenarios"]

_BEGIN_IN_S = 1.0
"""How long after adding its tasks a scenario's first fire time comes."""

_REST_S = 30.0
"""Within which time the cluster must have caught up with everything."""

_OWED_US = 5 * SECOND
"""How far a disturbed cluster may be behind in its planning when its tasks are paused."""

_NEVER_US = 2**52
_MS = 1_000
_QUICK: dict[str, Any] = {"lease_s": 1.0, "beat_s": 0.25}
_ALONE = "only_some_know"
"""A module that is importable only where a test says so."""


class Size(NamedTuple):
    """How much of a scenario: tasks that fire for so long, disturbed so many times."""

    tasks: int
    length_s: float
    blows: int
    rest_s: float = _REST_S


def sizes(short: Size, long: Size) -> pytest.MarkDecorator:
    """Run a scenario short in `make check`, and long in `make soak`."""
    return pytest.mark.parametrize(
        "size",
        [pytest.param(short, id="short"), pytest.param(long, id="long", marks=pytest.mark.soak)],
    )


SHORT = Size(tasks=24, length_s=5.0, blows=3)
LONG = Size(tasks=48, length_s=50.0, blows=20, rest_s=120.0)


def seeds(count: int) -> pytest.MarkDecorator:
    """Run a scenario with a fixed seed, or with that of the environment."""
    told = os.environ.get("TICKWORK_TEST_SEED")
    return pytest.mark.parametrize("seed", [int(told)] if told else range(1, count + 1))


class ClusterScenarios:
    """Give a fixture `url`, of an empty store."""

    @pytest.fixture
    def cluster(self, url: str, tmp_path: Path) -> Iterator[Cluster]:
        with Cluster(url, tmp_path) as cluster:
            yield cluster

    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A path with a module on it that is importable here, and where a worker is told of it."""
        place = tmp_path / "modules"
        place.mkdir()
        (place / f"{_ALONE}.py").write_text("def work():\n    pass\n")
        monkeypatch.syspath_prepend(place)
        monkeypatch.delitem(sys.modules, _ALONE, raising=False)
        return place

    # --- blows --------------------------------------------------------------------------------

    @seeds(1)
    @sizes(SHORT, LONG)
    def test_killed_at_random_nothing_is_lost_or_doubled(
        self, cluster: Cluster, size: Size, seed: int
    ) -> None:
        random = Random(seed)
        workers = [cluster.start("one"), cluster.start("two")]
        tasks = _add_mixture(cluster, random, size)
        for _ in range(size.blows):
            _work_on(cluster, random, size)
            victims = random.choice(([0], [1], [0], [1], [0, 1]))
            for victim in victims:
                cluster.kill(workers[victim])
            if len(victims) < len(workers):
                _work_on(cluster, random, size)
            else:
                _let_time_pass(random.uniform(0.5, 2.5))
            for victim in victims:
                workers[victim] = cluster.start(workers[victim].name)
        cluster.await_rest(size.length_s + size.rest_s)
        _check(cluster, tasks)

    @seeds(1)
    @sizes(SHORT._replace(blows=1), LONG._replace(blows=6))
    def test_stopped_longer_than_its_lease_it_does_no_harm(
        self, cluster: Cluster, size: Size, seed: int
    ) -> None:
        random = Random(seed)
        workers = [cluster.start("one"), cluster.start("two")]
        tasks = _add_mixture(cluster, random, size)
        for _ in range(size.blows):
            _work_on(cluster, random, size)
            frozen = random.choice(workers)
            frozen.signal(signal.SIGSTOP)
            until(frozen.stands, 5, f"{frozen.name} stands still")
            _await_lapse(cluster, frozen)
            frozen.signal(signal.SIGCONT)
        cluster.await_rest(size.length_s + size.rest_s)
        _check(cluster, tasks)

    @sizes(SHORT._replace(blows=1), LONG._replace(blows=8))
    def test_stopped_cleanly_it_leaves_nothing_to_recover(
        self, cluster: Cluster, size: Size
    ) -> None:
        random = Random(1)
        workers = [cluster.start("one"), cluster.start("two")]
        tasks = _add_mixture(cluster, random, size)
        for blow in range(size.blows):
            _work_on(cluster, random, size)
            leaving = workers[blow % 2]
            leaving.signal(signal.SIGTERM)
            assert leaving.reap() == 0, "a clean stop ends with status 0"
            assert leaving.said('stopped {"given_back": [], "still_running": []}')
            pids = [node.pid for node in cluster.reader.nodes()]
            assert leaving.pid not in pids, "it has signed off"
            workers[blow % 2] = cluster.start(leaving.name)
        cluster.await_rest(size.length_s + size.rest_s)
        _check(cluster, tasks)
        disturbed = [run for run in cluster.runs() if run.attempt > 1 or run.crashes]
        assert not disturbed, f"a clean stop disturbs no run: {disturbed[:5]}"

    # --- changes ------------------------------------------------------------------------------

    @sizes(SHORT._replace(tasks=12, length_s=6.5, blows=1), LONG._replace(blows=8))
    def test_changes_by_a_third_process_are_all_accounted_for(
        self, cluster: Cluster, size: Size, tmp_path: Path
    ) -> None:
        random = Random(1)
        workers = [cluster.start("one"), cluster.start("two")]
        tasks = _add_mixture(cluster, random, size)
        changes = Changes(tasks, random, now_us() + SECOND, size.length_s - 2.5)
        with changes.make(cluster, tmp_path) as under_way:
            for blow in range(size.blows):
                _work_on(cluster, random, size)
                cluster.kill(workers[blow % 2])
                workers[blow % 2] = cluster.start(workers[blow % 2].name)
            under_way.await_end(size.length_s + 30)
        cluster.await_rest(size.length_s + size.rest_s)
        report = cluster.verdict(under_way.expected())
        assert not report.flaws, f"\n{report}"

    def test_a_change_is_noticed_by_another_process_within_a_second(self, cluster: Cluster) -> None:
        cluster.start("one", poll_s=0.5, lease_s=5, beat_s=1)
        with cluster.client() as client:
            for number in range(3):
                task_id = f"now-{number}"
                client.add_task("tests.cluster.work:work", id=task_id)
                added_us = now_us()
                until(partial(_executed, cluster, task_id), 5, "it is executed", every_s=0.005)
                assert now_us() - added_us < SECOND
            start_us = now_us() + SECOND
            often = Every(id="often", interval_us=100 * _MS, start_us=start_us, end_us=_NEVER_US)
            client.add_task(**often.options())
            until(lambda: cluster.begun() > 8, 10, "it fires often")
            client.pause_task("often", reason="a test")
            paused_us = now_us()
            begun = cluster.begun()
            client.add_task("tests.cluster.work:work", id="after")
            until(partial(_executed, cluster, "after"), 5, "it goes on")
            late = [run for run in cluster.runs("often") if (run.fire_us or 0) > paused_us]
            assert not late, "what is paused doesn't fire"
            client.resume_task("often")
            until(lambda: cluster.begun() > begun + 5, 10, "it fires again")
            client.remove_task("often")
        cluster.await_rest(10)

    # --- poison, and functions that not everybody has -----------------------------------------

    def test_a_poison_task_ends_lost_and_the_innocent_go_on(self, cluster: Cluster) -> None:
        workers = [cluster.start(name, **_QUICK) for name in ("one", "two")]
        tasks = _add_mixture(cluster, Random(3), Size(12, 4.0, 0))
        with cluster.client() as client:
            client.add_task("tests.cluster.work:poison", id="poison")
        deaths = 0

        def is_over() -> bool:
            nonlocal deaths
            for at, worker in enumerate(workers):
                if not worker.alive:
                    deaths += 1
                    worker.reap()
                    workers[at] = cluster.start(worker.name, **_QUICK)
            return any(run.finished_us for run in cluster.runs("poison"))

        until(is_over, 30, lambda: f"poison is given up: {cluster.runs('poison')}")
        cluster.await_rest(_REST_S)
        (poison,) = cluster.runs("poison")
        assert poison.state is RunState.LOST
        assert poison.crashes == CRASHES
        executed = [each for each in cluster.executions() if each.task_id == "poison"]
        # The first death comes before a start is written down, unless that happened to be at once.
        assert len(executed) == deaths
        assert CRASHES <= deaths <= CRASHES + 1
        known = [run for run in cluster.runs() if run.task_id != "poison"]
        unjust = [run for run in known if run.crashes >= CRASHES]
        assert not unjust, f"innocents are not given up: {unjust}"
        tasks.append(
            Every(
                id="poison",
                interval_us=1,
                start_us=poison.fire_us or 0,
                end_us=poison.fire_us or 0,
            )
        )
        _check(cluster, tasks)

    def test_what_a_process_cannot_import_is_left_to_others_and_starves_nothing(
        self, cluster: Cluster, place: Path
    ) -> None:
        start_us = now_us() + round(_BEGIN_IN_S * SECOND)
        unknown = _regular(f"{_ALONE}:work", start_us, count=12)
        known = _regular(None, start_us, count=4)
        _add(cluster, [*unknown, *known])
        cluster.start("without", **_QUICK)
        until(lambda: cluster.begun() > 15, 15, "the known ones go on")
        assert not [each for each in cluster.executions() if each.task_id.startswith(_ALONE)]
        assert not [run for run in cluster.runs() if run.task_id.startswith(_ALONE)]
        for task in unknown:
            told = cluster.reader.get_task(task.id)
            assert told is not None
            assert _ALONE in (told.problem or ""), f"{task.id} shows why it doesn't go on"
        having = cluster.start("with", path=place, **_QUICK)
        until(lambda: _executed(cluster, _ALONE) > 10, 15, "the unknown ones go on")
        # Its runs are taken over by the one who can't execute them: they must wait, not block.
        cluster.kill(having)
        begun = cluster.begun()
        until(lambda: cluster.begun() > begun + 10, 15, "the known ones still go on")
        cluster.start("with", path=place, **_QUICK)
        _check_until_now(cluster, [*unknown, *known])

    # --- blows at the worst moment ------------------------------------------------------------

    def test_killed_in_the_middle_of_work_it_is_done_again_or_ends_lost(
        self, cluster: Cluster, tmp_path: Path
    ) -> None:
        worker = cluster.start("one", **_QUICK)
        _add_standing(cluster, tmp_path)
        cluster.kill(worker)
        cluster.start("two", **_QUICK)
        cluster.await_rest(_REST_S)
        for function in ("stand_once", "stand_once_async"):
            _check_done_again(cluster, f"{function}-at_least_once", crashes=1)
            _check_lost(cluster, f"{function}-at_most_once", crashes=1)

    def test_stopped_in_the_middle_of_work_it_is_done_again_or_ends_lost(
        self, cluster: Cluster, tmp_path: Path
    ) -> None:
        worker = cluster.start("one", **_QUICK, stop_within_s=0.5)
        _add_standing(cluster, tmp_path)
        worker.signal(signal.SIGTERM)
        assert worker.reap() == 0, "a clean stop ends with status 0"
        cluster.start("two", **_QUICK)
        cluster.await_rest(_REST_S)
        # A coroutine is ended and given back; a thread dies with its process, like in a crash.
        _check_done_again(cluster, "stand_once_async-at_least_once", crashes=0)
        _check_done_again(cluster, "stand_once-at_least_once", crashes=1)
        _check_lost(cluster, "stand_once_async-at_most_once", crashes=0)
        _check_lost(cluster, "stand_once-at_most_once", crashes=1)

    @pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
    def test_killed_at_the_edge_of_a_step_nothing_is_lost_or_doubled(
        self, cluster: Cluster, before: bool
    ) -> None:
        start_us = now_us() + round((_BEGIN_IN_S + 1) * SECOND)
        tasks = [
            Every(
                id=f"{delivery}-{number}",
                interval_us=(300 + 50 * number) * _MS,
                start_us=start_us,
                end_us=_NEVER_US,
                delivery=delivery,
                max_instances=1 + number % 2,
            )
            for delivery in Delivery
            for number in range(3)
        ]
        _add(cluster, tasks)
        cluster.start("steady", **_QUICK)
        steps = [("plan", False), ("finish", True), ("lease", False), ("finish", False)]
        for number, (step, only_marks) in enumerate(steps):
            task = tasks[3 + number % 3 if only_marks else number % 3]
            mishap = Mishap(step, task.id, before, signal.SIGKILL, only_marks)
            worker = cluster.start(f"dies-{step}", **_QUICK, mishaps=(mishap,))
            if step == "lease":
                _run_by_hand(cluster, task.id, worker)
            cluster.await_death(worker, 15)
        _check_until_now(cluster, tasks)

    @pytest.mark.parametrize("step", ["plan", "mark"])
    def test_stopped_inside_a_step_until_it_was_declared_dead_nothing_is_lost(
        self, cluster: Cluster, place: Path, step: str
    ) -> None:
        """What a dead node did in its last step must be found by somebody.

        Only the stopped one can execute the tasks, so that nobody does its work meanwhile; it dies
        for good just after the step in the middle of which it was stopped.
        """
        only_marks = step == "mark"
        delivery = Delivery.AT_MOST_ONCE if only_marks else Delivery.AT_LEAST_ONCE
        start_us = now_us() + round((_BEGIN_IN_S + 1) * SECOND)
        tasks = [
            Every(
                id=f"{_ALONE}-{number}",
                interval_us=500 * _MS,
                start_us=start_us,
                end_us=start_us + 2 * SECOND,
                delivery=delivery,
                function=f"{_ALONE}:work",
            )
            for number in range(3)
        ]
        _add(cluster, tasks)
        cluster.start("other", **_QUICK)
        method = "finish" if only_marks else step
        mishaps = (
            Mishap(method, tasks[0].id, True, signal.SIGSTOP, only_marks),
            Mishap(method, tasks[0].id, False, signal.SIGKILL, only_marks),
        )
        worker = cluster.start("stopped", path=place, **_QUICK, mishaps=mishaps)
        until(worker.stands, 15, "it stops itself")
        assert _await_lapse(cluster, worker), "others have noticed"
        worker.signal(signal.SIGCONT)
        cluster.await_death(worker, 15)
        cluster.start("next", path=place, **_QUICK)
        cluster.await_rest(10)
        _check(cluster, tasks)

    def test_many_at_most_once_runs_at_once_all_start(self, cluster: Cluster) -> None:
        cluster.start("one", max_workers=2)
        start_us = now_us() + round(_BEGIN_IN_S * SECOND)
        tasks = [
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
        _add(cluster, tasks)
        cluster.await_rest(10)
        _check(cluster, tasks)


# --- what scenarios have in common -------------------------------------------------------------


def _add(cluster: Cluster, tasks: list[Every]) -> None:
    with cluster.client() as client:
        client.add_tasks([task.options() for task in tasks])
    assert now_us() < min(task.start_us for task in tasks), "too slow to add tasks in time"


def _add_mixture(cluster: Cluster, random: Random, size: Size) -> list[Every]:
    start_us = now_us() + round(_BEGIN_IN_S * SECOND)
    tasks = a_mixture(random, size.tasks, start_us, size.length_s)
    _add(cluster, tasks)
    return tasks


def _add_standing(cluster: Cluster, folder: Path) -> None:
    """Add tasks that stand still the first time they are executed, and wait until they do."""
    names = [
        (function, str(delivery))
        for function in ("stand_once", "stand_once_async")
        for delivery in Delivery
    ]
    with cluster.client() as client:
        for function, delivery in names:
            task_id = f"{function}-{delivery}"
            client.add_task(
                f"tests.cluster.work:{function}",
                args=[str(folder / f"{task_id}.mark")],
                id=task_id,
                delivery=delivery,
            )
    until(
        lambda: sum(run.state is RunState.RUNNING for run in cluster.runs()) == len(names),
        10,
        "all are marked as running",
    )


def _check_done_again(cluster: Cluster, task_id: str, crashes: int) -> None:
    (run,) = cluster.runs(task_id)
    assert (run.state, run.attempt, run.crashes) == (RunState.COMPLETED, 2, crashes), run
    assert _executed(cluster, task_id) == 2


def _check_lost(cluster: Cluster, task_id: str, crashes: int) -> None:
    (run,) = cluster.runs(task_id)
    assert (run.state, run.attempt, run.crashes) == (RunState.LOST, 1, crashes), run
    assert "at_most_once" in (run.reason or "")
    assert _executed(cluster, task_id) == 1


def _regular(function: str | None, start_us: int, *, count: int) -> list[Every]:
    return [
        Every(
            id=f"{_ALONE if function else 'known'}-{number}",
            interval_us=250 * _MS,
            start_us=start_us,
            end_us=_NEVER_US,
            coalesce=("all", "latest")[number % 2],
            function=function,
        )
        for number in range(count)
    ]


def _run_by_hand(cluster: Cluster, task_id: str, worker: Worker) -> None:
    """Ask for runs that are leased without being planned, until a worker dies of one."""
    with cluster.client() as client:

        def dead() -> bool:
            if worker.alive:
                client.run_task(task_id)
            return not worker.alive

        until(dead, 15, f"{worker.name} leases a run", every_s=0.2)


def _work_on(cluster: Cluster, random: Random, size: Size) -> None:
    """Wait until a random number of executions has begun; all blows together find their time."""
    pace = round(FIRES_A_SECOND * size.tasks * size.length_s / (size.blows + 1))
    target = cluster.begun() + random.randint(5, pace)
    until(
        lambda: cluster.begun() >= target or not _schedules(cluster),
        60,
        "work goes on",
        every_s=0.003,
    )


def _let_time_pass(seconds: float) -> None:
    """Wait for fire times to be missed while nobody is there."""
    later_us = now_us() + round(seconds * SECOND)
    until(lambda: now_us() > later_us, seconds + 5, "time passes")


def _schedules(cluster: Cluster) -> int:
    return cluster.reader.counts()[ScheduleState.SCHEDULED.value]


def _await_lapse(cluster: Cluster, frozen: Worker) -> bool:
    """Wait until a worker that stands still was declared dead, and return whether it was.

    One that was stopped while it held the lock of a whole database can't be: nobody can write.
    Then its lease has been over for long enough, too.
    """
    ids = {node.id for node in cluster.reader.nodes() if node.pid == frozen.pid}
    end_us = now_us() + 5 * SECOND

    def lapsed() -> bool:
        return not ids & {node.id for node in cluster.reader.nodes()}

    assert ids, "the node is registered"
    until(lambda: lapsed() or now_us() > end_us, 10, "the lease is over")
    return lapsed()


def _executed(cluster: Cluster, prefix: str) -> int:
    return sum(each.task_id.startswith(prefix) for each in cluster.executions())


def _check_until_now(cluster: Cluster, tasks: list[Every]) -> None:
    """Pause tasks without end, let everything come to rest, and check what was due before."""
    expected = []
    with cluster.client() as client:
        for task in tasks:
            before_us = now_us()
            client.pause_task(task.id)
            times = range(task.start_us, now_us() + 1, task.interval_us)
            owed = frozenset(fire_us for fire_us in times if fire_us > before_us - _OWED_US)
            expected.append(task.expected(fire_times=times, optional=owed))
    cluster.await_rest(_REST_S)
    report = cluster.verdict(expected)
    assert not report.flaws, f"\n{report}"


def _check(cluster: Cluster, tasks: list[Every]) -> None:
    report = cluster.verdict([task.expected() for task in tasks])
    assert not report.flaws, f"\n{report}"
