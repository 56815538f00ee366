"""MariaDB, as the system's package has it."""

import shutil
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pymysql

from tests.servers.process import ServerProcess, own, run

__all__ = ["MariaDBServer", "serving"]

_DATABASE = "tickwork"
_SETTINGS = {
    # A commit is written, so that it outlives the process; see `postgresql`.
    "innodb-flush-log-at-trx-commit": "2",
    "innodb-buffer-pool-size": "64M",
    "innodb-log-file-size": "32M",
    "max-connections": "200",
    # Nothing may depend on where a server believes to be, nor on how it compares texts.
    "default-time-zone": "+05:45",
    "character-set-server": "latin1",
    "collation-server": "latin1_swedish_ci",
}


class MariaDBServer:
    """A server on a port of this machine only; its superuser is `root`, without a password."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        own(folder)
        self._port = _free_port()
        self._data = f"--datadir={folder / 'data'}"
        command = [
            _program("mariadbd"),
            "--no-defaults",
            self._data,
            f"--socket={folder / 'socket'}",
            "--bind-address=127.0.0.1",
            f"--port={self._port}",
            f"--pid-file={folder / 'pid'}",
            f"--tmpdir={folder}",
            "--skip-name-resolve",
            *(f"--{name}={value}" for name, value in {**_SETTINGS, **settings}.items()),
        ]
        self._process = ServerProcess(command, folder / "log", self._answers)

    @property
    def url(self) -> str:
        """Where a store finds it.

        The driver would read the machine's certificates at each connection, for 30 ms, to encrypt
        if the server can: ours can't.
        """
        return f"mysql+pymysql://root@127.0.0.1:{self._port}/{_DATABASE}?ssl_disabled=true"

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        return self._process.pid

    def start(self) -> None:
        """Make the database and start."""
        options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        run([_program("mariadb-install-db"), "--no-defaults", self._data, *options])
        self._process.start()
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {_DATABASE}")

    def crash(self) -> None:
        """End at once, with all connections."""
        self._process.end(signal.SIGKILL)

    def restart(self) -> None:
        """Crash, and start again on the same data, at the same place."""
        self.crash()
        self._process.start()

    def _connect(self) -> "pymysql.connections.Connection[Any]":
        return pymysql.connect(host="127.0.0.1", port=self._port, user="root", ssl_disabled=True)

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except pymysql.err.OperationalError:
            return False
        return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        raise FileNotFoundError(f"{name} isn't installed (Debian: apt-get install mariadb-server)")
    return found


@contextmanager
def serving(
    folder: Path, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[MariaDBServer]:
    """Run a server of its own in a folder; `settings` are the words of its command line.

    Raises:
        FileNotFoundError: there is no MariaDB here.
    """
    server = MariaDBServer(folder, settings)
    try:
        server.start()
        yield server
    finally:
        server.crash()
