"""The connection: clients, errors, scripts that are gone, answers that get lost."""

import importlib
import logging
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import socket
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.servers.process import standing_still, until
from tests.servers.redis import RedisServer, serving
from tests.unit.stores.redis_courier import Courier
from tests.unit.stores.redis_place import Place, orders_of, placed
from tickwork.errors import InvalidInputError, NotFoundError, StoreUnavailableError
from tickwork.model.locks import LockRequest
from tickwork.model.policies import RunState
from tickwork.model.records import NodeRecord
from tickwork.model.steps import Edit
from tickwork.stores.redis import RedisStore
from tickwork.testing.store_contract.bench import (
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    Bench,
    decide_never,
    finished,
    pending,
    raised,
    runs_now,
    task,
)

_PASSWORD = "words"  # noqa: S105  of users that these tests make


@pytest.fixture
def place(redis_url: str) -> Iterator[Place]:
    with placed(redis_url) as place:
        yield place


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    """A server that these tests may break."""
    folder = tempfile.TemporaryDirectory(prefix="tickwork-redis-")
    with folder, serving(Path(folder.name)) as server:
        yield server


@pytest.fixture
def own(own_server: RedisServer) -> Iterator[Place]:
    with placed(own_server.url) as place:
        yield place


# --- clients -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"decode_responses": True}, {"protocol": 3}, {"protocol": 2, "decode_responses": True}],
    ids=str,
)
def test_a_client_given_is_used_as_it_is_and_not_closed(
    place: Place, options: dict[str, Any]
) -> None:
    with redis.Redis.from_url(place.url, **options) as client:
        store = place.store(client)
        bench = Bench(store, store)
        bench.open()
        name = 'ä "quoted"\nname'
        [run] = bench.leased(task(name))
        assert bench.run(run) == run
        assert bench.finish(finished(run)) == frozenset()
        assert set(bench.dump().nodes) == {NODE}
        bench.close()
        assert client.ping()
        assert client.connection_pool._in_use_connections == set()  # noqa: SLF001  nothing leaks


def _free_port() -> int:
    while True:
        with socket() as listening:
            listening.bind(("127.0.0.1", 0))
            port: int = listening.getsockname()[1]
        # Nodes of a cluster listen on a second one, so much higher.
        if port < 2**16 - 10_000:
            return port


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A client of a cluster, which has a single node."""
    port = _free_port()
    settings = {"cluster-enabled": "yes", "bind": "127.0.0.1", "port": str(port)}
    folder = tempfile.TemporaryDirectory(prefix="tickwork-redis-")
    with folder, serving(Path(folder.name), settings) as server:
        with redis.Redis.from_url(server.url, decode_responses=True) as node:
            node.execute_command("CLUSTER", "ADDSLOTS", *range(2**14))
            until(lambda: node.cluster("info")["cluster_state"] == "ok", "the cluster is ready")
        with redis.RedisCluster(host="127.0.0.1", port=port) as client:
            yield client


def test_a_cluster_takes_a_store(cluster: Any) -> None:
    stores = RedisStore(cluster), RedisStore(cluster)
    bench = Bench(*stores)
    bench.open()
    woken = threading.Event()
    stores[0].watch(woken.set)
    assert woken.wait(30)
    woken.clear()
    bench.put(*(task(f"t{each}") for each in range(100)))
    leased = bench.plan(capacity={"threadpool": 50}, store=bench.second).leased
    assert woken.wait(30)
    leased = (*leased, *bench.lease().leased)
    assert bench.finish(*(finished(each.run) for each in leased)) == frozenset()
    assert Counter(run.state for run in bench.runs()) == {RunState.COMPLETED: 100}
    lock = stores[0].acquire_lock(LockRequest("door", "a", LEASE_US))
    assert stores[1].acquire_lock(LockRequest("door", "b", LEASE_US)) == lock
    assert stores[1].renew_lock("door", "a", 0)
    bench.close()


def test_stores_with_other_prefixes_share_a_server(place: Place) -> None:
    stores = [place.open(place.store(prefix=f"{place.prefix}-{each}")) for each in "aba"]
    for store in stores:
        store.put([task()], lambda existing, _: Edit(existing, unchanged=True), place.bench.new_id)
    assert [sum(store.counts().values()) for store in stores] == [1, 1, 1]


@pytest.mark.parametrize("prefix", ["", "{a}", "a}b", "{"])
def test_prefixes_that_would_scatter_keys_are_refused(prefix: str) -> None:
    with pytest.raises(InvalidInputError, match="without braces"):
        RedisStore("redis://localhost", prefix=prefix)


@pytest.mark.parametrize("where", [None, 7, object()])
def test_what_is_neither_url_nor_client_is_refused(where: Any) -> None:
    with pytest.raises(InvalidInputError, match="neither a URL"):
        RedisStore(where)


def test_clients_for_asyncio_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="for asyncio"):
        RedisStore(redis.asyncio.Redis())


def test_other_urls_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="not the URL of a Redis"):
        RedisStore("http://localhost")


def test_passwords_are_not_shown() -> None:
    store = RedisStore("redis://user:secret@localhost:1/0", timeout_s=0.2)
    assert repr(store) == "RedisStore('redis://user:***@localhost:1/0')"
    message = raised(StoreUnavailableError, store.counts)
    assert "secret" not in message
    assert "isn't open" in message


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("tickwork.stores.redis"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(InvalidInputError, match=r"pip install 'tickwork\[redis\]'"):
        importlib.import_module("tickwork.stores.redis")


_FORKED = """
import os, sys
from tickwork.interfaces import StoreEnvironment
from tickwork.stores.redis import RedisStore
from tickwork.stores.redis.layout import KEYS
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import task

