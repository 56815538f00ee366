"""Whatever fits into a record comes back as it was."""

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from tickwork.model.definition import Definition
from tickwork.model.instants import to_us
from tickwork.model.policies import (
    Coalesce,
    Delivery,
    Keep,
    Overlap,
    RunState,
    ScheduleState,
    Scope,
)
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Edit, Eligibility, PlannedRun, TaskQuery
from tickwork.testing.store_contract.bench import (
    MINUTE,
    T0,
    decide_never,
    definition,
    finished,
    given_back,
    moves_on,
    pending,
    runs_now,
    task,
)
from tickwork.testing.store_contract.case import StoreCase
from tickwork.triggers import CronTrigger, DateTrigger, IntervalTrigger

__all__ = ["ValuesContract"]

_FIRST = to_us(datetime.min.replace(tzinfo=UTC))
_LAST = to_us(datetime.max.replace(tzinfo=UTC))
_FAR = (_FIRST, _FIRST + 1, -1, 0, 1, T0 + 1, _LAST - 1, _LAST)
"""The first and the last microsecond that there is a date for, and others."""

_NAMES = (
    "plain",
    "with space",
    'it\'s "quoted"',
    "100% _like_ [a-z] \\ ^$",
    "{hash}tag:colon/slash",
    "Ünïcödé ✓ 時刻 🕰",
    "tab\tand\nline",
    "$dollar.dot",
    "'; DROP TABLE tasks; --",
    ":param %(name)s ?1",
    "x" * 150,
)


