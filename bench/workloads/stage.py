"""What workloads share: a place for files, and a loop to be on for those who call coroutines."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.contenders import Contender, contender
from bench.spec import Spec

__all__ = ["database", "filled_database", "on_stage"]


def on_stage(
    spec: Spec,
    begin: Callable[[Contender], Any],
    end: Callable[[Contender, Any], dict[str, Any]],
) -> dict[str, Any]:
    """Call `begin` where the contender is to be started, then `end` off its event loop.

    What `begin` returned is handed to `end`.
    """
    made = contender(spec.contender)
    if spec.work == "coroutine":

        async def main() -> dict[str, Any]:
            begun = begin(made)
            return await asyncio.to_thread(end, made, begun)

        return asyncio.run(main())
    return end(made, begin(made))


@contextmanager
def database(spec: Spec) -> Iterator[Path | None]:
    """Yield the file of a fresh database, None where the store is memory."""
    if spec.store == "memory":
        yield None
        return
    with TemporaryDirectory(prefix="tickwork-bench-", dir=spec.folder) as folder:
        yield Path(folder) / "tasks.db"


@contextmanager
def filled_database(spec: Spec) -> Iterator[Path]:
    """Yield a copy of a database with the contender's tasks, which is made only once."""
    assert spec.folder is not None
    original = Path(spec.folder) / f"{spec.contender}-{spec.count}.db"
    if not original.exists():
        filling = replace(spec, workload="fill").to_json()
        subprocess.run(
            [sys.executable, "-m", "bench.child", filling], check=True, stdout=subprocess.DEVNULL
        )
    with TemporaryDirectory(prefix="tickwork-bench-", dir=spec.folder) as folder:
        yield Path(shutil.copy(original, folder))