store = RedisStore(sys.argv[1], prefix=sys.argv[2])
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
    # In a process of its own: whoever forks must have only one thread.
    command = [sys.executable, "-c", _FORKED, place.url, place.prefix]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_where_nobody_has_been_there_is_nothing_to_look_at(place: Place) -> None:
    store = place.store()
    looking = place.environment()._replace(existing=True)
    with pytest.raises(NotFoundError, match="no scheduler has used"):
        store.open(looking)
    assert place.left() == set()
    assert "isn't open" in raised(StoreUnavailableError, store.counts)
    place.bench.open()
    place.bench.register(NODE)
    store.open(looking)
    assert [node.id for node in store.nodes()] == [NODE]
    store.close()


# --- the server --------------------------------------------------------------------------------


def test_time_is_the_servers(place: Place) -> None:
    store = place.store()
    store.open(place.environment(simulated=False))
    before, told, after = place.client.time(), store.now_us(), place.client.time()
    assert _us(before) <= told <= _us(after)
    beat = store.beat(NodeRecord(id=NODE), LEASE_US)
    [node] = store.nodes()
    assert node.beat_us == beat.now_us
    assert node.expires_us == beat.now_us + LEASE_US
    assert after <= place.client.time()
    assert _us(after) <= beat.now_us <= _us(place.client.time())
    store.close()
    place.bench.open()
    assert isinstance(place.bench.store, RedisStore)
    assert place.bench.store.now_us() == T0


def _us(time: tuple[int, int]) -> int:
    return time[0] * 1_000_000 + time[1]


def test_scripts_that_the_server_forgot_are_sent_again(place: Place) -> None:
    place.bench.open()
    bench = place.bench
    [run] = bench.leased(task())
    place.client.script_flush()
    assert bench.finish(finished(run)) == frozenset()
    place.client.script_flush()
    bench.put(task("another"))
    place.client.script_flush()
    assert [each.run.task_id for each in bench.plan().leased] == ["another"]


