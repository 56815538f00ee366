"""Lifespans of real schedulers: counted, cancelled, failing, and again in another loop."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.conversations import ALL_IS_WELL, Application, Server, converse, served, started
from tickwork import Scheduler
from tickwork.events import SchedulerStarted, SchedulerStopped
from tickwork.interfaces import StoreEnvironment
from tickwork.stores.memory import MemoryStore

DEADLINE_S = 20


@pytest.fixture
def diary() -> list[str]:
    return []


def threads() -> set[threading.Thread]:
    """Return the threads of schedulers."""
    return {each for each in threading.enumerate() if each.name.startswith("tickwork-")}


def test_start_and_stop_are_counted_when_nested(diary: list[str]) -> None:
    scheduler = Scheduler()
    scheduler.on(SchedulerStarted, lambda _: diary.append("scheduler starts"))
    scheduler.on(SchedulerStopped, lambda _: diary.append("scheduler stops"))
    converse(scheduler.asgi(scheduler.asgi(Application(diary))), diary)
    assert sorted(diary) == sorted(ALL_IS_WELL)
    assert diary.index("scheduler stops") < diary.index("application stops")
    assert scheduler.state == "new"


def test_a_store_that_cannot_be_opened_fails_the_start_up_with_its_message(
    tmp_path: Path, diary: list[str]
) -> None:
    scheduler = Scheduler(f"sqlite:///{tmp_path}/no/such/folder/tasks.db")
    [message] = started(scheduler.asgi(Application(diary)), diary)
    assert message["type"] == "lifespan.startup.failed"
    assert "StoreUnavailableError" in message["message"]
    assert diary[-2:] == ["application stops", "server hears startup.failed"]
    assert scheduler.state == "new"


def test_a_scheduler_that_could_not_start_leaves_nothing_behind(
    tmp_path: Path, diary: list[str]
) -> None:
    folder = tmp_path / "locks"
    stores = {"default": f"sqlite:///{tmp_path}/tasks.db", "memory": "memory://"}
    scheduler = Scheduler(stores=stores, lock_path=folder / "workers.lock")
    before = threads()
    [message] = started(scheduler.asgi(Application(diary)), diary)
    assert "workers.lock" in message["message"]
    assert scheduler.state == "new"
    assert threads() <= before
    folder.mkdir()
    diary.clear()
    converse(scheduler.asgi(Application(diary)), diary)
    assert [line for line in diary if "hears" in line] == [
        "server hears startup.complete",
        "server hears shutdown.complete",
    ]


def test_two_applications_in_one_loop_share_a_scheduler(diary: list[str]) -> None:
    scheduler = Scheduler()
    states: list[str] = []

    async def main() -> None:
        first, second = (
            Server(scheduler.asgi(Application(diary)), diary),
            Server(scheduler.asgi(Application(diary)), diary),
        )
        states.append(scheduler.state)
        for server in (first, second):
            await server.say("startup")
            states.append(scheduler.state)
        for server in (first, second):
            await server.say("shutdown")
            states.append(scheduler.state)
            await server.ended()

    asyncio.run(main())
    assert states == ["new", "started", "started", "started", "new"]


def test_many_applications_that_start_and_stop_at_once_are_counted(tmp_path: Path) -> None:
    scheduler = Scheduler(f"sqlite:///{tmp_path}/tasks.db")
    happened: list[str] = []
    scheduler.on(SchedulerStarted, lambda _: happened.append("starts"))
    scheduler.on(SchedulerStopped, lambda _: happened.append("stops"))
    seen: list[str] = []

    async def one(turns: int) -> None:
        for _ in range(turns):
            async with served(scheduler.asgi(Application([])), []):
                seen.append(scheduler.state)

    async def main() -> None:
        await asyncio.gather(*(one(5) for _ in range(8)))

    asyncio.run(main())
    assert seen == ["started"] * 40
    assert scheduler.state == "new"
    # How often all had left is chance; whoever came next has started it anew.
    starts = happened.count("starts")
    assert 1 <= starts <= 40
    assert happened == ["starts", "stops"] * starts


def test_it_starts_in_one_loop_and_after_a_stop_again_in_another() -> None:
    scheduler = Scheduler()
    loops: list[asyncio.AbstractEventLoop] = []

    async def note() -> bool:
        loops.append(asyncio.get_running_loop())
        return True

    async def main() -> asyncio.AbstractEventLoop:
        async with served(scheduler.asgi(Application([])), []):
            run = await scheduler.aio.submit(note)
            assert (await run.aio.wait(20)).result is True
        return asyncio.get_running_loop()

    assert [asyncio.run(main()), asyncio.run(main())] == loops
    assert loops[0] is not loops[1]


# --- cancelling -----------------------------------------------------------------------------------


class SlowToOpen(MemoryStore):
    """A store that opens when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.opening = threading.Event()
        self.may_open = threading.Event()

    def open(self, environment: StoreEnvironment) -> None:
        self.opening.set()
        assert self.may_open.wait(DEADLINE_S)
        super().open(environment)


@pytest.mark.parametrize("times", [1, 3])
def test_a_start_that_is_cancelled_leaves_no_started_scheduler(times: int) -> None:
    store = SlowToOpen()
    scheduler = Scheduler(store)
    before = threads()

    async def live() -> None:
        async with scheduler:
            raise AssertionError("never entered")

    async def main() -> None:
        living = asyncio.create_task(live())
        assert await asyncio.to_thread(store.opening.wait, DEADLINE_S)
        for _ in range(times):
            living.cancel()
            await asyncio.wait([living], timeout=0)
        store.may_open.set()
        with pytest.raises(asyncio.CancelledError):
            await living
        assert scheduler.state == "new"

    asyncio.run(main())
    assert scheduler.state == "new"
    assert threads() <= before


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_stop_that_is_cancelled_waits_no_longer_for_what_is_under_way(
    release: threading.Event, when: str
) -> None:
    scheduler = Scheduler()
    begun = threading.Event()
    leaving = asyncio.Event()

    def long() -> None:
        begun.set()
        release.wait(60)

    async def live() -> None:
        async with scheduler:
            await scheduler.aio.submit(long)
            assert await asyncio.to_thread(begun.wait, DEADLINE_S)
            leaving.set()
            if when == "before":
                await asyncio.Event().wait()

    async def main() -> None:
        living = asyncio.create_task(live())
        await leaving.wait()
        living.cancel()
        if when == "before":
            # That was what ended it; this is what hurries it.
            await asyncio.wait([living], timeout=0)
            living.cancel()
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(asyncio.CancelledError):
                await living
        assert scheduler.state == "new"

    asyncio.run(main())


def test_a_lifespan_that_is_cancelled_stops_its_scheduler(diary: list[str]) -> None:
    scheduler = Scheduler()
    scheduler.on(SchedulerStopped, lambda _: diary.append("scheduler stops"))

    async def main() -> None:
        server = Server(scheduler.asgi(Application(diary)), diary)
        await server.say("startup")
        server.lifespan.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server.ended()

    asyncio.run(main())
    assert diary[-2:] == ["server hears startup.complete", "scheduler stops"]
    assert scheduler.state == "new"
