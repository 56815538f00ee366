"""A server that speaks MongoDB's protocol, from the wheel `SecantusDB`.

It keeps its data in MongoDB's storage engine, so that what was acknowledged survives its end, and
calls itself a replica set of one, so that there are change streams. It is slow: a changed document
costs it about a millisecond.
"""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.servers.process import ServerProcess, until

__all__ = ["MongoDBServer", "serving"]


class _OwnProcess(ServerProcess):
    """A server that runs as who we are: it is a module of this environment, and no more."""

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        until(lambda: self._ended() or self._is_ready(), f"the server answers; see {self._log}")
        assert not self._ended(), f"the server ended: {self._log.read_text(errors='replace')}"


class MongoDBServer:
    """A server on a port of the loopback interface, on which it stays."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._port = _free_port()
        command = [
            sys.executable,
            *("-P", "-m", "secantus"),
            *("--host", "127.0.0.1", "--port", str(self._port)),
            *("--storage-path", str(folder / "data"), "--log-level", "WARNING"),
            *options,
        ]
        self._process = _OwnProcess(command, folder / "log", self._answers)

    @property
    def url(self) -> str:
        """Where a store finds it."""
        return f"mongodb://127.0.0.1:{self._port}/tickwork"

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        return self._process.pid

    def start(self) -> None:
        """Start, with the data that there is."""
        self._process.start()

    def crash(self) -> None:
        """End at once, with all connections."""
        self._process.end(signal.SIGKILL)

    def restart(self) -> None:
        """Crash, and start again on the same data, at the same place."""
        self.crash()
        self._process.start()

    def _answers(self) -> bool:
        client: MongoClient[dict[str, object]] = MongoClient(
            self.url, serverSelectionTimeoutMS=200, directConnection=True
        )
        try:
            return bool(client.admin.command("ping"))
        except PyMongoError:
            return False
        finally:
            client.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[MongoDBServer]:
    """Run a server of its own in a folder.

    Raises:
        FileNotFoundError: there is no such server here.
    """
    if find_spec("secantus") is None:
        raise FileNotFoundError("SecantusDB isn't installed")
    server = MongoDBServer(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.crash()
