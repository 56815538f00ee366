"""Not a workload: makes the database for those that need many stored tasks.

One task is overdue, all others are due in an hour. Peers add one by one: 100,000 durable commits
would take them minutes that nobody measures, so here their commits don't wait for the disk.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.contenders import Contender, Setup
from bench.spec import Spec
from bench.work import noop_coroutine, noop_function
from bench.workloads.stage import on_stage

__all__ = ["measure"]


def measure(spec: Spec) -> dict[str, Any]:
    """Make the database."""
    assert spec.folder is not None
    name = f"{spec.contender}-{spec.count}.db"
    unfinished, file = Path(spec.folder) / f"new-{name}", Path(spec.folder) / name
    on_stage(spec, lambda made: _fill(made, spec, unfinished), _end)
    # Who has closed its database leaves all of it in the one file that is copied.
    assert not unfinished.with_name(f"{unfinished.name}-wal").exists()
    unfinished.rename(file)
    return {}


def _fill(made: Contender, spec: Spec, file: Path) -> None:
    made.open(Setup(spec.store, str(file), spec.work, durable=False))
    function = noop_coroutine if spec.work == "coroutine" else noop_function
    made.add_hourly(function, spec.count - 1, bulk=True)
    made.add_once(function, 1, datetime.now(UTC) - timedelta(seconds=1))


def _end(made: Contender, _: Any) -> dict[str, Any]:
    made.close()
    return {}
