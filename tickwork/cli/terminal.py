"""Where a command's output goes: text and tables for people, JSON for programs."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from tickwork.cli.moments import moment_text, relative_text
from tickwork.interfaces import Clock
from tickwork.model.instants import from_us
from tickwork.scheduler.clock import SystemClock

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from rich.text import Text

__all__ = ["STATUS_STYLES", "Column", "Terminal", "shortened", "terminal_of", "visible"]

STATUS_STYLES = {
    "scheduled": "green",
    "completed": "green",
    "running": "cyan",
    "paused": "yellow",
    "missed": "yellow",
    "skipped": "yellow",
    "cancelled": "yellow",
    "failed": "red",
    "timeout": "red",
    "lost": "red",
}
"""Colours of the states of tasks and runs; others have none."""

_UNBOUNDED = 10_000
_LONGEST = 2_000
_IN_LINE = {code: 0x2400 + code for code in range(32)} | {0x7F: 0x2421}
_IN_LINE |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
_IN_LINES = {code: sign for code, sign in _IN_LINE.items() if chr(code) not in "\n\t"}
_GAP = 2


class Column(NamedTuple):
    """A column of a table.

    Where a line is too short for all of them, those of the highest rank are left out first; rank 0
    never is. With `least` it may get as narrow as that: `fold` breaks its text, so that nothing of
    it is lost, otherwise its end is cut off. Without, it is as wide as its widest cell.
    """

    title: str
    rank: int = 0
    least: int | None = None
    fold: bool = False
    right: bool = False


@dataclass(slots=True)
class Terminal:
    """What a command knows of its surroundings.

    Times are shown in `zone`, None for the system's. `width` is in characters; None for that of the
    terminal, and no bound where the output is no terminal.
    """

    clock: Clock = field(default_factory=SystemClock)
    zone: tzinfo | None = None
    width: int | None = None

    @property
    def now(self) -> datetime:
        """The present instant."""
        return from_us(self.clock.now_us())

    def moment(self, moment: datetime | None, zone: tzinfo | None = None) -> str:
        """Return an instant for people, with how far away it is; "-" for None."""
        if moment is None:
            return "-"
        return f"{moment_text(moment, zone or self.zone)} ({relative_text(moment, self.now)})"

    def console(self) -> "Console":
        """Return where to print for people."""
        from rich.console import Console

        console = Console(highlight=False, markup=False, emoji=False, width=self.width)
        if self.width is None and not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = _UNBOUNDED
        return console

    def say(self, *lines: "str | Text") -> None:
        """Print lines for people, as they are."""
        console = self.console()
        for line in lines:
            if isinstance(line, str):
                shown: str | Text = visible(line)
            else:
                shown = line.copy()
                shown.plain = visible(line.plain)
            console.print(shown, soft_wrap=True)

    def json(self, data: Any) -> None:
        """Print JSON data for programs."""
        sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2) + "\n")

    def model(self, model: "BaseModel") -> None:
        """Print a model as JSON."""
        self.json(model.model_dump(mode="json"))

    def models(self, models: "Sequence[BaseModel]") -> None:
        """Print models as a list in JSON."""
        self.json([model.model_dump(mode="json") for model in models])

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Print a table that fits the terminal; states of tasks and runs get their colours."""
        from rich.table import Table
        from rich.text import Text

        console = self.console()
        rows = [[visible(cell, one_line=True) for cell in row] for row in rows]
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        widths = _widths(columns, rows, console.width)
        for at, width in widths.items():
            table.add_column(
                columns[at].title,
                justify="right" if columns[at].right else "left",
                overflow="fold" if columns[at].fold else "ellipsis",
                no_wrap=not columns[at].fold,
                width=width,
            )
        for row in rows:
            cells = (row[at] for at in widths)
            table.add_row(*(Text(cell, STATUS_STYLES.get(cell, "")) for cell in cells))
        # Trailing blanks of the last column are of no use to anybody.
        with console.capture() as captured:
            console.print(table)
        lines = (line.rstrip() for line in captured.get().splitlines())
        console.file.write("".join(f"{line}\n" for line in lines))


def visible(text: str, *, one_line: bool = False) -> str:
    """Return a text with signs in place of characters that would control the terminal.

    What tasks are called, log and raise is anybody's text.
    """
    return text.translate(_IN_LINE if one_line else _IN_LINES)


def shortened(text: str) -> str:
    """Return a text for people to read, without the end of a very long one."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}… ({len(text):,} characters; --json has all)"


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """Return the places of the columns that a line has room for, and how wide each is."""
    natural = [_natural(column, at, rows) for at, column in enumerate(columns)]
    least = [
        wide if column.least is None else min(wide, max(column.least, len(column.title)))
        for column, wide in zip(columns, natural, strict=True)
    ]
    shown = [at for at, wide in enumerate(natural) if wide]
    while (left := width + _GAP - sum(least[at] + _GAP for at in shown)) < 0:
        last = max(shown, key=lambda at: columns[at].rank)
        if not columns[last].rank:
            break
        shown.remove(last)
    widths = {}
    for at in shown:
        more = min(natural[at] - least[at], max(left, 0))
        widths[at] = least[at] + more
        left -= more
    return widths


def _natural(column: Column, at: int, rows: Sequence[Sequence[str]]) -> int:
    """Return the width of a column's widest cell; 0 if it says nothing that is needed."""
    from rich.cells import cell_len

    widest = max((cell_len(row[at]) for row in rows), default=0)
    return max(widest, len(column.title)) if widest or not column.rank else 0


def terminal_of(context: typer.Context) -> Terminal:
    """Return the surroundings of a command; tests give theirs as the context's `obj`."""
    found = context.find_object(Terminal)
    return found if found is not None else Terminal()
