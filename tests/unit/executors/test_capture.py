import logging
import os
import re
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any

import pytest

from tickwork.executors import InlineExecutor
from tickwork.executors.capture import LogCapture
from tickwork.model.current import current_job
from tickwork.model.jobs import Job
from tickwork.testing.executor_contract import Reports

logger = logging.getLogger("captured")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave the factory as it was, whatever a test did to it."""
    before = logging.getLogRecordFactory()
    yield
    assert logging.getLogRecordFactory() is before


def lines_of(target: Callable[[], object], level: int = 0) -> list[str]:
    """Run a function as a job and return the lines that were captured."""
    executor, reports = InlineExecutor(), Reports()
    executor.open(reports.environment(log_level=level))
    try:
        assert executor.reserve(1) == 1
        executor.start([Job("run", "task", 1, target)])
    finally:
        executor.stop(0)
    [outcome] = reports.outcomes
    assert outcome.error is None, outcome.error
    return list(outcome.job.log or ())


def texts_of(target: Callable[[], object]) -> list[str]:
    return [line.split(": ", 1)[1] for line in lines_of(target)]


class Mute:
    def __str__(self) -> str:
        raise LookupError


class Branded(logging.LogRecord):
    pass


def test_a_line_has_time_level_and_logger() -> None:
    [line] = lines_of(lambda: logger.error("%d of %s", 1, "two"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ERROR captured: 1 of two", line)


def test_records_of_loggers_that_do_not_propagate_are_captured() -> None:
    quiet = logging.getLogger("captured.quiet")
    quiet.propagate = False
    assert texts_of(lambda: quiet.warning("heard")) == ["heard"]


def test_what_its_logger_lets_not_through_is_not_captured() -> None:
    strict = logging.getLogger("captured.strict")
    strict.setLevel(logging.ERROR)
    assert texts_of(lambda: strict.warning("no")) == []


@pytest.mark.parametrize("name", ["tickwork", "tickwork.loop"])
def test_tickworks_own_records_are_not_captured(name: str) -> None:
    assert texts_of(lambda: logging.getLogger(name).error("ours")) == []


def test_a_namesake_is_captured() -> None:
    assert texts_of(lambda: logging.getLogger("tickworks").error("theirs")) == ["theirs"]


def test_records_outside_of_jobs_are_not_captured() -> None:
    executor = InlineExecutor()
    executor.open(Reports().environment())
    job = Job("run", "task", 1, print)
    Context().run(logger.error, "nobody's")
    executor.stop(0)
    assert job.log is None


def test_long_lines_are_bounded() -> None:
    [line] = lines_of(lambda: logger.error("x" * 100_000))
    assert len(line) == 1_000


def test_the_end_of_a_traceback_is_kept() -> None:
    def job() -> None:
        try:
            int("y" * 50_000)
        except ValueError:
            logger.exception("wrong", exc_info=ValueError("y" * 5_000))

    [line] = lines_of(job)
    first, rest = line.split("\n", 1)
    assert first.endswith("captured: wrong")
    assert rest == "y" * 1_000


def test_an_exception_is_captured_with_its_traceback() -> None:
    def job() -> None:
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            logger.exception("wrong")

    [line] = lines_of(job)
    assert "wrong\nTraceback (most recent call last):\n" in line
    assert line.endswith("ZeroDivisionError: division by zero")


def test_lines_fit_every_database() -> None:
    assert texts_of(lambda: logger.error("a\0b\ud800")) == ["a\\x00b\\ud800"]


def test_arguments_that_do_not_fit_cost_no_more_than_themselves() -> None:
    make = logging.getLogRecordFactory()

    def job() -> None:
        logging.getLogRecordFactory()("captured", 30, "file", 1, "%d and %s", ("x", 1), None)
        logging.getLogRecordFactory()("captured", 30, "file", 1, "%s", (Mute(),), None)

    assert logging.getLogRecordFactory() is make
    assert texts_of(job) == [
        "%d and %s <its arguments can't be shown: TypeError>",
        "%s <its arguments can't be shown: LookupError>",
    ]


def test_a_message_that_cannot_speak_costs_its_line() -> None:
    def job() -> None:
        factory = logging.getLogRecordFactory()
        factory("captured", 30, "file", 1, Mute(), (), None)
        factory("captured", 30, "file", 1, "next", (), None)

    assert texts_of(job) == ["next"]


def test_records_that_are_made_empty_are_left_alone() -> None:
    assert lines_of(lambda: logging.makeLogRecord({"msg": "from elsewhere"})) == []


def test_no_logger_has_a_handler_of_ours() -> None:
    found: list[list[logging.Handler]] = []
    assert lines_of(lambda: found.append([*logging.getLogger().handlers])) == []
    assert found == [logging.getLogger().handlers]


def test_the_last_to_stop_restores_the_factory() -> None:
    before = logging.getLogRecordFactory()
    executors = [InlineExecutor(), InlineExecutor()]
    for executor in executors:
        executor.open(Reports().environment())
    executors[0].stop(0)
    assert logging.getLogRecordFactory() is not before
    executors[0].stop(0)
    assert logging.getLogRecordFactory() is not before
    executors[1].stop(0)
    assert logging.getLogRecordFactory() is before


def test_the_factory_of_another_library_makes_the_records() -> None:
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Branded)
    made: list[logging.LogRecord] = []

    def job() -> None:
        made.append(logger.makeRecord("captured", 40, "file", 1, "branded", (), None))

    try:
        assert texts_of(job) == ["branded"]
        assert logging.getLogRecordFactory() is Branded
    finally:
        logging.setLogRecordFactory(before)
    assert [type(record) for record in made] == [Branded]


def test_a_factory_that_was_set_meanwhile_stays_and_captures_no_more() -> None:
    before = logging.getLogRecordFactory()
    capture = LogCapture()
    job = Job("run", "task", 1, print)
    context = Context()
    context.run(current_job.set, job)
    try:
        capture.hold("one")
        ours = logging.getLogRecordFactory()

        def theirs(*args: Any, **kwargs: Any) -> logging.LogRecord:
            return ours(*args, **kwargs)

        logging.setLogRecordFactory(theirs)
        context.run(logger.error, "first")
        capture.let_go("one")
        assert logging.getLogRecordFactory() is theirs
        context.run(logger.error, "not captured")
        capture.hold("two")
        context.run(logger.error, "last")
        capture.let_go("two")
        assert logging.getLogRecordFactory() is theirs
    finally:
        logging.setLogRecordFactory(before)
    assert [line.split(": ")[1] for line in job.log or ()] == ["first", "last"]


def test_what_is_forsaken_is_let_go_although_the_lock_is_held() -> None:
    before = logging.getLogRecordFactory()
    capture = LogCapture()
    capture.hold("one")
    with capture._lock:  # noqa: SLF001 - as a thread may at the moment of a fork
        capture.forsake("one")
    assert logging.getLogRecordFactory() is before


def test_records_are_what_they_are_without_us() -> None:
    made: list[logging.LogRecord] = []

    def job() -> None:
        made.append(logger.makeRecord("n", 10, "f", 2, "m %s", ("a",), None, "function"))

    lines_of(job)
    [record] = made
    assert (record.process, record.funcName, record.getMessage()) == (
        os.getpid(),
        "function",
        "m a",
    )