def test_a_restarted_server_goes_on_where_it_was(own: Place, own_server: RedisServer) -> None:
    bench = own.bench
    bench.open()
    bench.leased_with_queue(T0, T0 + 1, T0 + 2)
    bench.put(*(task(f"t{each}") for each in range(50)))
    first = bench.plan(limit=20).leased
    before = bench.dump()
    store = own.open(own.store())
    ask = LockRequest("door", "a", LEASE_US, "worker", T0, MINUTE)
    lock = store.acquire_lock(ask)
    before = bench.dump()
    own_server.crash()
    steps: list[Callable[[], object]] = [bench.plan, bench.lease, bench.dump, store.locks]
    steps += [lambda: bench.finish(finished(first[0].run)), lambda: bench.put(task("new"))]
    steps.append(lambda: bench.store.beat(NodeRecord(id=NODE, beat_us=T0), LEASE_US))
    for step in steps:
        raised(StoreUnavailableError, step)
    own_server.restart()
    assert bench.dump() == before
    assert store.locks() == [lock] == [store.acquire_lock(ask._replace(owner="b"))]
    assert store.renew_lock("door", "a", 0)
    next_label = ask._replace(owner="b", label_us=T0 + MINUTE)
    assert store.acquire_lock(next_label).fence > lock.fence
    assert bench.finish(*(finished(each.run) for each in first)) == frozenset()
    assert len(bench.plan().leased) == 30
    assert bench.active() == (3, 2)


def test_fences_grow_though_the_server_lost_the_last(place: Place) -> None:
    place.bench.open()
    [run] = place.bench.leased(task("a"))
    place.client.delete(place.keys["fence"])
    [later] = place.bench.leased(task("b"))
    assert later.fence > run.fence
    # A clock that was set back does no harm either.
    place.client.set(place.keys["fence"], later.fence + 10**12)
    [last] = place.bench.leased(task("c"))
    assert last.fence == later.fence + 10**12 + 1


def test_a_hung_server_is_unavailable(own: Place, own_server: RedisServer) -> None:
    store = own.open(own.store(timeout_s=0.2))
    with standing_still(own_server.pid):
        assert "Timeout" in raised(StoreUnavailableError, store.counts)
    assert sum(store.counts().values()) == 0


def test_a_server_that_takes_no_writes_is_unavailable(own: Place) -> None:
    bench = own.bench
    bench.open()
    [run] = bench.leased(task())
    store = own.open(own.store())
    lock = store.acquire_lock(LockRequest("door", "a", LEASE_US))
    before = bench.dump()
    for refuse, accept in (
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    ):
        own.client.execute_command(*refuse)
        try:
            raised(StoreUnavailableError, lambda: bench.put(task("new")))
            raised(StoreUnavailableError, lambda: bench.finish(finished(run)))
            raised(StoreUnavailableError, lambda: bench.edit(runs_now(pending(None))))
            raised(StoreUnavailableError, lambda: store.acquire_lock(LockRequest("gate", "b", 1)))
            assert bench.dump() == before
            assert store.locks() == [lock]
        finally:
            own.client.execute_command(*accept)
    assert bench.finish(finished(run)) == frozenset()


def test_a_lock_is_renewed_and_given_back_though_memory_is_full(own: Place) -> None:
    store = own.open(own.store())
    lock = store.acquire_lock(LockRequest("door", "a", LEASE_US))
    own.client.config_set("maxmemory", 1)
    try:
        assert store.renew_lock("door", "a", 2 * LEASE_US)
        [renewed] = store.locks()
        assert renewed.expires_us == lock.expires_us + LEASE_US
        assert store.renew_lock("door", "a", 0)
        raised(StoreUnavailableError, lambda: store.acquire_lock(LockRequest("door", "a", 1)))
        assert store.locks() == []
    finally:
        own.client.config_set("maxmemory", 0)


