"""The machine that a run is made on: what it is, and how busy others keep it."""

import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Self

from bench.environments import PEERS, versions

__all__ = ["Watch", "described", "peers", "used_s"]

_PACKAGES = (
    "tickwork",
    "croniter",
    "psycopg",
    "redis",
    "sqlalchemy",
)
_STAT = Path("/proc/stat")


def described(folder: str) -> dict[str, str]:
    """Return versions and hardware."""
    machine = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "SQLite": sqlite3.sqlite_version,
        "disk": f"{_syncs_per_s(folder):,.0f} fsyncs a second",
    }
    return machine | {"tickwork": _listed({name: version(name) for name in _PACKAGES})}


def peers() -> dict[str, str]:
    """Return the versions in the environments of the peers."""
    found = {}
    for peer in PEERS:
        try:
            found[peer] = _listed(versions(peer))
        except FileNotFoundError as error:
            found[peer] = str(error)
    return found


def _listed(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in packages.items())


def _syncs_per_s(folder: str) -> float:
    """Return how often a second a small write reaches the disk, which bounds durable commits."""
    syncs = 100
    with tempfile.TemporaryFile(dir=folder) as file:
        since = time.perf_counter()
        for _ in range(syncs):
            file.write(b"x" * 4_096)
            file.flush()
            os.fsync(file.fileno())
        return syncs / (time.perf_counter() - since)


class Watch:
    """Measures what others take of the processors while a child of ours works.

    `servers_s` says what our servers have used so far: they are none of the others.
    """

    def __init__(self, servers_s: Callable[[], float]) -> None:
        self._servers_s = servers_s

    def __enter__(self) -> Self:
        self._before = _busy_s(), self._own_s(), time.perf_counter()
        self.others: float | None = None
        return self

    def __exit__(self, *_: object) -> None:
        busy_s, own_s, since = self._before
        if busy_s is not None and (busy_now_s := _busy_s()) is not None:
            own_s = self._own_s() - own_s
            elapsed_s = time.perf_counter() - since
            self.others = max(0.0, (busy_now_s - busy_s - own_s) / elapsed_s)

    def _own_s(self) -> float:
        times = os.times()
        return times.children_user + times.children_system + self._servers_s()


def _busy_s() -> float | None:
    if not _STAT.exists():
        return None
    user, nice, system, _idle, _waiting, irq, softirq, *_ = map(
        int, _STAT.read_text(encoding="ascii").splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def used_s(pid: int) -> float:
    """Return the processor time of a process, its children, and those that it has reaped."""
    ticks = 0
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(each.parent.name) == pid:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == pid:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")
