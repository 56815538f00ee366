"""Runs that are held in memory, by id and by task.

A run that is over is kept as a tuple of plain values. The garbage collector looks into every record
that there is whenever it looks through everything; such tuples it leaves out for good. A million
runs that are over cost a scheduler no pause.
"""

from collections.abc import Callable, Collection, Iterator
from operator import attrgetter
from typing import Any

from tickwork.model.policies import RunState, Source
from tickwork.model.records import RunRecord

__all__ = ["KeptRuns"]

_WORDS = ("state", "source")
_PLAIN = tuple(name for name in RunRecord.__slots__ if name not in _WORDS)
_STATES = {state.value: state for state in RunState}
_SOURCES = {source.value: source for source in Source}
_TEXTS: dict[str, str] = {word: word.value for kind in (RunState, Source) for word in kind}
# Members of an enumeration are looked into as well; plain text isn't.
_values: Callable[[RunRecord], tuple[Any, ...]] = attrgetter(*_PLAIN)


class KeptRuns:
    """Runs by id, in the order in which they came; a task's by the same order."""

    def __init__(self) -> None:
        self._runs: dict[str, RunRecord | tuple[Any, ...]] = {}
        self._histories: dict[str, str | dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def __iter__(self) -> Iterator[RunRecord]:
        return (_unpacked(kept) for kept in self._runs.values())

    def __getitem__(self, run_id: str) -> RunRecord:
        return _unpacked(self._runs[run_id])

    def get(self, run_id: str) -> RunRecord | None:
        """Return a run: the record itself, or, of one that was packed, a copy of it."""
        kept = self._runs.get(run_id)
        return _unpacked(kept) if type(kept) is tuple else kept  # type: ignore[return-value]

    def ids(self, task_id: str | None = None) -> Collection[str]:
        """Return the ids of all runs, or of a task's, oldest first."""
        if task_id is None:
            return self._runs.keys()
        history = self._histories.get(task_id, ())
        # Most tasks ever have a single run, which needs no dict of its own.
        return (history,) if isinstance(history, str) else history

    def of_task(self, task_id: str) -> Iterator[RunRecord]:
        """Yield the runs of a task, oldest first."""
        return map(self.__getitem__, self.ids(task_id))

    def add(self, run: RunRecord) -> None:
        """Keep a new run."""
        self._runs[run.id] = run
        history = self._histories.setdefault(run.task_id, run.id)
        if isinstance(history, dict):
            history[run.id] = None
        elif history != run.id:
            self._histories[run.task_id] = {history: None, run.id: None}

    def pack(self, run: RunRecord) -> None:
        """Keep a run that nobody changes any more as plain values."""
        self._runs[run.id] = (*_values(run), _TEXTS[run.state], _TEXTS[run.source])

    def remove(self, run: RunRecord) -> None:
        """Keep a run no more."""
        del self._runs[run.id]
        history = self._histories[run.task_id]
        if isinstance(history, dict):
            del history[run.id]
        if history == run.id or not history:
            del self._histories[run.task_id]


def _unpacker() -> Callable[[tuple[Any, ...]], RunRecord]:
    """Return a function that makes a record of packed values; written out as `copied` is."""
    names = ", ".join(f"run.{name}" for name in (*_PLAIN, *_WORDS))
    lines = ["def unpack(values):", "    run = new(kind)", f"    {names} = values"]
    lines += [
        "    run.state, run.source = states[run.state], sources[run.source]",
        "    return run",
    ]
    known = {"kind": RunRecord, "new": RunRecord.__new__, "states": _STATES, "sources": _SOURCES}
    exec("\n".join(lines), known)  # noqa: S102  our own words
    unpack: Callable[[tuple[Any, ...]], RunRecord] = known["unpack"]  # type: ignore[assignment]
    return unpack


_unpack = _unpacker()


def _unpacked(kept: RunRecord | tuple[Any, ...]) -> RunRecord:
    return _unpack(kept) if isinstance(kept, tuple) else kept
