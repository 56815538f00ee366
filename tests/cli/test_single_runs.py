"""One run: what it is, what it logged, how far it is; cancelling and executing it again."""

import json

from tests.cli.conftest import Tickwork
from tickwork import Scheduler

FAILED = """\
{id}
  task        break
  status      failed
  source      scheduled
  fire time   2026-11-23 10:00:00 +01:00 (now)
  created     2026-11-23 10:00:00 +01:00 (now)
  started     2026-11-23 10:00:00 +01:00 (now)
  completed   2026-11-23 10:00:00 +01:00 (now)
  late        0.0 ms
  attempt     1

Attempt 1: ValueError: the machine
is broken
Traceback (most recent call last):
"""


def _failed(store: str) -> str:
    with Scheduler(store).connect() as scheduler:
        return scheduler.get_runs(task="break", limit=1)[0].id


def test_a_run_is_shown_with_its_traceback(tickwork: Tickwork, store: str) -> None:
    run_id = _failed(store)
    said = tickwork("show-run", run_id, "--store", store)
    assert said.out.startswith(FAILED.format(id=run_id))
    assert said.out.endswith("ValueError: the machine\nis broken\n")
    with Scheduler(store).connect() as scheduler:
        run = scheduler.get_run(run_id).model_dump(mode="json")
    assert json.loads(tickwork("show-run", run_id, "--store", store, "--json").out) == run
    first = tickwork("runs", "--ids", "--limit", "1", "--store", store).out.splitlines()[1]
    assert first.startswith(f"{run_id}  2026-11-23 10:00:00 +01:00")


def test_log_and_progress_say_so_where_there_is_nothing(tickwork: Tickwork, store: str) -> None:
    run_id = _failed(store)
    where = (run_id, "--store", store)
    assert tickwork("log", *where).out == f"Run {run_id} has logged nothing.\n"
    assert tickwork("progress", *where).out == f"Run {run_id} is failed: it doesn't say how far.\n"
    assert json.loads(tickwork("log", *where, "--json").out) == {
        "run_id": run_id, "status": "failed", "over": True, "lines": []
    }  # fmt: skip
    assert tickwork("log", "nope", "--store", store).exit_code == 3


def test_a_run_is_executed_again_and_cancelled(tickwork: Tickwork, store: str) -> None:
    run_id = _failed(store)
    said = tickwork("retry", run_id, "--store", store, "--json")
    again = json.loads(said.out)
    assert (again["retry_of"], again["status"]) == (run_id, "pending")
    cancelled = tickwork("cancel", again["id"], "--reason", "enough", "--store", store)
    assert cancelled == (0, f"Run {again['id']} is cancelled.\n", "")
    assert tickwork("cancel", run_id, "--store", store).exit_code == 4
    with Scheduler(store).connect() as scheduler:
        assert scheduler.get_run(again["id"]).reason == "enough"


def test_retry_is_of_one_run_or_of_many(tickwork: Tickwork, store: str) -> None:
    assert tickwork("retry", "--store", store).exit_code == 2
    assert tickwork("retry", "x", "--failed-since", "2h", "--store", store).exit_code == 2
    assert tickwork("retry", "x", "--dry-run", "--store", store).exit_code == 2


def test_progress_is_told_in_words() -> None:
    from tickwork.cli.single_runs import progress_text

    assert progress_text(None) == ""
    assert progress_text({"percent": 25.0, "done": 30, "total": 120, "message": "sending"}) == (
        "30 of 120 (25 %), sending"
    )
    assert progress_text({"percent": None, "done": 0, "total": 0}) == "0 of 0"
    assert progress_text({"percent": 7.4}) == "7 %"
