"""A process that runs a real scheduler on a store that others share; started by `Cluster`.

`python -m tests.cluster.worker CONFIG`, where CONFIG is the path of the JSON text of a
`WorkerConfig`. It says `ready` when it is started, stops cleanly on SIGTERM (and then says what
the stop left, and which faults there were), and ends at once when its standard input is closed, so
that no worker outlives the test that started it.
"""

import json
import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tests.cluster.clocks import WrongClock
from tests.cluster.faults import Faults, faulty
from tests.cluster.mishaps import Mishap, with_mishaps
from tests.cluster.recording import ExecutionLog, RecordingEventLoop, RecordingThreadPool
from tickwork import Scheduler
from tickwork.model.instants import SECOND
from tickwork.scheduler.loop import LoopSettings
from tickwork.testing import FaultyStore
from tickwork.wiring import build_store

__all__ = ["WorkerConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What a worker is told.

    `log` is where it writes its executions down; its clock is fast by `fast_s`.
    """

    store: str | dict[str, Any]
    log: str
    lease_s: float = 2.0
    beat_s: float = 0.5
    poll_s: float = 0.1
    prune_s: float = 60.0
    max_workers: int = 8
    stop_within_s: float = 10.0
    fast_s: float = 0.0
    faults: Faults | None = None
    mishaps: tuple[Mishap, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "WorkerConfig":
        """Return what `write` wrote."""
        words: dict[str, Any] = json.loads(path.read_text())
        mishaps = tuple(Mishap(**each) for each in words.pop("mishaps"))
        faults = words.pop("faults")
        return cls(**words, faults=faults and Faults(**faults), mishaps=mishaps)

    def write(self, path: Path) -> None:
        """Write it for the worker."""
        words = {each.name: getattr(self, each.name) for each in fields(self)}
        words["faults"] = self.faults and self.faults._asdict()
        words["mishaps"] = [each._asdict() for each in self.mishaps]
        path.write_text(json.dumps(words))

    def settings(self) -> LoopSettings:
        """Return how the loop is to work; no history is pruned before it was checked."""
        return LoopSettings(
            lease_us=round(self.lease_s * SECOND),
            beat_us=round(self.beat_s * SECOND),
            poll_us=round(self.poll_s * SECOND),
            prune_us=round(self.prune_s * SECOND),
            max_history=10**6,
            # Each end by a thread of its own in every other process, also a single one.
            aside_from=os.getpid() % 2 or None,
        )


def _end_with_parent() -> None:
    # Not sys.stdin, whose lock a reading thread would hold at the end of a clean stop.
    os.read(0, 1)
    os._exit(3)


def main(config: WorkerConfig) -> None:
    """Run a scheduler until a signal comes."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log = ExecutionLog(Path(config.log))
    store = build_store(config.store)
    if config.faults:
        store = faulty(store, config.faults)
    scheduler = Scheduler(
        with_mishaps(store, config.mishaps),
        executors={
            "threadpool": RecordingThreadPool(log, config.max_workers),
            "asyncio": RecordingEventLoop(log),
        },
        clock=WrongClock(config.fast_s),
        settings=config.settings(),
    )
    scheduler.start()
    print("ready", flush=True)
    stopping.wait()
    report = scheduler.stop(timeout=config.stop_within_s)
    print("stopped", json.dumps(report._asdict()), flush=True)
    if isinstance(store, FaultyStore):
        print("faults", json.dumps([*store.faults.items()]), flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    main(WorkerConfig.read(Path(sys.argv[1])))