def test_a_server_that_forgets_when_it_is_full_is_warned_of(
    own: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        own.open(own.store())
        assert caplog.messages == []
        own.client.config_set("maxmemory-policy", "allkeys-lru")
        own.open(own.store())
        own.client.config_set("maxmemory-policy", "noeviction")
    [message] = caplog.messages
    assert "maxmemory-policy allkeys-lru" in message
    assert "set it to noeviction" in message


def test_who_may_not_ask_for_the_policy_may_work(
    own: Place, caplog: pytest.LogCaptureFixture
) -> None:
    own.client.execute_command(
        "ACL", "SETUSER", "worker", "on", f">{_PASSWORD}", "~*", "+@all", "-config"
    )
    with redis.Redis.from_url(own.url, username="worker", password=_PASSWORD) as client:
        store = own.open(own.store(client))
        store.put([task()], decide_never, own.bench.new_id)
    assert caplog.messages == []


def test_who_may_not_publish_may_work(own: Place) -> None:
    rights = ("~*", "+@all", "resetchannels")
    own.client.execute_command("ACL", "SETUSER", "quiet", "on", f">{_PASSWORD}", *rights)
    with redis.Redis.from_url(own.url, username="quiet", password=_PASSWORD) as client:
        store = own.open(own.store(client))
        [edited] = store.put([task()], decide_never, own.bench.new_id)
        assert store.get_task("task") == edited.task


# --- lost answers ------------------------------------------------------------------------------


@pytest.fixture
def courier(place: Place) -> Iterator[Courier]:
    with redis.Redis.from_url(place.url) as client:
        courier = Courier(client)
        place.bench.store = place.store(courier)
        place.bench.open()
        # All scripts are known to the server after this.
        place.bench.register(NODE, OTHER)
        place.bench.leased(task("warm"))
        place.bench.lease()
        yield courier


def test_a_script_sent_twice_by_the_library_is_done_once(place: Place, courier: Courier) -> None:
    bench = place.bench
    bench.put(task())
    for step in (
        bench.plan,
        lambda: bench.edit(runs_now(pending(None))),
        bench.lease,
        lambda: bench.put(task("new")),
    ):
        courier.fate = "twice"
        assert "lost" in raised(StoreUnavailableError, step)
        assert courier.fate == ""
    assert [(run.attempt, run.node) for run in bench.runs("task")] == [(1, NODE), (1, NODE)]
    assert bench.active() == (2, 0)
    assert bench.task("new") == task("new")


@pytest.mark.parametrize("fate", ["lost", "twice"])
def test_runs_of_a_lost_answer_are_found_by_asking(
    place: Place, courier: Courier, fate: str
) -> None:
    bench = place.bench
    held = [run.id for run in bench.runs()]
    step: Callable[[], object]
    for step in (bench.plan, bench.lease):
        bench.put(task(f"before {step.__name__}", None if step == bench.lease else T0))
        if step == bench.lease:
            bench.edit(runs_now(pending(None)), "before lease")
        courier.fate = fate
        raised(StoreUnavailableError, step)
        [stray] = bench.recover(held=frozenset(held)).runs
        [again] = bench.lease().leased
        assert (again.run.id, again.run.attempt) == (stray.id, 1)
        held.append(again.run.id)
    assert orders_of(place)[0] == orders_of(place)[1]


@pytest.mark.parametrize("kind", ["plan", "lease"])
def test_a_step_that_comes_late_gives_no_runs_to_who_has_asked(
    place: Place, courier: Courier, kind: str
) -> None:
    bench = place.bench
    bench.put(task())
    if kind == "lease":
        bench.plan(capacity={})
    step: Callable[..., Any] = bench.plan if kind == "plan" else bench.lease
    held = frozenset(run.id for run in bench.runs("warm"))
    for _ in range(2):
        courier.fate = "late"
        raised(StoreUnavailableError, step)
        assert bench.recover(decide_never, held=held).runs == ()
        before = bench.dump()
        courier.deliver()
        assert bench.dump() == before
    [leased] = step().leased
    assert leased.run.task_id == "task"


def test_another_client_of_a_node_learns_what_it_has_asked(place: Place, courier: Courier) -> None:
    bench = place.bench
    bench.put(task())
    assert bench.recover(decide_never, held=frozenset(bench.dump().runs)).runs == ()
    assert "asked" in raised(StoreUnavailableError, lambda: bench.plan(store=bench.second))
    assert len(bench.plan(store=bench.second).leased) == 1


def test_a_node_that_registers_anew_has_asked_nothing(place: Place, courier: Courier) -> None:
    bench = place.bench
    bench.register("again", lease_us=1)
    bench.recover(decide_never, node="again", held=frozenset())
    bench.now_us += 1
    assert bench.recover(decide_never, node=OTHER).dead == ("again",)
    bench.register("again")
    bench.put(task())
    assert len(bench.plan(node="again").leased) == 1
