"""A change of what is kept, put together before it is made.

It knows what it is based on, so that it can be refused, and what follows for the orders when a
record changes: entries are always those of the record as it was read, and as it will be.
"""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from tickwork.model.definition import DefinitionCodec
from tickwork.model.json_text import to_text
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import RunRecord, copied
from tickwork.stores.redis.entries import (
    asked_entry,
    available_entry,
    due_entry,
    expiry_entry,
    queue_entry,
    waiter_entry,
)
from tickwork.stores.redis.layout import from_word, id_entry, word
from tickwork.stores.redis.run_texts import new_run_text, run_text
from tickwork.stores.redis.server import SEPARATOR
from tickwork.stores.redis.texts import KeptTask, task_text

__all__ = ["Change", "Traces", "let_through", "traces"]

_PENDING, _SCHEDULED = RunState.PENDING, ScheduleState.SCHEDULED


class Traces(NamedTuple):
    """What a task leaves in orders and counts, and how its texts are."""

    version: str
    definition: str
    due: str | None
    finished: str | None
    labels: list[str]
    state: str


def traces(kept: KeptTask) -> Traces:
    """Return what a task leaves as it stands."""
    due, finished = kept.due_entry(), kept.finished_entry()
    state = kept.record.state.value
    return Traces(kept.version, kept.text, due, finished, kept.labels, state)


