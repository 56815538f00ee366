"""Changes that a third process makes to the tasks of a cluster, and what to expect after them."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Self

from tests.cluster.checker import Expected
from tests.cluster.cluster import ROOT, Cluster, until
from tests.cluster.schedules import Every
from tickwork.model.instants import SECOND

__all__ = ["Changes"]


@dataclass(frozen=True, slots=True)
class _Call:
    at_us: int
    method: str
    task: Every
    options: dict[str, Any]

    def words(self) -> list[Any]:
        if self.method == "add_task":
            options = {name: _plain(each) for name, each in self.task.options().items()}
            return [self.at_us, self.method, [], options]
        return [self.at_us, self.method, [self.task.id], self.options]


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


class Changes:
    """One change for each task in the middle of its life, of one sort after the other.

    Paused and resumed; paused, changed and resumed; removed; removed and added anew; given other
    policies; left alone, while another one like it is added.
    """

    def __init__(
        self, tasks: Sequence[Every], random: Random, begin_us: int, length_s: float
    ) -> None:
        self._tasks = tasks
        span_us = round(length_s * SECOND)
        calls: list[_Call] = []
        for number, task in enumerate(tasks):
            at_us = begin_us + random.randrange(span_us // 2)
            later_us = at_us + random.randrange(span_us // 4, span_us // 2)
            calls += _changes(number % 6, task, at_us, later_us)
        self._calls = sorted(calls, key=lambda call: call.at_us)

    def make(self, cluster: Cluster, folder: Path) -> "ChangesUnderWay":
        """Start the client process."""
        script = folder / "script.json"
        script.write_text(json.dumps([call.words() for call in self._calls]))
        return ChangesUnderWay(cluster, self._tasks, self._calls, script)


def _changes(sort: int, task: Every, at_us: int, later_us: int) -> list[_Call]:
    match sort:
        case 0 | 1:
            calls = [
                _Call(at_us, "pause_task", task, {"reason": "a test"}),
                _Call(later_us, "resume_task", task, {}),
            ]
            between_us = (at_us + later_us) // 2
            update = _Call(between_us, "update_task", task, {"max_instances": 2})
            return [*calls, update] if sort else calls
        case 2:
            return [_Call(at_us, "remove_task", task, {})]
        case 3:
            again = replace(task, start_us=later_us + SECOND)
            return [_Call(at_us, "remove_task", task, {}), _Call(later_us, "add_task", again, {})]
        case 4:
            return [_Call(at_us, "update_task", task, {"max_instances": 3, "coalesce": "all"})]
        case _:
            other = replace(task, id=f"like-{task.id}", start_us=at_us + SECOND)
            return [_Call(at_us, "add_task", other, {})]


class ChangesUnderWay:
    """The client process; a context manager that ends it."""

    def __init__(
        self, cluster: Cluster, tasks: Sequence[Every], calls: Sequence[_Call], script: Path
    ) -> None:
        self._cluster = cluster
        self._tasks = tasks
        self._calls = calls
        self._output = script.with_suffix(".out")
        self._errors = script.with_suffix(".err")
        store = json.dumps(cluster.store)
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.client", store, str(script)],
                cwd=ROOT,
                stdout=output,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def await_end(self, deadline_s: float) -> None:
        """Wait until all changes are made."""
        until(lambda: self._process.poll() is not None, deadline_s, "the client has made its calls")
        assert self._process.returncode == 0, self._errors.read_text()

    def expected(self) -> list[Expected]:
        """Return what is to be expected of all tasks, by how the calls were really made."""
        made = [json.loads(line) for line in self._output.read_text().splitlines()]
        calls: dict[tuple[str, str], tuple[_Call, int | None, int]] = {}
        for number, next_us, after_us in made:
            call = self._calls[number]
            calls[call.task.id, call.method] = (call, next_us, after_us)
        expected = []
        for task in self._tasks:
            removed, added = calls.get((task.id, "remove_task")), calls.get((task.id, "add_task"))
            old, new = self._generations(task.id) if added else (None, None)
            changed = (task.id, "update_task") in calls
            policies = {"max_instances": 3, "coalesce": None} if changed else {}
            if removed:
                expected.append(_removed(task, removed[1], removed[2], old))
            else:
                expected.append(task.expected(**policies))
            if added:
                expected.append(_added(added[0].task, added[2], new))
        ids = {task.id for task in self._tasks}
        for call, _, after_us in calls.values():
            if call.task.id not in ids:
                expected.append(_added(call.task, after_us, None))
        return expected

    def _generations(self, task_id: str) -> tuple[int, int]:
        """Return the generations of a task that was removed and added anew."""
        task = self._cluster.ask(lambda reader: reader.get_task(task_id))
        assert task is not None, f"{task_id} was added anew"
        before = {run.generation for run in self._cluster.runs(task_id)} - {task.generation}
        assert len(before) <= 1, f"{task_id} was made anew once: {before}"
        return (before.pop() if before else -1), task.generation


def _removed(task: Every, next_us: int | None, after_us: int, generation: int | None) -> Expected:
    """Expect a task that may have owed what wasn't planned just before, however much that is."""
    times = [fire_us for fire_us in task.fire_times() if fire_us <= after_us]
    owed = frozenset(at for at in times if next_us is not None and at >= next_us)
    return task.expected(fire_times=times, optional=owed, generation=generation, removed=True)


def _added(task: Every, after_us: int, generation: int | None) -> Expected:
    """Expect a task that may have been added too late for the first of its fire times."""
    early = frozenset(fire_us for fire_us in task.fire_times() if fire_us <= after_us)
    return task.expected(optional=early, generation=generation)
