"""Tasks of 5 ms sleep, due at one instant, on one store for one node, for two and for four.

A node is a process with ten slots (threads). The clock starts when all nodes, started and paused,
are told to go on, and stops when the last record is written, whoever wrote it; with queues, whose
workers are the nodes, when the last job is done.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self

from bench.contenders import Recording, Setup, contender
from bench.spec import Spec
from bench.work import nap_function
from bench.workloads.stage import fresh_store

__all__ = ["Node", "measure"]

_TIMEOUT_S = 120.0


class Node:
    """A node in a process, as `bench.node` describes it."""

    def __init__(self, name: str, setup: Setup) -> None:
        self.heard: SimpleQueue[dict[str, Any]] = SimpleQueue()
        command = [sys.executable, "-m", "bench.node", name, json.dumps(setup)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.heard.put(json.loads(line))

    def begin(self) -> None:
        """Tell it to begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Tell it to end."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait_for(self, word: str) -> Any:
        """Return what it says about something; pass over what else it says."""
        while True:
            said = self.heard.get(timeout=_TIMEOUT_S)
            if word in said:
                return said[word]


def measure(spec: Spec) -> dict[str, Any]:
    """Return runs a second of one node, of two and of four, and their ratios to one."""
    one, two, four = (_rate(spec, nodes) for nodes in (1, 2, 4))
    return {
        "one_per_s": one,
        "two_per_s": two,
        "four_per_s": four,
        "ratio": two / one,
        "four_ratio": four / one,
    }


def _rate(spec: Spec, nodes: int) -> float:
    with fresh_store(spec) as setup, ExitStack() as ends:
        client = contender(spec.contender)
        client.open(setup)
        client.add_once(nap_function, spec.count, datetime.now(UTC) - timedelta(seconds=1))
        started = [ends.enter_context(Node(spec.contender, setup)) for _ in range(nodes)]
        for node in started:
            node.wait_for("ready")
        since = time.perf_counter()
        for node in started:
            node.begin()
        took_s = _all_done(started, spec.count) - since
        for node in started:
            node.end()
        calls = sum(node.wait_for("calls") for node in started)
        if isinstance(client, Recording):
            client.check(spec.count)
        client.close()
    assert calls == spec.count, f"{calls} calls instead of {spec.count}"
    return spec.count / took_s


def _all_done(nodes: Iterable[Node], count: int) -> float:
    """Wait until the nodes are done with that many runs together; return when the last was."""
    done = dict.fromkeys(nodes, 0)
    last = 0.0
    deadline = time.perf_counter() + _TIMEOUT_S
    while sum(done.values()) < count:
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{sum(done.values())} of {count} runs are done")
        for node in done:
            try:
                said = node.heard.get(timeout=0.01)
            except Empty:
                continue
            done[node] = said["done"]
            last = max(last, said["at"])
    return last
