"""A process of its own that wants a lock of a file store.

`python -m tests.unit.stores.file_locker FOLDER NAME KIND`

As "counter" it adds lines to a file, again and again, each time under the lock, in a way that loses
lines if anybody else does so at the same time. As "holder" it gets the lock once and keeps it.
"""

import sys
from pathlib import Path

from tests.unit.stores.file_writer import client
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.stores.file import FileStore
from tickwork.testing.store_contract.bench import LEASE_US

__all__ = ["LOCK", "ROUNDS", "lines_of"]

LOCK, ROUNDS = "door", 40


def lines_of(folder: str) -> Path:
    """Return the file that counters add lines to."""
    return Path(folder) / "lines"


def acquired(store: FileStore, owner: str) -> LockRecord:
    """Ask until we have it."""
    request = LockRequest(LOCK, owner, LEASE_US)
    while (lock := store.acquire_lock(request)).owner != owner:
        continue
    return lock


def _count(store: FileStore, folder: str, name: str) -> None:
    file = lines_of(folder)
    for number in range(ROUNDS):
        owner = f"{name} {number}"
        lock = acquired(store, owner)
        file.write_text(f"{file.read_text()}{lock.fence}\n")
        assert store.renew_lock(LOCK, owner, 0)


def _hold(store: FileStore, name: str) -> None:
    print(acquired(store, name).fence, flush=True)
    sys.stdin.read()


def main(folder: str, name: str, kind: str) -> None:
    bench = client(folder, name)
    assert isinstance(bench.store, FileStore)
    if kind == "counter":
        _count(bench.store, folder, name)
    else:
        _hold(bench.store, name)
    bench.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
