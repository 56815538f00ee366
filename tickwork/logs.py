"""Log lines as JSON objects, for those who collect them."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, TextIO

from tickwork.errors import InvalidInputError

__all__ = ["JsonFormatter", "configure"]

_OWN = frozenset({*vars(logging.makeLogRecord({})), "asctime", "message", "taskName"})
"""The attributes that every record has; others are what was said as `extra`."""

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """Formats each record as one JSON object in one line.

    It has `at` (UTC), `level`, `logger` and `message`, then whatever the record was given as
    `extra`, and `traceback` where there is one. What is no JSON value becomes a text.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        said: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        extra = {name: value for name, value in vars(record).items() if name not in _OWN}
        said = {**extra, **said} if extra.keys() & said.keys() else {**said, **extra}
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        try:
            return _line(said)
        except (TypeError, ValueError):
            # A key that is no text, nan, a circle: the line matters more than its shape.
            return _line({str(name): str(value) for name, value in said.items()})


def _line(said: dict[str, Any]) -> str:
    return json.dumps(said, ensure_ascii=False, allow_nan=False, default=_plain)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def configure(
    *, json: bool = False, level: str | int = "INFO", stream: TextIO | None = None
) -> logging.Handler:
    """Send all log records from `level` on to a stream (standard error), as text or as JSON.

    Called again, it replaces what it did before; handlers of others stay. Returns the handler.

    Raises:
        InvalidInputError: there is no such level.
    """
    handler = _Handler(stream)
    handler.setFormatter(JsonFormatter() if json else logging.Formatter(_TEXT))
    root = logging.getLogger()
    try:
        root.setLevel(level)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"there is no log level {level!r}; say DEBUG, INFO, WARNING or ERROR"
        ) from error
    for former in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(former)
    root.addHandler(handler)
    return handler


class _Handler(logging.StreamHandler[TextIO]):
    """The handler that `configure` made, known by its class."""
