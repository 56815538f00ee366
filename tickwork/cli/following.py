"""`tickwork log --follow`: what a run logs, as it does, until it is over."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from tickwork.cli.desk import Desk, desk
from tickwork.cli.failures import FAILED
from tickwork.cli.interrupts import Interrupts
from tickwork.cli.terminal import Terminal, terminal_of
from tickwork.errors import StoreUnavailableError
from tickwork.model.policies import RunState

if TYPE_CHECKING:
    from tickwork.cli.options import Where
    from tickwork.service.models import RunLog

__all__ = ["added", "follow_log"]


def follow_log(
    context: typer.Context, where: Where, run_id: str, interval: float, *, as_json: bool
) -> None:
    """Print what a run has logged, and what it logs until it is over; Ctrl-C ends it before."""
    terminal = terminal_of(context)
    with Interrupts() as interrupts, desk(where, terminal.clock) as it:
        logs = _logs(it, run_id, lambda: interrupts.wait(interval))
        last = _follow(terminal, logs, as_json=as_json)
    if not as_json:
        typer.echo(f"Run {run_id} is {last.value}.", err=True)
    if last is not RunState.COMPLETED:
        raise typer.Exit(FAILED)


def added(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """Return the lines that are new in the last lines of a log, which were others before.

    Lines that went out at the beginning are no reason to print the rest again.
    """
    for gone in range(len(before)):
        kept = before[gone:]
        if now[: len(kept)] == kept:
            return now[len(kept) :]
    return now


def _follow(terminal: Terminal, logs: Iterator[RunLog], *, as_json: bool) -> RunState:
    """Print until the run is over; return how it ended."""
    shown: list[str] = []
    for log in logs:
        new = list(added(shown, log.lines))
        shown = log.lines
        if as_json and (new or log.over):
            told = log.model_copy(update={"lines": new}).model_dump(mode="json")
            sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
        elif new:
            terminal.say(*new)
        sys.stdout.flush()
    return log.status


def _logs(it: Desk, run_id: str, wait: Callable[[], None]) -> Iterator[RunLog]:
    """Yield the log of a run again and again, the last time when the run is over."""
    log = it.ask.get_log(run_id)
    reached = True
    while True:
        if reached:
            yield log
        if log.over:
            return
        wait()
        try:
            log = it.ask.get_log(run_id)
            reached = True
        except StoreUnavailableError as error:
            # Whoever follows a run wants to see its end: said once, then tried until it answers.
            if reached:
                typer.echo(f"tickwork: {error}; trying again, Ctrl-C ends", err=True)
            reached = False
