"""A process that changes tasks while others execute them; started by a test.

`python -m tests.cluster.client STORE SCRIPT`: STORE is the JSON text of its URL or options, the
script a JSON list of `[at_us, method, args, options]`, each a call of a method of a connected
`Scheduler` at an instant. For each it prints a line of JSON: the index of the entry, the first fire
time that wasn't planned just before a task was removed (else null), and the instant after the call.
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

from tickwork import Scheduler
from tickwork.model.instants import SECOND, to_us
from tickwork.scheduler.clock import SystemClock


def main(store: str | dict[str, Any], script: Path) -> None:
    """Make the calls of a script."""
    now_us = SystemClock().now_us
    with Scheduler(store).connect() as scheduler:
        for number, (at_us, method, args, options) in enumerate(json.loads(script.read_text())):
            left_s = (at_us - now_us()) / SECOND
            if left_s > 0:
                threading.Event().wait(left_s)
            next_us = _next_us(scheduler, *args) if method == "remove_task" else None
            getattr(scheduler, method)(*args, **options)
            print(json.dumps([number, next_us, now_us()]), flush=True)


def _next_us(scheduler: Scheduler, task_id: str) -> int | None:
    fire_time = scheduler.get_task_info(task_id).next_run_time
    return None if fire_time is None else to_us(fire_time)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
