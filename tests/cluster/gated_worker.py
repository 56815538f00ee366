"""A process with a task that has a gate; started by `tests/cluster/test_gated_tasks.py`.

`python -m tests.cluster.gated_worker CONFIG`, where CONFIG is the path of the JSON text of a
`GatedConfig`. It says `ready` when it is started, stops cleanly on SIGTERM and then writes down
what became of its fire times, and ends at once when its standard input is closed. Lines there are
times, in microseconds since 1970: where it has a clock that stands still, that is then set.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tickwork import Scheduler, current_run
from tickwork.coordination import LeaderElection, Lock
from tickwork.events import RunCompleted, RunEvent, RunSkipped
from tickwork.model.instants import from_us, to_us
from tickwork.scheduler.clock import SystemClock
from tickwork.testing import ManualClock

__all__ = ["TASK", "Execution", "GatedConfig", "Record"]

TASK = "gated"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedConfig:
    """What a worker is told.

    It appends to `record` which fire times it executes, and writes to `runs` what became of all of
    them. Its `options` are those of the task, its `leader` is how long an election takes. The
    first execution of all that finds no file `mark` makes one, and goes on until it is ended. With
    `standing_us` its clock stands there, and `known` is where it notes each fire time of which it
    knows what became.
    """

    store: str | dict[str, Any]
    record: str
    runs: str
    seconds: float
    options: dict[str, Any]
    leader: dict[str, float] | None = None
    sync: bool = False
    mark: str | None = None
    stop_within_s: float = 10.0
    standing_us: int | None = None
    known: str | None = None

    def write(self, path: Path) -> None:
        """Write it for the worker."""
        path.write_text(json.dumps(asdict(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """An execution of a fire time, as the process wrote it down when it began."""

    fire_us: int
    pid: int
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What became of a range of fire times in one process."""

    state: str
    fire_us: int
    first_us: int
    last_us: int
    count: int
    reason: str | None = field(default=None)


def _task(config: GatedConfig) -> Callable[[], Any]:
    record = os.open(config.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    now_us = SystemClock().now_us

    async def execute() -> None:
        fire_time = current_run().fire_time
        assert fire_time is not None
        words = Execution(fire_us=to_us(fire_time), pid=os.getpid(), at_us=now_us())
        os.write(record, (json.dumps(asdict(words)) + "\n").encode())
        if config.mark is not None and _is_first(config.mark):
            await asyncio.Event().wait()

    return execute


def _is_first(mark: str) -> bool:
    try:
        Path(mark).open("x").close()
    except FileExistsError:
        return False
    return True


def _write_runs(scheduler: Scheduler, path: str) -> None:
    """Write what became of fire times, the last ones first."""
    with scheduler.connect():
        records = []
        for run in scheduler.get_runs(task=TASK, limit=1_000_000):
            times = run.fire_time, run.first_fire_time, run.last_fire_time
            fire_us, first_us, last_us = (to_us(each) for each in times if each is not None)
            record = Record(
                state=run.status.value,
                fire_us=fire_us,
                first_us=first_us,
                last_us=last_us,
                count=run.fire_count,
                reason=run.reason,
            )
            records.append(asdict(record))
    Path(path).write_text(json.dumps(records))


def _follow_parent(clock: ManualClock | None) -> None:
    # Not sys.stdin, whose lock a reading thread would hold at the end of a clean stop.
    with open(0, "rb", buffering=0, closefd=False) as lines:
        for line in lines:
            assert clock is not None
            clock.set(int(line))
    os._exit(3)


def _note_known(scheduler: Scheduler, path: str) -> None:
    known = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(event: RunEvent) -> None:
        assert event.fire_time is not None
        os.write(known, f"{os.getpid()} {to_us(event.fire_time)}\n".encode())

    for kind in (RunCompleted, RunSkipped):
        scheduler.on(kind, note)


def main(config: GatedConfig) -> None:
    """Run a scheduler until a signal comes."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    clock = None if config.standing_us is None else ManualClock(from_us(config.standing_us))
    threading.Thread(target=_follow_parent, args=(clock,), daemon=True).start()
    options = dict(config.options)
    if config.leader is not None:
        options["leader"] = LeaderElection("cluster", **config.leader)  # type: ignore[arg-type]
    if config.sync:
        options["sync"] = Lock("cluster")
    scheduler = Scheduler(config.store, clock=clock)
    if config.known is not None:
        _note_known(scheduler, config.known)
    scheduler.add_task(_task(config), "interval", seconds=config.seconds, id=TASK, **options)
    scheduler.start()
    print("ready", flush=True)
    stopping.wait()
    report = scheduler.stop(timeout=config.stop_within_s)
    print("stopped", json.dumps(report._asdict()), flush=True)
    _write_runs(scheduler, config.runs)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    main(GatedConfig(**json.loads(Path(sys.argv[1]).read_text())))
