"""A record is one JSON object in one line, with all that was said of it."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tickwork.errors import InvalidInputError
from tickwork.logs import JsonFormatter, configure
from tickwork.testing import SteppedScheduler


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Return a stream that may be configured; afterwards logging is as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail() -> float:
    return 1 / 0


def test_an_outcome_is_an_object_with_the_keys_that_are_the_same_everywhere(
    stream: io.StringIO,
) -> None:
    configure(json=True, stream=stream)
    with SteppedScheduler() as scheduler:
        scheduler.add_task(fail, "interval", minutes=1, id="bad")
        scheduler.advance(minutes=1)
        [run] = scheduler.get_runs()
    [line] = lines(stream)
    assert datetime.fromisoformat(line.pop("at")).tzinfo == UTC
    assert line == {
        "level": "WARNING",
        "logger": "tickwork.runs",
        "message": "run failed: bad (ZeroDivisionError: division by zero)",
        "task_id": "bad",
        "run_id": run.id,
        "attempt": 1,
        "store": "default",
        "fire_time": "2026-01-01T00:01:00+00:00",
        "late_s": 0.0,
    }


def formatted(message: str, **extra: Any) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": message, **extra})
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    return found


def test_any_extra_is_told_and_takes_no_key_of_the_formatter() -> None:
    line = formatted("hello", shop="Bergen", at="noon", level="high")
    assert (line["shop"], line["level"], line["message"]) == ("Bergen", "INFO", "hello")
    assert line["at"] != "noon"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({1, 2} - {2}, "{1}"),
        (float("nan"), "nan"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_what_is_no_json_becomes_a_text(value: object, told: str) -> None:
    assert formatted("hello", value=value)["value"] == told


def test_a_circle_costs_its_shape_and_not_the_line() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert formatted("hello", circle=circle)["circle"] == "[[...]]"


def test_a_traceback_is_in_the_line(stream: io.StringIO) -> None:
    configure(json=True, stream=stream)
    try:
        fail()
    except ZeroDivisionError:
        logging.getLogger("shop").exception("it broke")
    [line] = lines(stream)
    assert line["message"] == "it broke"
    assert line["traceback"].endswith("ZeroDivisionError: division by zero")


def test_configured_again_it_replaces_what_it_did(stream: io.StringIO) -> None:
    before = len(logging.getLogger().handlers)
    configure(json=True, stream=stream)
    configure(json=False, level="WARNING", stream=stream)
    assert len(logging.getLogger().handlers) == before + 1
    logging.getLogger("shop").info("quiet")
    logging.getLogger("shop").warning("loud")
    assert stream.getvalue().endswith(" WARNING shop: loud\n")
    assert len(stream.getvalue().splitlines()) == 1


def test_an_unknown_level_is_refused(stream: io.StringIO) -> None:
    before = list(logging.getLogger().handlers)
    with pytest.raises(InvalidInputError, match="no log level 'LOUD'"):
        configure(level="LOUD", stream=stream)
    assert logging.getLogger().handlers == before
