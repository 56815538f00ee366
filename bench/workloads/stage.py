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

from bench.contenders import Contender, Setup, contender
from bench.servers import emptied
from bench.spec import Spec

__all__ = ["filled_database", "fresh_store", "on_stage"]


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
def fresh_store(spec: Spec) -> Iterator[Setup]:
    """Yield a setup on an empty store."""
    if spec.store == "memory":
        yield Setup(spec.store, "", spec.work)
    elif spec.server is not None:
        yield Setup(spec.store, emptied(spec.store, spec.server), spec.work)
    else:
        with TemporaryDirectory(prefix="tickwork-bench-", dir=spec.folder) as folder:
            yield Setup(spec.store, str(Path(folder) / "tasks"), spec.work)


@contextmanager
def filled_database(spec: Spec) -> Iterator[Setup]:
    """Yield a setup on a copy of a database with the contender's tasks, made only once."""
    assert spec.folder is not None
    original = Path(spec.folder) / f"{spec.contender}-{spec.count}.db"
    if not original.exists():
        filling = replace(spec, workload="fill").to_json()
        subprocess.run(
            [sys.executable, "-m", "bench.child", filling], check=True, stdout=subprocess.DEVNULL
        )
    with TemporaryDirectory(prefix="tickwork-bench-", dir=spec.folder) as folder:
        yield Setup(spec.store, shutil.copy(original, folder), spec.work)
