"""A process of its own that takes a lock on a file.

`python -m tests.unit.coordination.file_holder PATH KIND`

As "holder" it says `held`, and keeps the lock until its input is closed. As "counter" it adds to
the number in a file beside it, again and again, in a way that loses some if anybody else does so
at the same time. As "parent" it forks a child that outlives it, and then keeps the lock; it prints
the child's id.
"""

import os
import sys
from pathlib import Path

from tickwork.coordination import FileLockProtected

__all__ = ["ROUNDS", "number_beside"]

ROUNDS = 200


def number_beside(path: Path) -> Path:
    """Return the file with the number."""
    return path.with_suffix(".number")


def _count(lock: FileLockProtected) -> None:
    number = number_beside(lock.path)
    for _ in range(ROUNDS):
        with lock.protected() as taken:
            assert taken
            number.write_text(str(int(number.read_text()) + 1))


def _fork(lock: FileLockProtected) -> None:
    assert lock.acquire()
    child = os.fork()
    if child == 0:
        # Ends with the test, which has the other end of its input.
        sys.stdin.read()
        os._exit(0)
    print("held", child, flush=True)
    os.waitpid(child, 0)


def main(path: str, kind: str) -> None:
    lock = FileLockProtected(path)
    if kind == "counter":
        _count(lock)
    elif kind == "parent":
        _fork(lock)
    else:
        with lock.protected() as taken:
            print("held" if taken else "refused", lock.path, flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
