"""What goes wrong, as the command line says it: one line on stderr, and an exit code.

The codes follow the tree of `tickwork.errors`: whose fault it is, and whether trying again helps.
"""

import json
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from tickwork.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StoreError,
    TaskError,
    TickworkError,
)
from tickwork.service.errors import (
    AccessDeniedError,
    TooManyAttemptsError,
    UnauthenticatedError,
)

__all__ = [
    "BROKEN",
    "EXIT_CODES",
    "FAILED",
    "INTERRUPTED",
    "NOTABLE",
    "UNEXPECTED",
    "ReportingGroup",
    "exit_code_of",
]

FAILED = 5
"""The exit code where a task's own code is at fault."""

EXIT_CODES: tuple[tuple[type[TickworkError], int], ...] = (
    (InvalidInputError, 2),  # as for unknown options
    (NotFoundError, 3),
    (ConflictError, 4),
    (TaskError, FAILED),
    (StoreError, 75),  # EX_TEMPFAIL: try again later
    (TooManyAttemptsError, 75),
    (UnauthenticatedError, 77),  # EX_NOPERM
    (AccessDeniedError, 77),
    (TickworkError, 1),
)
"""The exit code of each branch of the tree of errors."""

UNEXPECTED = 70
"""The exit code where tickwork itself is at fault (EX_SOFTWARE)."""

NOTABLE = 10
"""The exit code where nothing is wrong with the command, and it found what to look at."""

BROKEN = 11
"""The exit code where it found what doesn't work."""

INTERRUPTED = 130
"""The exit code of what Ctrl-C ended (128 and the number of SIGINT)."""

_TRACEBACK = "TICKWORK_TRACEBACK"


def exit_code_of(error: Exception) -> int:
    """Return the exit code that says whose fault an error is."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), UNEXPECTED)


class ReportingGroup(TyperGroup):
    """A group of commands whose errors are told in one line, never with a traceback.

    With `--json` among the arguments that line is a JSON object. `TICKWORK_TRACEBACK=1` lets
    errors through as they are.
    """

    def invoke(self, ctx: Any) -> Any:  # Any: older typers have this class from click
        """Call the command that the arguments name."""
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        # The one guard of the command line: whatever it is, people get a line and scripts a code.
        except Exception as error:
            if os.environ.get(_TRACEBACK) or _is_control_flow(error, as_json=as_json):
                raise
            code = getattr(error, "exit_code", None) or exit_code_of(error)
            _report(error, code, as_json=as_json)
            raise typer.Exit(code) from error


def _is_control_flow(error: Exception, *, as_json: bool) -> bool:
    """Whether the framework is to deal with it: exits, and unknown options told to people."""
    if isinstance(error, (typer.Exit, typer.Abort, BrokenPipeError)):
        return True
    return not as_json and hasattr(error, "format_message")


def _report(error: Exception, code: int, *, as_json: bool) -> None:
    message = _message(error)
    if as_json:
        told = {"type": type(error).__name__, "message": message, "exit_code": code}
        sys.stderr.write(json.dumps({"error": told}, ensure_ascii=False) + "\n")
        return
    if code == UNEXPECTED:
        message = f"unexpected {type(error).__name__}: {message} ({_TRACEBACK}=1 shows where)"
    sys.stderr.write(f"tickwork: {message}\n")


def _message(error: Exception) -> str:
    format_message = getattr(error, "format_message", None)
    text = str(format_message() if format_message else error).strip()
    # What drivers say goes on for lines; the first one says it.
    line = text.splitlines()[0] if text else "no message"
    if isinstance(error, UnauthenticatedError):
        return f"{line} (here: --token, or TICKWORK_TOKEN)"
    return line
