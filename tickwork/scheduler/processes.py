"""Where a scheduler must not be started: in the children of process pools.

Such a child imports the application's modules, and would fire everything once more, invisibly.
"""

import multiprocessing
import os

from tickwork.errors import SchedulerStateError

__all__ = ["refuse_pool_child"]

_MARK = "TICKWORK_POOL_CHILD"
_POOLS = ("concurrent.futures.process", "multiprocessing.pool", "pebble.")
_ADVICE = "start it in the main process only, for a script under `if __name__ == '__main__':`"


def refuse_pool_child() -> None:
    """Raise in a child of a process pool, or in a child that is still importing its parent."""
    if os.environ.get(_MARK):
        raise SchedulerStateError(f"this is a child of tickwork's process pool; {_ADVICE}")
    if multiprocessing.parent_process() is None:
        return
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):
        raise SchedulerStateError(
            f"this process is still importing the main module of its parent; {_ADVICE}"
        )
    target = getattr(process, "_target", None)
    if str(getattr(target, "__module__", "")).startswith(_POOLS):
        raise SchedulerStateError(f"this is a child of a process pool; {_ADVICE}")
