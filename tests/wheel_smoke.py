"""What the built wheel must do in an environment that has nothing but its dependencies."""

import importlib.util
import sys
import tempfile
import threading
from importlib.metadata import entry_points, version
from pathlib import Path

from tickwork import Scheduler, __version__

DRIVERS = ("psycopg", "pymysql", "redis", "pymongo", "fastapi", "uvicorn")


def run(url: str) -> None:
    """Let one function fire three times, and find the runs in the store."""
    called = threading.Semaphore(0)
    with Scheduler(url) as scheduler:
        # A function that no other process could find, which only tasks of this process may have.
        scheduler.add_task(called.release, "interval", seconds=0.05, id="tick", scope="node")
        for _ in range(3):
            assert called.acquire(timeout=20)
        scheduler.add_task("os:getpid", id="stored")
        done = threading.Event()
        while not scheduler.get_runs(task="stored", status="completed"):
            assert not done.wait(0.01)
        assert len(scheduler.get_runs(task="tick")) >= 3
        assert scheduler.snapshot().state == "started"


def main() -> None:
    """Try memory and SQLite, and look whether the wheel brought what it should."""
    assert version("tickwork") == __version__
    assert "site-packages" in sys.modules["tickwork"].__path__[0], "not the installed package"
    assert [name for name in DRIVERS if importlib.util.find_spec(name)] == []
    assert len(entry_points(group="tickwork.triggers")) == 7
    assert (Path(sys.modules["tickwork"].__path__[0]) / "py.typed").is_file()
    run("memory://")
    with tempfile.TemporaryDirectory() as folder:
        run(f"sqlite:///{folder}/tasks.db")
    print("the wheel works with the memory store and SQLite")


if __name__ == "__main__":
    main()
