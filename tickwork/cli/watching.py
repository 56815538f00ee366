"""`tickwork top`: what happens at this moment, drawn anew every few seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import typer
from pydantic import BaseModel

from tickwork.cli.desk import Desk, desk, gathered
from tickwork.cli.interrupts import Interrupts
from tickwork.cli.moments import moment_text, relative_text, seconds_text
from tickwork.cli.options import Where
from tickwork.cli.single_runs import progress_text
from tickwork.cli.terminal import Terminal, terminal_of, visible
from tickwork.errors import StoreUnavailableError
from tickwork.model.policies import RunState
from tickwork.model.snapshots import NodeInfo
from tickwork.service.models import RunFilter, RunSummary, StoreView, TaskFilter, TaskView

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["watch"]

_ROWS = 8
_FAILED = [RunState.FAILED, RunState.TIMEOUT, RunState.LOST]


class _Seen(NamedTuple):
    """What is to be seen at a moment."""

    nodes: list[NodeInfo]
    stores: list[StoreView]
    late: int
    due: list[TaskView]
    running: list[RunSummary]
    under_way: int
    waiting: int
    failures: list[RunSummary]


def watch(
    context: typer.Context, where: Where, interval: float, *, once: bool, as_json: bool
) -> None:
    """Draw until q or Ctrl-C; or one frame only."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        if as_json:
            terminal.json(_data(terminal, _look(it)))
        elif once or not sys.stdout.isatty():
            terminal.console().print(_frame(terminal, it.where, _look(it)))
        else:
            _live(terminal, it, interval)


def _live(terminal: Terminal, it: Desk, interval: float) -> None:
    from rich.live import Live

    screen = Live(console=terminal.console(), screen=True, auto_refresh=False)
    with (
        suppress(KeyboardInterrupt),
        Interrupts() as interrupts,
        _keys(interrupts.wait) as pressed,
        screen as live,
    ):
        while not interrupts.pressed:
            live.update(_drawn(terminal, it), refresh=True)
            if pressed(interval) == "q":
                return


def _drawn(terminal: Terminal, it: Desk) -> RenderableType:
    try:
        return _frame(terminal, it.where, _look(it))
    except StoreUnavailableError as error:
        # Whoever looks at this wants to see it come back.
        return f"{error}\nTrying again; q ends."


def _look(it: Desk) -> _Seen:
    ask = it.ask
    running = RunFilter(status=[RunState.RUNNING])
    failed = RunFilter(status=_FAILED)
    due = TaskFilter(state="scheduled")
    found, _ = gathered(partial(ask.list_tasks, due, sort="next_run_time"), _ROWS)
    return _Seen(
        nodes=[node for node in ask.list_nodes() if node.store != "local"],
        stores=it.names(ask.list_stores()),
        late=ask.count_tasks(TaskFilter(late=True)),
        due=found,
        running=ask.list_runs(running, limit=_ROWS).items,
        under_way=ask.count_runs(running),
        waiting=ask.count_runs(RunFilter(status=[RunState.PENDING])),
        failures=ask.list_runs(failed, limit=_ROWS).items,
    )


def _data(terminal: Terminal, seen: _Seen) -> dict[str, object]:
    lists: dict[str, Sequence[BaseModel]] = {"nodes": seen.nodes, "due": seen.due}
    lists |= {"running": seen.running, "failures": seen.failures}
    return {
        "at": terminal.now.isoformat().replace("+00:00", "Z"),
        "late": seen.late,
        "under_way": seen.under_way,
        "waiting": seen.waiting,
        **{name: [each.model_dump(mode="json") for each in found] for name, found in lists.items()},
    }


def _frame(terminal: Terminal, where: str, seen: _Seen) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    now = terminal.now
    alive = [node for node in seen.nodes if node.expires_at > now]
    dead = len(seen.nodes) - len(alive)
    tasks: dict[str, int] = {}
    for store in seen.stores:
        for state, count in store.tasks.items():
            tasks[state.value] = tasks.get(state.value, 0) + count
    counted = ", ".join(f"{count:,} {state}" for state, count in tasks.items() if count) or "none"
    late = (f"{seen.late:,} late", "bold red" if seen.late else "")
    nodes = f"{len(alive):,} alive" + (f", {dead:,} dead" if dead else "")
    return Group(
        Text.assemble((f"tickwork {where}", "bold"), f"  {moment_text(now, terminal.zone)}"),
        Text.assemble(f"nodes  {nodes}"),
        Text.assemble(f"tasks  {counted}; ", late),
        Text.assemble(f"runs   {seen.under_way:,} under way, {seen.waiting:,} waiting"),
        Text(),
        *_nodes(terminal, alive),
        *_running(terminal, seen.running),
        *_due(terminal, seen.due),
        *_failures(terminal, seen.failures),
    )


def _table(*titles: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    return table


def _nodes(terminal: Terminal, nodes: list[NodeInfo]) -> Iterator[RenderableType]:
    from rich.text import Text

    if nodes:
        table = _table("NODE", "HOST", "PID", "STARTED", "BEAT", "CLOCK")
        now = terminal.now
        for node in nodes[:_ROWS]:
            beat = relative_text(node.last_beat_at, now)
            clock = seconds_text(node.clock_offset)
            started = relative_text(node.started_at, now)
            table.add_row(node.id, node.host, str(node.pid), started, beat, clock)
        yield from (table, Text())


def _running(terminal: Terminal, runs: list[RunSummary]) -> Iterator[RenderableType]:
    from rich.text import Text

    if runs:
        table = _table("RUNNING", "FOR", "PROGRESS", "NODE")
        for run in runs:
            took = seconds_text((terminal.now - (run.started_at or run.created_at)).total_seconds())
            task, progress = _line(run.task_id), _line(progress_text(run.progress))
            table.add_row(Text(task, "cyan"), took, progress, run.node or "")
        yield from (table, Text())


def _due(terminal: Terminal, tasks: list[TaskView]) -> Iterator[RenderableType]:
    from rich.text import Text

    if tasks:
        table = _table("DUE", "WHEN", "SCHEDULE")
        for task in tasks:
            moment = task.next_run_time
            when = "-" if moment is None else relative_text(moment, terminal.now)
            style = "red" if moment is not None and moment < terminal.now else ""
            table.add_row(Text(_line(task.id)), Text(when, style), Text(task.trigger_description))
        yield from (table, Text())


def _failures(terminal: Terminal, runs: list[RunSummary]) -> Iterator[RenderableType]:
    from rich.text import Text

    if runs:
        table = _table("FAILED", "WHEN", "WHY")
        for run in runs:
            when = relative_text(run.completed_at or run.created_at, terminal.now)
            why = f"{run.error_type}: {run.error_message}" if run.error_type else run.reason or ""
            table.add_row(Text(_line(run.task_id), "red"), when, Text(_line(" ".join(why.split()))))
        yield table


def _line(text: str) -> str:
    return visible(text, one_line=True)


@contextmanager
def _keys(wait: Callable[[float], None]) -> Iterator[Callable[[float], str]]:
    """Read keys as they are pressed, for the time of a block; "" after so many seconds."""
    if sys.platform == "win32" or not sys.stdin.isatty():

        def waited(seconds: float) -> str:
            wait(seconds)
            return ""

        yield waited  # Ctrl-C ends it
        return
    import select
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return sys.stdin.read(1) if ready else ""

    try:
        tty.setcbreak(sys.stdin)
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
