"""Where a MongoDB is, how sure its answers are, and what comes of it when it fails."""

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.monitoring import CommandListener

from tests.servers.mongodb import MongoDBServer, serving
from tests.servers.process import standing_still
from tests.unit.stores.mongo_place import Place, placed
from tickwork.errors import InvalidInputError, StoreError, StoreUnavailableError
from tickwork.model.policies import RunState
from tickwork.model.records import NodeRecord
from tickwork.model.steps import Edit
from tickwork.stores.mongo import MongoStore, database
from tickwork.testing.store_contract.bench import (
    LEASE_US,
    NODE,
    T0,
    finished,
    given_back,
    raised,
    task,
)

Client = MongoClient[dict[str, Any]]


@pytest.fixture
def place(mongodb_url: str) -> Iterator[Place]:
    with placed(mongodb_url) as place:
        yield place


@pytest.fixture
def server() -> Iterator[MongoDBServer]:
    """A server that is this test's own."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        yield server


# --- where it is -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("redis://localhost", "not the URL of a MongoDB"),
        ("localhost:27017", "not the URL of a MongoDB"),
        ("mongodb://", "can't be used"),
        ("mongodb://host:port/db", "can't be used"),
        ("mongodb://host/a b", "can't be used"),
        (b"mongodb://localhost", "no place for a MongoDB store"),
        (27017, "no place for a MongoDB store"),
    ],
)
def test_what_is_no_place_is_refused(where: Any, words: str) -> None:
    assert words in raised(InvalidInputError, lambda: MongoStore(where))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mongodb://user:secret@one,two:1234/jobs?w=1", "mongodb://one,two:1234/jobs"),
        ("mongodb://localhost", "mongodb://localhost/tickwork"),
        ("mongodb://localhost/a%2Db", "mongodb://localhost/a-b"),
        ("mongodb+srv://user:secret@cluster.example/jobs", "mongodb+srv://cluster.example/jobs"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert repr(MongoStore(url)) == f"MongoStore({shown!r})"


def test_passwords_are_not_shown_in_errors() -> None:
    message = raised(InvalidInputError, lambda: MongoStore("mongodb://user:secret@host:x/db"))
    assert "secret" not in message


def test_the_database_is_that_of_the_path(mongodb_url: str) -> None:
    url = mongodb_url.replace("/tickwork", "/elsewhere")
    with placed(url) as place, closing(Client(mongodb_url)) as client:
        place.bench.open()
        place.bench.put(task())
        assert client["elsewhere"][f"{place.prefix}tasks"].count_documents({}) == 1
        assert client["tickwork"][f"{place.prefix}tasks"].count_documents({}) == 0


def test_a_client_or_database_that_was_given_is_not_closed(place: Place) -> None:
    with closing(Client(place.url)) as client:
        for where in (client, client["tickwork"]):
            store = place.open(place.store(where))
            assert store.counts()["scheduled"] == 0
            store.close()
            assert "isn't open" in raised(StoreUnavailableError, store.counts)
            assert client.admin.command("ping")["ok"] == 1


def test_several_stores_share_a_database(place: Place) -> None:
    one, other = place.store(), MongoStore(place.url, prefix=f"{place.prefix}other_")
    for store in (one, other):
        place.open(store)
    one.put([task()], lambda existing, _: Edit(existing), place.bench.new_id)
    assert (one.counts()["scheduled"], other.counts()["scheduled"]) == (1, 0)


def test_a_newer_schema_is_left_alone(place: Place) -> None:
    place.bench.open()
    place.change("counters", {"$set": {"value": 99}})
    store = place.store()
    message = raised(StoreError, lambda: place.open(store))
    assert "schema version 99" in message
    assert "update tickwork" in message


# --- how sure it is ----------------------------------------------------------------------------


class Heard(CommandListener):
    """What was sent, by the name of the command."""

    def __init__(self) -> None:
        self.commands: dict[str, dict[str, Any]] = {}

    def started(self, event: Any) -> None:
        self.commands[event.command_name] = dict(event.command)

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("options", "concern"),
    [
        ({}, {"w": "majority", "j": True}),
        ({"w": 1}, {"w": 1}),
        ({"journal": False}, {"j": False}),
    ],
)
def test_writes_are_acknowledged_by_a_majority_unless_a_client_says_otherwise(
    place: Place, options: dict[str, Any], concern: dict[str, Any]
) -> None:
    heard = Heard()
    odd = {"tz_aware": True, "readPreference": "secondaryPreferred", **options}
    with closing(Client(place.url, event_listeners=[heard], **odd)) as client:
        store = place.open(place.store(client))
        store.put([task()], lambda existing, _: Edit(existing), place.bench.new_id)
        assert heard.commands["insert"]["writeConcern"] == concern
        found = store.get_task("task")
        assert found is not None
        assert "readConcern" not in heard.commands["find"]


@pytest.mark.parametrize("how", ["client", "database"])
def test_clients_that_wait_for_no_answer_are_refused(place: Place, how: str) -> None:
    with closing(Client(place.url, w=0)) as client:
        where = client if how == "client" else client["tickwork"]
        assert "w=0" in raised(InvalidInputError, lambda: MongoStore(where))


def test_a_url_that_asks_for_no_answer_is_refused(place: Place) -> None:
    store = place.store(f"{place.url}?w=0")
    assert "w=0" in raised(InvalidInputError, lambda: place.open(store))


def test_a_database_may_be_surer_than_its_client(place: Place) -> None:
    with closing(Client(place.url, w=0)) as client:
        database = client.get_database("tickwork", write_concern=WriteConcern("majority"))
        store = place.open(place.store(database))
        assert store.beat(NodeRecord(id=NODE), LEASE_US).alive


# --- time --------------------------------------------------------------------------------------


def test_clocks_that_agree_have_no_offset(place: Place) -> None:
    """The server tells milliseconds; within them the clock here is believed."""
    store = place.open(place.store())
    place.bench.now_us = store.now_us() // 1_000 * 1_000 + 60_000_500
    ahead = store.now_us()
    assert ahead % 1_000 == 999
    assert ahead < place.bench.now_us
    place.bench.now_us = T0
    assert store.now_us() % 1_000 == 0


def test_leases_go_by_the_servers_clock(place: Place) -> None:
    store = place.open(place.store())
    beat = store.beat(NodeRecord(id=NODE), LEASE_US)
    [node] = store.nodes()
    assert (node.beat_us, node.expires_us) == (beat.now_us, beat.now_us + LEASE_US)
    assert beat.now_us > T0


# --- failures ----------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_unavailable(place: Place) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        store = place.store(f"mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=50")
        for _ in range(2):
            message = raised(StoreUnavailableError, lambda: place.open(store))
            assert "MongoDB doesn't answer" in message
            assert "isn't open" in raised(StoreUnavailableError, store.counts)


@pytest.mark.parametrize("whose", ["ours", "limited", "unlimited"])
def test_a_server_that_hangs_is_unavailable(
    server: MongoDBServer, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """Whosever client it is, and whatever it says about time."""
    monkeypatch.setattr(database, "_PATIENCE_S", 0.3)
    url = f"{server.url}?socketTimeoutMS=300"
    limits: dict[str, Any] = {"timeoutMS": 300} if whose == "limited" else {}
    with placed(server.url) as place, closing(Client(server.url, **limits)) as client:
        place.bench.open()
        place.bench.put(task())
        store = place.open(place.store(url if whose == "ours" else client))
        with standing_still(server.pid):
            assert "timed out" in raised(StoreUnavailableError, store.counts)
        assert store.counts()["scheduled"] == 1


def test_a_server_that_crashed_has_everything_that_was_answered(server: MongoDBServer) -> None:
    with placed(server.url) as place:
        place.bench.open()
        place.bench.put(*(task(f"t{each}", T0 + each) for each in range(20)))
        first = place.bench.plan(limit=10).leased
        before = place.bench.dump()
        server.restart()
        assert place.bench.dump() == before
        rest = place.bench.plan(now_us=T0 + 20).leased
        assert place.bench.finish(*(finished(each.run) for each in (*first, *rest))) == frozenset()
        assert len(place.bench.runs()) == 20
        assert {run.state for run in place.bench.runs()} == {RunState.COMPLETED}


# --- what doesn't fit --------------------------------------------------------------------------


def test_definitions_that_are_too_large_are_refused(place: Place) -> None:
    place.bench.open()
    large = task("large", payload="x" * 8_000_000)
    message = raised(InvalidInputError, lambda: place.bench.put(task("fine"), large))
    assert "'large'" in message
    assert "keep large data elsewhere" in message
    assert place.bench.dump().tasks == {}
    fits = task("large", payload="x" * 7_900_000)
    place.bench.put(fits)
    [leased] = place.bench.plan().leased
    assert leased.definition == fits.definition


@pytest.mark.parametrize("odd", [task("a\ud800"), task("a", generation=2**63)])
def test_values_that_mongodb_has_not_are_refused(place: Place, odd: Any) -> None:
    place.bench.open()
    assert "can't store this" in raised(InvalidInputError, lambda: place.bench.put(odd))
    assert place.bench.dump().tasks == {}


def test_texts_that_are_too_long_do_not_keep_a_run_from_ending(place: Place) -> None:
    place.bench.open()
    fine, long, wide = place.bench.leased(task("fine"), task("long"), task("wide"))
    entries = [
        finished(fine, result="1"),
        finished(long, RunState.FAILED, result="x" * 5_000_001, errors="[2]", reason="why"),
        finished(wide, RunState.FAILED, errors="ä" * 1_500_001),
    ]
    assert place.bench.finish(*entries) == frozenset()
    assert place.bench.run(fine).result == "1"
    over = place.bench.run(long)
    assert (over.state, over.result, over.errors) == (RunState.FAILED, None, "[2]")
    assert over.reason == "too long for MongoDB, and not kept: result"
    over = place.bench.run(wide)
    assert (over.errors, over.failures) == (None, 1)
    assert over.reason == "too long for MongoDB, and not kept: errors"


def test_errors_that_are_too_long_do_not_keep_a_run_from_its_next_attempt(place: Place) -> None:
    place.bench.open()
    [run] = place.bench.leased(task())
    place.bench.finish(given_back(run, started=True, error="x" * 3_000_001))
    expected = replace(run, node=None, available_us=T0, failures=1)
    expected.reason = "too long for MongoDB, and not kept: errors"
    assert place.bench.run(run) == expected


# --- processes ---------------------------------------------------------------------------------

_FORKED = """
import os, sys
from tickwork.stores.mongo import MongoStore
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import task

store = MongoStore(sys.argv[1], prefix=sys.argv[2])
bench = Bench(store, store)
bench.open()
bench.put(task("before"))
child = os.fork()
if not child:
    store.forsake()
    bench.open()
    bench.put(task("child"))
    assert set(bench.dump().tasks) == {"before", "child"}
    bench.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert set(bench.dump().tasks) == {"before", "child"}
bench.put(task("parent"))
assert [each.run.task_id for each in bench.plan().leased] == ["before", "child", "parent"]
bench.close()
print("fine")
"""


def test_a_forked_child_begins_anew(place: Place) -> None:
    # In a process of its own: whoever forks must know all threads there.
    command = [sys.executable, "-W", "error", "-c", _FORKED, place.url, place.prefix]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_without_the_driver_the_message_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['pymongo'] = None\n"
        "from tickwork.errors import InvalidInputError\n"
        "try: import tickwork.stores.mongo\n"
        "except InvalidInputError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "pip install 'tickwork[mongodb]'" in done.stdout
