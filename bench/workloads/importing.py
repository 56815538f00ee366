"""Importing what one schedules with, in a fresh interpreter: milliseconds, and who comes along.

Tickwork's names are imported when they are used. So `import tickwork` is measured, and, of
everybody, importing and making a scheduler, which opens nothing yet.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from bench.spec import Spec

__all__ = ["measure"]

_STATEMENTS: Mapping[str, Mapping[str, str]] = {
    "tickwork": {
        "import_ms": "import tickwork",
        "ready_ms": "from tickwork import Scheduler; Scheduler('memory://')",
    },
    "apscheduler": {
        "ready_ms": "from apscheduler.schedulers.asyncio import AsyncIOScheduler as S; S()"
    },
    "apscheduler4": {"ready_ms": "from apscheduler import AsyncScheduler as S; S()"},
    "asyncz": {"ready_ms": "from asyncz.schedulers.asyncio import AsyncIOScheduler as S; S()"},
    "huey": {"ready_ms": "from huey import MemoryHuey; MemoryHuey()"},
    "procrastinate": {
        "ready_ms": "from procrastinate import App, PsycopgConnector as C; App(connector=C())"
    },
    "rq": {"ready_ms": "from rq import Queue; from redis import Redis; Queue(connection=Redis())"},
}
_DRIVERS = ("sqlite3", "psycopg", "redis", "pymongo", "pymysql", "sqlalchemy", "alembic")
_PROGRAM = """
import json, sys, time
begun = time.perf_counter()
{statement}
took_ms = 1_000 * (time.perf_counter() - begun)
print(json.dumps([took_ms, [name for name in {drivers!r} if name in sys.modules]]))
"""


def measure(spec: Spec) -> dict[str, Any]:
    """Return milliseconds for each statement, and the store drivers that were imported by it."""
    found: dict[str, Any] = {}
    for figure, statement in _STATEMENTS[spec.contender].items():
        took = [_imported(statement) for _ in range(spec.count)]
        found[figure] = statistics.median(took_ms for took_ms, _ in took)
        found[f"{figure}_drivers"] = took[0][1]
        found["drivers"] = len(took[0][1])
    return found


def _imported(statement: str) -> tuple[float, list[str]]:
    program = _PROGRAM.format(statement=statement, drivers=_DRIVERS)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took_ms, drivers = json.loads(done.stdout)
    return took_ms, drivers
