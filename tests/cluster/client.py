"""A process that changes tasks while others execute them; started by a test.

`python -m tests.cluster.client STORE SCRIPT`: STORE is the JSON text of its URL or options, the
script a JSON list of `[at_us, method, args, options]`, each a call of a method of a connected
`Scheduler` at an instant. For each it prints a line of JSON: the index of the entry, and the
instants before and after the call.
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

from tickwork import Scheduler
from tickwork.model.instants import SECOND
from tickwork.scheduler.clock import SystemClock


def main(store: str | dict[str, Any], script: Path) -> None:
    """Make the calls of a script."""
    now_us = SystemClock().now_us
    with Scheduler(store).connect() as scheduler:
        for number, (at_us, method, args, options) in enumerate(json.loads(script.read_text())):
            left_s = (at_us - now_us()) / SECOND
            if left_s > 0:
                threading.Event().wait(left_s)
            before_us = now_us()
            getattr(scheduler, method)(*args, **options)
            print(json.dumps([number, before_us, now_us()]), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
