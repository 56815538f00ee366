"""What workloads share: a place for files, and a loop to be on for those who call coroutines."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.contenders import Contender, Setup, contender
from bench.servers import emptied
from bench.spec import Spec

__all__ = ["ChildFailedError", "fresh_store", "in_child", "on_stage", "stage_store"]


class ChildFailedError(Exception):
    """A measurement in a process of its own failed."""


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


def in_child(spec: Spec) -> dict[str, Any]:
    """Measure something in a process of its own, in the environment of this one."""
    command = [sys.executable, "-m", "bench.child", spec.to_json()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        # The last line says what it was; the reader of ours takes the last line too.
        raise ChildFailedError((done.stderr.strip() or "?").splitlines()[-1])
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@contextmanager
def stage_store(spec: Spec) -> Iterator[Setup]:
    """Yield a setup on the store that was filled before, where there is one, or an empty one."""
    if spec.place is not None:
        yield Setup(spec.store, spec.place, spec.work)
    else:
        with fresh_store(spec) as setup:
            yield setup


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
