"""Schedulers with and without the keys under which tasks were stored."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.scheduler import jobs
from tickwork.errors import ConflictError
from tickwork.testing import SteppedScheduler

OLD = {"old": "an old secret of enough bytes"}
NEW = {"new": "a new secret of enough bytes!"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tasks.db"


def scheduler(url: str, keys: Any) -> SteppedScheduler:
    return SteppedScheduler(url, signing_keys=keys)


def add(url: str, keys: Any) -> None:
    with scheduler(url, keys).connect() as mine:
        mine.add_task(jobs.note, "interval", minutes=1, id="t", args=["signed"])


@pytest.mark.parametrize("keys", [None, NEW])
def test_a_task_under_an_unknown_key_is_shown_and_kept_and_not_executed(
    url: str, keys: Any
) -> None:
    add(url, OLD)
    with scheduler(url, keys) as mine:
        mine.advance(minutes=5)
        [info] = mine.get_tasks()
        assert info.id == "t"
        assert "signed with the key 'old'" in (info.problem or "")
        with pytest.raises(ConflictError):
            mine.run_task("t")
    jobs.calls.clear()
    with scheduler(url, OLD) as mine:
        mine.advance(minutes=5)
        assert [run.fire_count for run in mine.get_runs()] == [1] * 5
    assert jobs.calls == [("signed",)] * 5


def test_after_signing_again_old_keys_may_go(url: str) -> None:
    add(url, OLD)
    with scheduler(url, NEW | OLD).connect() as mine:
        mine.update_task("t", max_instances=2)
        assert mine.sign_again() == 1
    with scheduler(url, NEW).connect() as mine:
        [info] = mine.get_tasks()
        assert (info.problem, info.max_instances) == (None, 2)
        # Declared as before: the operator's edit holds.
        mine.add_task(
            jobs.note, "interval", minutes=1, id="t", args=["signed"], replace_existing=True
        )
        assert mine.get_task("t").snapshot().max_instances == 2
