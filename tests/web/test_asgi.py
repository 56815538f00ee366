"""A scheduler around any ASGI application: what is said by whom, and in which order."""

import asyncio
import copy
import logging
from typing import Any

import pytest

from tests.web.conversations import ALL_IS_WELL, Application, Noted, Server, converse, started
from tickwork.errors import StoreUnavailableError
from tickwork.scheduler.asgi import ASGIApp, WithScheduler

BROKEN = StoreUnavailableError("the disk is gone")


@pytest.fixture
def diary() -> list[str]:
    return []


# --- applications that know lifespans -------------------------------------------------------------


def test_tasks_start_after_the_applications_start_up_and_stop_before_its_shutdown(
    diary: list[str],
) -> None:
    converse(WithScheduler(Application(diary), Noted(diary)), diary)
    assert diary == ALL_IS_WELL


def test_the_application_is_called_once_with_the_scope_of_the_server() -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await Application([])(scope, receive, send)

    converse(WithScheduler(app, Noted([])), [])
    assert scopes == [{"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}]


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_other_scopes_are_passed_through_untouched(kind: str) -> None:
    calls: list[tuple[Any, ...]] = []

    async def app(*arguments: Any) -> None:
        calls.append(arguments)

    async def receive() -> dict[str, Any]:
        raise AssertionError("only the application asks")

    async def send(message: Any) -> None:
        raise AssertionError("only the application answers")

    scope = {"type": kind, "path": "/"}
    asyncio.run(WithScheduler(app, Noted([]))(scope, receive, send))
    [(its_scope, its_receive, its_send)] = calls
    assert its_scope is scope
    assert scope == {"type": kind, "path": "/"}
    assert its_receive is receive
    assert its_send is send


def test_what_an_application_raises_for_a_request_is_its_servers_to_hear() -> None:
    async def app(*_: Any) -> None:
        raise LookupError("no such page")

    async def nothing(*_: Any) -> Any:
        raise AssertionError("nobody asks")

    with pytest.raises(LookupError, match="no such page"):
        asyncio.run(WithScheduler(app, Noted([]))({"type": "http"}, nothing, nothing))


def test_a_copy_is_around_the_same_application(diary: list[str]) -> None:
    wrapped = WithScheduler(Application(diary), Noted(diary))
    assert copy.copy(wrapped).app is wrapped.app
    with pytest.raises(AttributeError, match="nothing"):
        _ = wrapped.nothing


# --- and those that don't -------------------------------------------------------------------------


async def returns_at_once(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "lifespan"


async def returns_after_the_question(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def raises_at_once(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError(f"only requests are served here, no {scope['type']}")


async def raises_after_the_question(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError(f"what is {(await receive())['type']}?")


STRANGERS = [
    returns_at_once,
    returns_after_the_question,
    raises_at_once,
    raises_after_the_question,
]


@pytest.mark.parametrize("app", STRANGERS)
def test_an_application_that_knows_no_lifespans_is_served_one(
    app: ASGIApp, diary: list[str]
) -> None:
    converse(WithScheduler(app, Noted(diary)), diary)
    assert diary == [line for line in ALL_IS_WELL if "application" not in line]


@pytest.mark.parametrize("app", STRANGERS)
def test_a_scheduler_that_fails_to_start_is_told_of_there_as_well(
    app: ASGIApp, diary: list[str]
) -> None:
    messages = started(WithScheduler(app, Noted(diary, start=BROKEN)), diary)
    assert diary == [
        "server says startup",
        "scheduler fails to start",
        "server hears startup.failed",
    ]
    assert "the disk is gone" in messages[0]["message"]


def test_an_error_after_the_question_is_logged_since_it_may_be_one_of_the_start_up(
    diary: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tickwork"):
        converse(WithScheduler(raises_after_the_question, Noted(diary)), diary)
        converse(WithScheduler(raises_at_once, Noted(diary)), diary)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "serving it without" in record.message
    assert record.exc_info is not None
    assert "what is lifespan.startup?" in str(record.exc_info[1])


def test_one_that_returns_after_its_start_up_keeps_its_scheduler(diary: list[str]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        diary.append("application starts")
        await send({"type": "lifespan.startup.complete"})

    converse(WithScheduler(app, Noted(diary)), diary)
    assert diary == [line for line in ALL_IS_WELL if line != "application stops"]


def test_one_that_returns_at_its_shutdown_without_a_word_has_ended(diary: list[str]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()

    converse(WithScheduler(app, Noted(diary)), diary)
    assert diary[-2:] == ["server says shutdown", "scheduler stops"]


def test_one_that_says_twice_that_it_has_started_starts_one_scheduler(diary: list[str]) -> None:
    scheduler = Noted(diary)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for _ in range(2):
            await send({"type": "lifespan.startup.complete"})
        await receive()

    converse(WithScheduler(app, scheduler), diary)
    assert diary.count("scheduler starts") == diary.count("scheduler stops") == 1
    assert scheduler.entered == 0


# --- failures -------------------------------------------------------------------------------------


def test_an_application_whose_start_up_fails_gets_no_scheduler(diary: list[str]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    messages = started(WithScheduler(app, Noted(diary)), diary)
    assert diary == ["server says startup", "server hears startup.failed"]
    assert messages == [{"type": "lifespan.startup.failed", "message": "no database"}]


def test_what_an_application_raises_with_its_failed_start_up_is_raised(diary: list[str]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        started(WithScheduler(app, Noted(diary)), diary)
    assert diary == ["server says startup", "server hears startup.failed"]


@pytest.mark.parametrize("last", ["shutdown.complete", "shutdown.failed"])
def test_a_scheduler_that_fails_to_start_fails_the_start_up_once_the_application_is_shut_down(
    diary: list[str], last: str
) -> None:
    app = Application(diary, shutdown=last)
    messages = started(WithScheduler(app, Noted(diary, start=BROKEN)), diary)
    assert diary == [
        "server says startup",
        "application starts",
        "scheduler fails to start",
        "application stops",
        "server hears startup.failed",
    ]
    assert messages[0]["message"] == (
        "the scheduler could not start: StoreUnavailableError: the disk is gone"
    )


def test_where_it_fails_for_an_unknown_reason_its_traceback_is_told(diary: list[str]) -> None:
    app = WithScheduler(Application(diary), Noted(diary, start=ZeroDivisionError("oops")))
    [message] = started(app, diary)
    assert "Traceback" in message["message"]
    assert "ZeroDivisionError: oops" in message["message"]


@pytest.mark.parametrize("raises", [False, True])
def test_the_server_is_told_also_if_the_application_leaves_without_a_word(
    diary: list[str], *, raises: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        assert await receive() == {"type": "lifespan.shutdown"}
        if raises:
            raise LookupError("no way out")

    server: list[Server] = []

    async def main() -> None:
        server.append(Server(WithScheduler(app, Noted(diary, start=BROKEN)), diary))
        await server[0].say("startup")
        await server[0].ended()

    if raises:
        with pytest.raises(LookupError, match="no way out"):
            asyncio.run(main())
    else:
        asyncio.run(main())
    assert diary[1:] == ["scheduler fails to start", "server hears startup.failed"]


def test_one_that_asks_on_after_its_shutdown_is_told_nothing_more(diary: list[str]) -> None:
    asked = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        while True:
            word = (await receive())["type"]
            asked += 1
            await send({"type": f"{word}.complete"})

    async def main() -> None:
        server = Server(WithScheduler(app, Noted(diary, start=BROKEN)), diary)
        await server.say("startup")
        assert not server.lifespan.done()
        server.lifespan.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server.ended()

    asyncio.run(main())
    assert asked == 2
    assert diary[1:] == ["scheduler fails to start", "server hears startup.failed"]


def test_a_scheduler_that_fails_to_stop_keeps_no_application_from_its_shutdown(
    diary: list[str],
) -> None:
    scheduler = Noted(diary, stop=BROKEN)
    messages = converse(WithScheduler(Application(diary), scheduler), diary)
    assert diary[-4:] == [
        "server says shutdown",
        "scheduler fails to stop",
        "application stops",
        "server hears shutdown.failed",
    ]
    assert messages[-1]["message"] == (
        "the scheduler could not stop: StoreUnavailableError: the disk is gone"
    )


def test_an_applications_own_failure_at_its_shutdown_is_told(diary: list[str]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "stuck"})

    messages = converse(WithScheduler(app, Noted(diary)), diary)
    assert messages[-1] == {"type": "lifespan.shutdown.failed", "message": "stuck"}
    assert diary[-2:] == ["scheduler stops", "server hears shutdown.failed"]


def test_an_application_that_dies_in_the_middle_takes_its_scheduler_along(
    diary: list[str],
) -> None:
    die = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await die.wait()
        raise LookupError("gone")

    async def main() -> None:
        server = Server(WithScheduler(app, Noted(diary)), diary)
        await server.say("startup")
        die.set()
        await server.ended()

    with pytest.raises(LookupError, match="gone"):
        asyncio.run(main())
    assert diary[-2:] == ["server hears startup.complete", "scheduler stops"]
