"""`tickwork serve` in processes of its own."""

import json
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.processes import Process, started
from tests.service.conftest import PASSWORD
from tickwork import Scheduler
from tickwork.service.client import Client
from tickwork.service.errors import (
    AccessDeniedError,
    FunctionNotAllowedError,
    UnauthenticatedError,
)
from tickwork.service.models import NewTask
from tickwork.service.people import Credentials, SetUp

SERVE = ("-m", "tickwork", "serve", "--port", "0")
APPLICATION = """
import threading
from tickwork import Scheduler

scheduler = Scheduler("sqlite:///shop.db")
endless = threading.Event()

@scheduler.task(every="1h", id="close")
def close_day(city="berlin"):
    return city

@scheduler.task(every="1h", id="blocking")
def blocking():
    print("blocked", flush=True)
    endless.wait()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APPLICATION)
    return tmp_path


def client_of(process: Process, token: str | None = None) -> Client:
    found = re.search(r"http://\S+", process.until("listening at "))
    assert found is not None
    return Client(found[0], token)


class Heard:
    """Events that are followed in a thread."""

    def __init__(self, events: Iterator[dict[str, Any]]) -> None:
        self.told: list[dict[str, Any]] = []
        self.first = threading.Event()
        self._events = events
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for event in self._events:
            self.told.append(event)
            self.first.set()


def test_without_anything_it_serves_a_store_of_its_own(folder: Path) -> None:
    with started(folder, *SERVE) as process:
        client = client_of(process)
        assert client.list_tasks().items == []
        assert client.version().state == "started"
        with pytest.raises(FunctionNotAllowedError, match="these may: none"):
            client.create_task(NewTask(function="shop:close_day", schedule="1h"))
        process.send(signal.SIGTERM)
        assert process.ended() == 0
    assert process.lines[0].endswith("service of default (sqlalchemy); Ctrl-C stops")
    assert process.lines[-2:] == ["SIGTERM: stopping", "stopped"]
    assert (folder / "tickwork.db").exists()


def test_it_serves_a_scheduler_and_executes_its_tasks(folder: Path) -> None:
    with started(folder, *SERVE, "shop:scheduler") as process:
        client = client_of(process)
        assert [task.id for task in client.list_tasks().items] == ["blocking", "close"]
        events = client.follow_events("RunCompleted")
        new = NewTask(function="shop:close_day", schedule="1s", id="often", args=["ulm"])
        client.create_task(new)
        completed = next(event for event in events if event["task_id"] == "often")
        assert completed["result"] == "ulm"
        # Who follows events must not keep it from stopping.
        process.send(signal.SIGINT)
        assert process.ended() == 0
        assert list(events) == []
    assert "Traceback" not in "\n".join(process.lines)
    with Scheduler(f"sqlite:///{folder}/shop.db").connect() as scheduler:
        assert scheduler.nodes() == []


def test_a_second_signal_waits_for_nothing(folder: Path) -> None:
    with started(folder, *SERVE, "shop:scheduler") as process:
        client_of(process).run_task("blocking")
        process.until("blocked")
        process.send(signal.SIGINT)
        process.until("SIGINT: stopping")
        process.send(signal.SIGTERM)
        assert process.ended() == 128 + signal.SIGTERM
    assert "SIGTERM again: not waiting" in process.lines


def test_a_viewer_looks_at_a_store_on_which_others_work(folder: Path) -> None:
    store = f"sqlite:///{folder}/shop.db"
    missing = ("--viewer", "--store", store)
    with started(folder, *SERVE, *missing) as process:
        assert process.ended() == 3
    assert not (folder / "shop.db").exists()
    with Scheduler(store).connect() as scheduler:
        scheduler.add_task(print, "interval", seconds=1, id="tick")
    with started(folder, *SERVE, *missing) as process:
        client = client_of(process)
        assert (client.version().state, client.version().viewer) == ("connected", True)
        with pytest.raises(AccessDeniedError):
            client.pause_task("tick")
        assert client.list_nodes() == []
        heard = Heard(client.follow_events("RunChanged"))
        with Scheduler(store).connect() as scheduler:
            # Until the first change is told, nobody knows that somebody follows.
            made = {scheduler.run_task("tick").id}
            while not heard.first.wait(1):
                made.add(scheduler.run_task("tick").id)
                assert len(made) < 30
        assert heard.told[0]["run_id"] in made
        assert heard.told[0]["status"] == "pending"
        process.send(signal.SIGTERM)
        assert process.ended() == 0
    with started(folder, *SERVE, "--no-fire", "--store", store) as process:
        client = client_of(process)
        assert client.pause_task("tick").schedule_state == "paused"
        process.send(signal.SIGTERM)
        assert process.ended() == 0


def test_other_addresses_take_users_of_whom_the_first_is_made_by_a_printed_word(
    folder: Path,
) -> None:
    everywhere = ("--host", "0.0.0.0")  # noqa: S104
    with started(folder, *SERVE, *everywhere) as process:
        assert process.ended() == 2
    assert "say auth=password (--auth password" in process.lines[-1]
    with started(folder, *SERVE, *everywhere, "--auth", "password") as process:
        address = process.until("listening at ").rpartition(" ")[2].replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        process.until("there are no users yet")
        token = process.until("  ").strip()
        with pytest.raises(UnauthenticatedError):
            Client(address).list_tasks()
        set_up = SetUp(token=token, name="ada", password=PASSWORD)
        session = f"{address}/api/v1"
        assert httpx2.post(f"{session}/setup", json=set_up.model_dump()).status_code == 201
        login = Credentials(name="ada", password=PASSWORD).model_dump()
        assert httpx2.post(f"{session}/session", json=login).status_code == 201
        process.send(signal.SIGTERM)
        assert process.ended() == 0


def test_an_address_that_is_taken_is_told_before_anything_begins(folder: Path) -> None:
    with started(folder, *SERVE) as process:
        port = client_of(process)._parts.port  # noqa: SLF001
        words = ("-m", "tickwork", "serve", "--port", str(port), "--store", "sqlite:///other.db")
        with started(folder, *words) as second:
            assert second.ended() == 2
        assert f"can't listen at 127.0.0.1, port {port}: " in second.lines[-1]
        process.send(signal.SIGTERM)
        assert process.ended() == 0
    assert not (folder / "other.db").exists()


def test_a_scheduler_has_stores_of_its_own(folder: Path) -> None:
    with started(folder, *SERVE, "shop:scheduler", "--store", "sqlite:///x.db") as process:
        assert process.ended() == 2
    assert "shop:scheduler has stores of its own; leave --store out" in process.lines[-1]


def test_log_lines_can_be_json(folder: Path) -> None:
    (folder / "shop.py").write_text(
        APPLICATION
        + """
@scheduler.task(at="2020-01-01", id="fails")
def fails():
    raise KeyError("nothing")
"""
    )
    with started(folder, *SERVE, "shop:scheduler", TICKWORK_LOG_FORMAT="json") as process:
        line = json.loads(process.until('"logger"'))
        assert (line["level"], line["logger"]) == ("WARNING", "tickwork.runs")
        assert line["task_id"] == "fails"
        process.send(signal.SIGTERM)
        assert process.ended() == 0
