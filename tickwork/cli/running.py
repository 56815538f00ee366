"""`tickwork run`: a scheduler of the user's, until a signal.

The first SIGINT or SIGTERM asks for a clean stop. The second is impatient: the stop waits no
longer, and what is under way is given back to the store at once. A third one kills.

Python runs signal handlers between two steps of the main thread, and one that begins to wait at
that very moment would learn of the signal when its wait is over. So the handlers do nothing: the
interpreter writes each signal to a socket as it comes, which is what the main thread waits for.
The stop itself happens in another thread meanwhile.
"""

import logging
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import Any, Self

import typer

from tickwork.cli.reporting import print_json_event, print_lines
from tickwork.cli.terminal import terminal_of
from tickwork.errors import InvalidInputError, TickworkError
from tickwork.events import Event
from tickwork.logs import JsonFormatter
from tickwork.scheduler.runtime import StopReport
from tickwork.scheduler.scheduler import Scheduler
from tickwork.version import __version__

__all__ = ["Signals", "load_scheduler", "log_to_stderr", "run_scheduler", "tell_left"]

_FORM = "MODULE:SCHEDULER, such as shop.jobs:scheduler"


def run_scheduler(
    context: typer.Context,
    target: str,
    *,
    seconds: float | None,
    stop_timeout: float,
    as_json: bool,
    json_logs: bool = False,
) -> None:
    """Run a scheduler until SIGINT, SIGTERM or the end of `seconds`, and stop it cleanly."""
    terminal = terminal_of(context)
    scheduler = load_scheduler(target)
    log_to_stderr(JsonFormatter() if json_logs else None, outcomes=json_logs)
    scheduler.on(Event, print_json_event if as_json else print_lines(terminal))
    impatient = None
    with Signals() as signals, ThreadPoolExecutor(1) as aside:
        scheduler.start()
        if not as_json:
            terminal.say(*_greeting(scheduler))
        number = signals.wait(seconds)
        if number and not as_json:
            terminal.say(f"{signal.Signals(number).name}: stopping")
        stop = aside.submit(scheduler.stop, timeout=stop_timeout)
        stop.add_done_callback(signals.wake)
        impatient = signals.wait(None)
        if impatient:
            again = " again" if number else ""
            typer.echo(f"{signal.Signals(impatient).name}{again}: not waiting", err=True)
            signals.let_kill()
            scheduler.stop(wait=False)
        report = stop.result()
    tell_left(report)
    if impatient:
        raise typer.Exit(128 + impatient)
    if report.clean and not as_json:
        terminal.say("stopped")


def load_scheduler(target: str) -> Scheduler:
    """Import a scheduler by its name, `module:attribute`, also from the working directory.

    Raises:
        InvalidInputError: the module can't be imported, or there is no scheduler of that name.
    """
    module_name, separator, path = target.partition(":")
    if not (separator and module_name and path):
        raise InvalidInputError(f"{target!r} names no scheduler; say {_FORM}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found: Any = _imported(module_name)
    for name in path.split("."):
        if not hasattr(found, name):
            names = getattr(found, "__dict__", {}).items()
            known = [each for each, value in names if isinstance(value, Scheduler)]
            hint = f"; its schedulers are {', '.join(known)}" if known else ""
            raise InvalidInputError(f"{module_name} has no {path!r}{hint}")
        found = getattr(found, name)
    if not isinstance(found, Scheduler):
        raise InvalidInputError(f"{target} is {found!r} and no Scheduler; say {_FORM}")
    return found


def _imported(name: str) -> object:
    try:
        return import_module(name)
    except TickworkError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InvalidInputError(
                f"there is no module {error.name!r} in the working directory or on PYTHONPATH"
            ) from error
        raise _import_failure(name, error) from error
    # The guard through which users' modules are imported.
    except Exception as error:
        raise _import_failure(name, error) from error


def _import_failure(name: str, error: Exception) -> InvalidInputError:
    (*_, last) = extract_tb(error.__traceback__)
    where = f"{os.path.relpath(last.filename)}, line {last.lineno}"
    return InvalidInputError(f"can't import {name}: {type(error).__name__}: {error} ({where})")


def log_to_stderr(formatter: logging.Formatter | None = None, *, outcomes: bool = False) -> None:
    """Show warnings, unless the application has set up its logging.

    Those of the `outcomes` of runs have lines of their own, as a rule.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(levelname)s %(name)s: %(message)s")
    handler.setFormatter(formatter or plain)
    handler.addFilter(lambda record: outcomes or record.name != "tickwork.runs")
    root.addHandler(handler)


def _greeting(scheduler: Scheduler) -> list[str]:
    snapshot = scheduler.snapshot()
    lines = [f"tickwork {__version__}, node {snapshot.nodes['default']}; Ctrl-C stops"]
    for name, counts in snapshot.tasks.items():
        told = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
        if told or name != "local":
            lines.append(f"tasks in {name} ({snapshot.stores[name]}): {told or 'none'}")
    return lines


def tell_left(report: StopReport) -> None:
    """Say which runs a stop left behind."""
    if report.given_back:
        typer.echo(f"{_counted(report.given_back)} given back to the store", err=True)
    if report.still_running:
        typer.echo(
            f"{_counted(report.still_running)} still under way in threads; "
            "others take over once the lease is over",
            err=True,
        )


def _counted(run_ids: tuple[str, ...]) -> str:
    return f"{len(run_ids):,} run{'s' if len(run_ids) > 1 else ''}"


class Signals:
    """SIGINT and SIGTERM, for the time of a block in the main thread."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._inbox, self._outbox = socket.socketpair()
        self._outbox.setblocking(False)
        self._fd_before = -1

    def __enter__(self) -> Self:
        self._fd_before = signal.set_wakeup_fd(self._outbox.fileno())
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._inbox.close()
        self._outbox.close()

    def wait(self, seconds: float | None) -> int:
        """Wait for a signal; return its number, or 0 when woken or when the seconds are over."""
        self._inbox.settimeout(seconds)
        try:
            (number,) = self._inbox.recv(1)
        except (TimeoutError, BlockingIOError):
            return 0
        return int(number)

    def wake(self, _: object) -> None:
        """End a `wait` without a signal; from any thread."""
        self._outbox.send(b"\0")

    def let_kill(self) -> None:
        """Let the next signal end the process at once."""
        for number in self._before:
            signal.signal(number, signal.SIG_DFL)
