"""Runs that are held in memory, by id and by task.

A run that is over is kept as bytes. The garbage collector follows each reference to anything that
could hold others whenever it looks through everything, so that a million records would stop the
process for a second; dicts from text to bytes it leaves out for good.
"""

import marshal
from collections.abc import Callable, Collection, Iterator
from typing import Any

from tickwork.model.definition import Definition, Unreadable
from tickwork.model.policies import RunState, Source
from tickwork.model.records import RunRecord

__all__ = ["KeptRuns"]

_APART = ("state", "source", "definition")
_PLAIN = tuple(name for name in RunRecord.__slots__ if name not in _APART)
_STATES = {state.value: state for state in RunState}
_SOURCES = {source.value: source for source in Source}
_TEXTS: dict[str, str] = {word: word.value for kind in (RunState, Source) for word in kind}


class KeptRuns:
    """Runs by id, in the order in which they came; those of a task, too."""

    def __init__(self) -> None:
        self._live: dict[str, RunRecord] = {}
        self._packed: dict[str, bytes | None] = {}  # None for those that are live
        self._definitions: dict[str, Definition | Unreadable] = {}
        self._slots: dict[str, None] = {}
        self._histories: dict[str, str | dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._packed

    def __iter__(self) -> Iterator[RunRecord]:
        return map(self.__getitem__, self._packed)

    def __getitem__(self, run_id: str) -> RunRecord:
        run = self.get(run_id)
        if run is None:
            raise KeyError(run_id)
        return run

    def get(self, run_id: str) -> RunRecord | None:
        """Return a run: the record itself, or, of one that was packed, a copy."""
        run = self._live.get(run_id)
        if run is None and (packed := self._packed.get(run_id)) is not None:
            return _unpack(marshal.loads(packed), self._definitions.get(run_id))  # noqa: S302  ours
        return run

    def ids(self, task_id: str | None = None) -> Collection[str]:
        """Return the ids of all runs, or of a task's, oldest first."""
        if task_id is None:
            return self._packed.keys()
        history = self._histories.get(task_id, ())
        # Most tasks ever have a single run, which needs no dict of its own.
        return (history,) if isinstance(history, str) else history

    def of_task(self, task_id: str) -> Iterator[RunRecord]:
        """Yield the runs of a task, oldest first."""
        return map(self.__getitem__, self.ids(task_id))

    def add(self, run: RunRecord) -> bool:
        """Keep a new run; False where its slot is taken."""
        if run.fire_us is not None:
            slot = _slot(run)
            if slot in self._slots:
                return False
            self._slots[slot] = None
        run_id = run.id
        self._live[run_id] = run
        self._packed[run_id] = None
        history = self._histories.setdefault(run.task_id, run_id)
        if isinstance(history, dict):
            history[run_id] = None
        elif history != run_id:
            self._histories[run.task_id] = {history: None, run_id: None}
        return True

    def pack(self, run: RunRecord) -> None:
        """Keep a run that nobody changes any more as bytes."""
        try:
            self._packed[run.id] = _pack(run)
        except ValueError:
            return  # a name in it is of a kind of its own: it stays as it is
        if run.definition is not None:
            self._definitions[run.id] = run.definition
        self._live.pop(run.id, None)

    def remove(self, run: RunRecord) -> None:
        """Keep a run no more."""
        del self._packed[run.id]
        self._live.pop(run.id, None)
        self._definitions.pop(run.id, None)
        if run.fire_us is not None:
            self._slots.pop(_slot(run), None)
        history = self._histories[run.task_id]
        if isinstance(history, dict):
            del history[run.id]
        if history == run.id or not history:
            del self._histories[run.task_id]


def _slot(run: RunRecord) -> str:
    return f"{run.generation} {run.fire_us} {run.task_id}"


def _compiled(name: str, lines: list[str], **known: Any) -> Callable[..., Any]:
    """Return a function that is written out here, field by field, as `copied` is."""
    exec("\n".join(lines), known)  # noqa: S102  our own words
    compiled: Callable[..., Any] = known[name]
    return compiled


_FIELDS = ", ".join(f"run.{name}" for name in _PLAIN)

_pack: Callable[[RunRecord], bytes] = _compiled(
    "pack",
    ["def pack(run):", f"    return dumps(({_FIELDS}, texts[run.state], texts[run.source]))"],
    dumps=marshal.dumps,
    texts=_TEXTS,
)

_unpack: Callable[[tuple[Any, ...], Definition | Unreadable | None], RunRecord] = _compiled(
    "unpack",
    [
        "def unpack(values, definition):",
        "    run = new(kind)",
        f"    {_FIELDS}, run.state, run.source = values",
        "    run.state, run.source = states[run.state], sources[run.source]",
        "    run.definition = definition",
        "    return run",
    ],
    kind=RunRecord,
    new=RunRecord.__new__,
    states=_STATES,
    sources=_SOURCES,
)