class Change:
    """What is to be compared, and what is to be written then; nothing happens here."""

    def __init__(self, codec: DefinitionCodec) -> None:
        self._codec = codec
        self._expected: dict[str, list[str]] = {"tasks": [], "runs": [], "nodes": []}
        self._advanced: list[str] = []
        self._lengths: list[tuple[str, str, str, int]] = []
        self.notes: list[str] = []
        self.marks: list[str] = []
        self.lingering: list[str] = []
        self.ends: list[str] = []
        self.over: list[str] = []
        self._heads: list[str] = []
        self._new: list[str] = []
        self._rewritten: list[str] = []
        self._gates: list[tuple[int, str, str, str]] = []
        self._set: dict[str, list[str]] = {}
        self._cut: dict[str, list[str]] = {}
        self._add: dict[str, list[str]] = {}
        self._remove: dict[str, list[str]] = {}
        self._grant: list[str] = []
        self._released: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._left: list[ScheduleState] = []
        self._reached: list[ScheduleState] = []
        self.hints = False
        self.asks = ""
        self.changes = ""

    def __bool__(self) -> bool:
        said = self.notes, self.marks, self.lingering, self.ends, self.asks
        return any((*self._expected.values(), self._advanced, *said))

    def arguments(self, hint: tuple[str, str]) -> tuple[str, ...]:
        """Return what the script is told; a hint is where to publish what.

        Long lists stand each in an argument of its own, joined: to quote thousands of texts that
        are full of quotes, and to read them again, costs more than all else that is done with them.
        """
        lists: list[tuple[tuple[str, ...], list[str]]]
        lists = [((name,), items) for name, items in self._lists().items()]
        stored = {"set": self._set, "cut": self._cut, "add": self._add, "remove": self._remove}
        for what, keys in stored.items():
            lists += [((what, key), items) for key, items in keys.items()]
        lists = [each for each in lists if each[1]]
        parts: dict[str, Any] = {
            "lists": [(len(items), *place) for place, items in lists],
            "lengths": self._lengths,
            "gates": sorted(self._gates, key=itemgetter(0)),
            "released": self._released,
            "counts": self._counted(),
            "hint": hint,
            "hints": self.hints,
            "asks": self.asks,
            "changes": self.changes,
        }
        text = to_text({name: part for name, part in parts.items() if part})
        return text, *(SEPARATOR.join(items) for _, items in lists)

    def _counted(self) -> dict[str, int]:
        """Return how the number of tasks in each state changes."""
        counts = Counter(self._counts)
        for state in ScheduleState:
            counts[state.value] += self._reached.count(state) - self._left.count(state)
        return {state: count for state, count in counts.items() if count}

    def _lists(self) -> dict[str, list[str]]:
        return {
            **self._expected,
            "advanced": self._advanced,
            "notes": self.notes,
            "marks": self.marks,
            "lingering": self.lingering,
            "ends": self.ends,
            "over": self.over,
            "heads": self._heads,
            "new": self._new,
            "rewritten": self._rewritten,
            "grant": self._grant,
        }

    # -- what it is based on

    def expect(self, key: str, field: str, start: str) -> None:
        """Go on only if a text begins like this; if there is none, where this is empty."""
        self._expected[key] += (field, start)

    def expect_length(self, order: str, words: str, length: int) -> None:
        """Go on only if so many entries begin with these words."""
        self._lengths.append((order, f"[{words}\n", f"({words}\v", length))

    # -- what becomes of it

    def set(self, key: str, field: str, text: str) -> None:
        """Write a text under a field of a hash."""
        self._set.setdefault(key, []).extend((field, text))

    def cut(self, key: str, field: str) -> None:
        """Remove a field of a hash."""
        self._cut.setdefault(key, []).append(field)

    def add(self, order: str, entry: str) -> None:
        """Add an entry to an order."""
        self._add.setdefault(order, []).append(entry)

    def remove(self, order: str, entry: str) -> None:
        """Remove an entry of an order."""
        self._remove.setdefault(order, []).append(entry)

    def head(self, run_id: str, head: str) -> None:
        """Replace the first line of a run's text."""
        self._heads += (run_id, head)

    def rewrite(self, run: RunRecord) -> None:
        """Write all of a run anew, but for what it says of itself."""
        self._rewritten += (run.id, run_text(run, self._codec))

    def move(self, task: str, before: Traces | None, kept: KeptTask | None) -> None:
        """Put a task where it is found to stand, or away; what it was is compared."""
        self.expect("tasks", task, before.version if before else "")
        after = traces(kept) if kept else None
        if kept is not None:
            self.set("tasks", task, task_text(kept))
            if before is None or before.definition != kept.text:
                self.set("definitions", task, kept.text)
            if before is None:
                self.add("ids", id_entry(from_word(task)))
        elif before is not None:
            self.cut("tasks", task)
            self.cut("definitions", task)
            self.remove("ids", id_entry(from_word(task)))
        self._move_entries(task, before, after)
        old, new = before and before.state, after and after.state
        if old != new:
            if old:
                self._counts[old] -= 1
            if new:
                self._counts[new] += 1

    def _move_entries(self, task: str, before: Traces | None, after: Traces | None) -> None:
        for order in ("due", "finished"):
            old: str | None = getattr(before, order, None)
            new: str | None = getattr(after, order, None)
            if old != new:
                if old is not None:
                    self.remove(order, old)
                if new is not None:
                    self.add(order, new)
                    self.hints |= order == "due"
        old_labels = before.labels if before else []
        new_labels = after.labels if after else []
        if old_labels != new_labels:
            for label in old_labels:
                self.remove("labels", f"{label}\n{task}")
            for label in new_labels:
                self.add("labels", f"{label}\n{task}")

    def advance(self, kept: KeptTask, due: str, was: ScheduleState) -> None:
        """Put a task that was due where planning has found it to stand; as `move` would.

        What is compared is that it was of the revision before.
        """
        task, record = kept.id_word, kept.record
        self._advanced += (task, task_text(kept))
        self.remove("due", due)
        if record.state is not was:
            self._left.append(was)
            self._reached.append(record.state)
        if record.state is not _SCHEDULED:
            entry = kept.finished_entry()
            if entry is not None:
                self.add("finished", entry)
        elif record.due_us is not None:
            self.add("due", due_entry(kept.executor, kept.function, task, record.due_us))

    def make(self, runs: Sequence[RunRecord], kept: KeptTask | None = None) -> None:
        """Add new runs, and find those that aren't leased a place.

        `kept` is their task as it was planned; where it is known, its words need not be made anew.
        """
        for run in runs:
            words = (
                (word(run.task_id), word(run.function), word(run.executor))
                if kept is None
                else (kept.id_word, kept.function, kept.executor)
            )
            self._new += (run.id, new_run_text(run, words, self._codec), words[0])
            if run.node is None and run.state is _PENDING:
                self.offer(run)

    def grant(self, node: str, fence: int, run_ids: Sequence[str]) -> None:
        """Note which new runs are leased to a node (the word of its id) by this step."""
        if run_ids:
            self._grant = [node, str(fence), "\n".join((node, *run_ids)), str(len(run_ids))]

    def release(self, run: RunRecord) -> None:
        """End the lease of a run."""
        self._released[str(run.fence)] += 1
        if run.cancel_us is not None and run.node is not None:
            self.remove("asked", asked_entry(word(run.node), run.id))
        run.node = None

    def offer(self, run: RunRecord) -> None:
        """Find a place for a pending run: where it waits for its key, available, or queued."""
        if run.gated_us is not None:
            self.gate(0, "wait", word(run.key or ""), waiter_entry(run))
            return
        self.add(*_place(run))
        self.hints |= run.available_us is not None

    def withdraw(self, run: RunRecord, step: int = 0) -> None:
        """Take a pending run from its place, and its key from it."""
        if run.gated_us is not None:
            self.gate(step, "drop", word(run.key or ""), waiter_entry(run))
            # Where what happens in this change before has let it through.
            through = copied(run)
            let_through(through)
            self.remove("available", available_entry(through))
            return
        self.remove(*_place(run))
        if run.holds_key:
            self.leave(run, step)

    def leave(self, run: RunRecord, step: int = 0) -> None:
        """Have a run hold its key no more."""
        self.gate(step, "leave", word(run.key or ""))

    def gate(self, step: int, what: str, key: str, entry: str = "") -> None:
        """Do something at the gate of a key, after so many ends of runs.

        To `wait`, to `drop` who waits, or to `leave`: each may let others through, so their order
        matters.
        """
        self._gates.append((step, what, key, entry))

    def expire(self, run_id: str, expires_us: int | None) -> None:
        """Have a run that is over forgotten from an instant on, if there is one."""
        if expires_us is not None:
            self.add("expiring", expiry_entry(run_id, expires_us))


def let_through(run: RunRecord) -> None:
    """Have a run that waited for its key hold it."""
    run.holds_key = True
    run.available_us, run.gated_us = run.gated_us, None


def _place(run: RunRecord) -> tuple[str, str]:
    if run.available_us is None:
        return "queues", queue_entry(run)
    return "suspects" if run.suspect else "available", available_entry(run)