class ValuesContract(StoreCase):
    """The contract about what values survive."""

    def test_every_field_of_a_definition_comes_back(self) -> None:
        """Each changed by itself, and all together."""
        changes: dict[str, Any] = {
            "function": "shop.jobs:Räume.öffnen",
            "trigger": CronTrigger.from_crontab("*/5 8-18 * * mon-fri", "Europe/Berlin"),
            "name": "Näme",
            "payload": '{"args":["\'%s\'",null,1e-9],"kwargs":{"ö":"\\u2028"}}' + "x" * 100_000,
            "executor": "asyncio",
            "coalesce": Coalesce.ALL,
            "misfire_grace_us": 0,
            "max_instances": 1_000_000,
            "jitter_us": 1,
            "delivery": Delivery.AT_MOST_ONCE,
            "fixed_delay": True,
            "tags": ("b", "a", "ä"),
            "scope": Scope.NODE,
            "max_history": 0,
            "retries": 3,
            "retry_delay_us": 100_000,
            "backoff": 2.5,
            "max_delay_us": 0,
            "retry_jitter_us": 1,
            "retry_on": ("builtins.OSError", "shop.errors.Büsy"),
            "give_up_on": ("KeyError",),
            "timeout_us": 1,
            "result_ttl_us": 0,
            "keep": Keep.FAILURES,
            "overlap": Overlap.QUEUE,
            "max_queued": 1_000_000,
            "priority": -7,
            "concurrency_key": "customer:Ö",
            "concurrency_limit": 2,
            "key_template": "customer:{name}",
            "run_on_startup": True,
            "max_runs": 1,
            "pause_after_failures": 3,
            "decorated": True,
            "disposable": True,
            "trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 congo=t61r",
        }
        assert {*changes, "target", "gate"} == {each.name for each in fields(Definition)}
        with self.bench() as bench:
            tasks = [task(name, **{name: value}) for name, value in changes.items()]
            tasks.append(task("all", **changes))
            tasks += [
                task("date", trigger=DateTrigger("9999-12-31 23:59:59.999999", timezone="UTC")),
                task("odd", trigger=IntervalTrigger(seconds=0.000001)),
            ]
            bench.put(*tasks)
            assert bench.dump().tasks == {each.id: each for each in tasks}

    def test_every_field_of_a_task_comes_back(self) -> None:
        """Zero isn't None, and None isn't zero."""
        full = TaskRecord(
            id="full",
            generation=2**62,
            definition=definition(),
            state=ScheduleState.PAUSED,
            fire_us=1,
            due_us=2,
            anchor_us=3,
            planned_us=4,
            catchup_us=5,
            active=0,
            queued=0,
            declared="text",
            problem="no",
            paused_reason="because",
            created_us=6,
            updated_us=7,
        )
        bare = TaskRecord(id="bare", generation=0, definition=definition())
        zero = task("zero", 0, planned_us=0, catchup_us=0, declared="", problem="")
        with self.bench() as bench:
            bench.put(full, bare, zero)
            assert bench.dump().tasks == {"full": full, "bare": bare, "zero": zero}

    def test_instants_are_exact_however_far(self) -> None:
        """From the year 1 to 9999, to the microsecond, and in the right order."""
        with self.bench() as bench:
            bench.put(*(task(f"t{at}", each) for at, each in enumerate(_FAR)))
            found = bench.dump().tasks
            assert [found[f"t{at}"].due_us for at in range(len(_FAR))] == list(_FAR)
            bench.now_us = _FIRST
            assert bench.plan(decide_never, now_us=_FIRST - 1).next_us == _FIRST
            bench.now_us = _LAST
            leased = bench.plan(now_us=_LAST).leased
            assert [each.run.fire_us for each in leased] == list(_FAR)
            assert [(run.fire_us, run.due_us) for run in bench.runs()] == [(at, at) for at in _FAR]
            bench.finish(*(given_back(each.run, each.run.due_us or 0) for each in leased))
            again = bench.lease(now_us=_LAST).leased
            assert [each.run.fire_us for each in again] == list(_FAR)
            bench.finish(*(finished(each.run, finished_us=each.run.due_us or 0) for each in again))
            assert [run.finished_us for run in bench.runs()] == list(_FAR)

    def test_runs_far_away_wait_in_order(self) -> None:
        """Available ones are found by the microsecond, too."""
        with self.bench() as bench:
            bench.put(task(due_us=None))
            bench.edit(runs_now(*(pending(None, each) for each in reversed(_FAR))))
            for at in _FAR:
                assert bench.lease(now_us=at - 1).next_us == at
                [leased] = bench.lease(now_us=at).leased
                assert leased.run.due_us == at

    def test_names_are_only_names(self) -> None:
        """Quotes, percent signs, unicode, long ones: in ids, functions, executors and tags."""
        with self.bench() as bench:
            tasks = [
                task(name, tags=(name,), function=f"m:{name}", executor=name[:60], name=name)
                for name in _NAMES
            ]
            bench.put(*tasks)
            assert bench.dump().tasks == {each.id: each for each in tasks}
            mine = Eligibility(frozenset(name[:60] for name in _NAMES))
            room = dict.fromkeys(mine.executors, 5)
            for name, each in zip(_NAMES, tasks, strict=True):
                assert bench.task(name) == each
                assert [found.id for found in bench.reader.find_tasks(self._by(name))] == [name]
                only = Eligibility(
                    mine.executors,
                    frozenset(f"m:{other}" for other in _NAMES if other != name),
                    frozenset(_NAMES) - {name},
                )
                [leased] = bench.plan(eligibility=only, capacity=room).leased
                assert (leased.run.task_id, leased.run.function) == (name, f"m:{name}")
                assert bench.runs(name) == [leased.run]
                bench.finish(finished(leased.run, result=f'"{name}"', reason=name))
                assert (bench.run(leased.run).reason, bench.active(name)) == (name, (0, 0))
                bench.edit(lambda record: Edit(None, cancel_pending=record.id), name)
            assert bench.dump().tasks == {}

    @staticmethod
    def _by(name: str) -> TaskQuery:
        return TaskQuery(tag=name, search=name, function=f"m:{name}", executor=name[:60])

    def test_ids_differ_by_case_and_blanks(self) -> None:
        """They are compared character by character."""
        ids = ["task", "Task", "TASK", "tasK ", " task", "täsk", "tásk"]
        with self.bench() as bench:
            bench.put(*(task(each) for each in ids))
            assert set(bench.dump().tasks) == set(ids)
            assert len(bench.plan().leased) == len(ids)
            assert [len(bench.runs(each)) for each in ids] == [1] * len(ids)

    def test_long_texts_come_back_whole(self) -> None:
        """A megabyte of result, errors and reason."""
        text = "ä'%\\\n" * 200_000
        with self.bench() as bench:
            [run] = bench.leased(task())
            bench.finish(finished(run, RunState.FAILED, result=text, errors=text, reason=text))
            over = bench.run(run)
            assert (over.result, over.errors, over.reason) == (text, text, text)
            bench.edit(lambda record: Edit(record, [pending(None)]))

    def test_every_field_of_a_planned_run_comes_back(self) -> None:
        """Ranges and counts as large as there are."""
        with self.bench() as bench:
            bench.put(task())
            wide = PlannedRun(
                RunState.SKIPPED, T0, T0 + 1, _FIRST, _LAST, 10**15, exact=False, reason="ä" * 999
            )
            [run] = bench.plan(moves_on(wide, next_us=T0 + MINUTE)).recorded
            assert bench.runs() == [run]
            assert (run.first_us, run.last_us, run.fire_count) == (_FIRST, _LAST, 10**15)
            assert (run.exact, run.reason) == (False, "ä" * 999)
