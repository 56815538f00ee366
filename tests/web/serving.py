"""Applications behind real servers: processes that answer at a port of their own."""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from tests.cluster.cluster import until

__all__ = ["GUNICORN", "ROOT", "UVICORN", "Answer", "Site", "serving"]

ROOT = Path(__file__).parents[2]
DEADLINE_S = 25.0

UVICORN = ["-m", "uvicorn", "--port", "0", "--lifespan", "on", "--timeout-worker-healthcheck", "60"]
GUNICORN = ["-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket"]
GUNICORN += ["--worker-class", "uvicorn_worker.UvicornWorker"]

_ADDRESS = re.compile(r"(?:running on|Listening at:) http://127\.0\.0\.1:(\d+)")


def _end_with_parent() -> None:
    """Have the kernel ask the server to end when the test run is killed."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class Answer(NamedTuple):
    """What was answered to a request."""

    status: int
    body: Any


class Site:
    """A server with an application, in a process whose output is kept in a file."""

    def __init__(self, words: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._output = folder / "server.out"
        known = {name: value for name, value in os.environ.items() if "TICKWORK" not in name}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *words],
                cwd=folder,
                env={**known, "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # All that it starts can be ended with it, and ends with the test run.
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  no other thread forks meanwhile
            )
        self._port = 0

    @property
    def pid(self) -> int:
        """The process that was started; with several workers, their parent."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._output.read_text(errors="replace")

    def await_workers(self, count: int) -> None:
        """Wait until so many workers have started their application."""
        said = "Application startup complete"
        until(
            lambda: self._ended() or self.output.count(said) >= count,
            DEADLINE_S,
            lambda: f"{count} workers start:\n{self.output}",
        )
        assert not self._ended(), self.output
        found = _ADDRESS.search(self.output)
        assert found is not None, self.output
        self._port = int(found[1])

    def ask(self, method: str, path: str, body: object = None, **query: object) -> Answer:
        """Send a request and return the answer."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_S)
        try:
            target = f"{path}?{urlencode(query, doseq=True)}" if query else path
            text = None if body is None else json.dumps(body)
            connection.request(method, target, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return Answer(answer.status, json.loads(answer.read()))
        finally:
            connection.close()

    def stop(self) -> None:
        """Have it end as servers are asked to."""
        self._process.send_signal(signal.SIGTERM)
        # At its end uvicorn raises the signal again that it was ended by.
        assert self._process.wait(DEADLINE_S) in {0, -signal.SIGTERM}, self.output

    def _ended(self) -> bool:
        return self._process.poll() is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended():
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(DEADLINE_S)
        # pytest shows it where a test has failed.
        print(self.output)


@contextmanager
def serving(
    words: list[str], folder: Path, *, workers: int = 1, **environment: str
) -> Iterator[Site]:
    """Serve an application for the time of a block, from when all of its workers have started."""
    several = ["--workers", str(workers)] if workers > 1 else []
    with Site([*words, *several], folder, environment) as site:
        site.await_workers(workers)
        yield site
