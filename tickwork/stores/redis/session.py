"""What the steps of a Redis store share: reading, and changing what was read.

A step reads what it has to decide about, decides, and says what is to be changed together with
what it has looked at. One script compares that and changes all, or nothing if something doesn't
stand any more; then the step begins anew.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tickwork.errors import LeaseLostError, StoreUnavailableError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.json_text import to_text
from tickwork.stores.redis.changing import Change
from tickwork.stores.redis.layout import id_entry, id_of, instant_word, word
from tickwork.stores.redis.run_texts import KeptRun, kept_runs
from tickwork.stores.redis.server import Server, Stream, split
from tickwork.stores.redis.texts import KeptTask, kept_tasks

__all__ = ["PART", "Lost", "Session", "pieces"]

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

PART = 128
"""How many tasks are planned, or ends written, by one of several steps that follow each other."""

_PIECE = 4_000
_TRIES = 50


class Lost(Exception):  # noqa: N818  no error: a step that is told so begins anew
    """Something that was looked at has changed meanwhile; nothing was done.

    `tasks` and `runs` are the words of their ids; `others` are nodes, or lengths of orders.
    """

    def __init__(self, tasks: list[str], runs: list[str], others: list[str]) -> None:
        super().__init__(tasks, runs, others)
        self.tasks = tasks
        self.runs = runs
        self.others = others


@dataclass(frozen=True, slots=True)
class Session:
    """An open Redis store, as its steps see it."""

    server: Server
    environment: StoreEnvironment
    _epochs: dict[str, str] = field(default_factory=dict)

    def tasks(self, words: Sequence[str]) -> dict[str, KeptTask]:
        """Read tasks, by the words of their ids; absent ones are left out."""
        found: dict[str, KeptTask] = {}
        for some in pieces(words):
            texts, definitions = self._read(some, "tasks", "definitions")
            rows = [each for each in zip(some, texts, definitions, strict=True) if each[1]]
            kept = kept_tasks(rows, self.environment.codec)
            found.update((each.id_word, each) for each in kept)
        return found

    def runs(self, ids: Sequence[str]) -> dict[str, KeptRun]:
        """Read runs, by their ids; absent ones are left out."""
        found: dict[str, KeptRun] = {}
        for some in pieces(ids):
            [texts] = self._read(some, "runs")
            found.update((run.record.id, run) for run in self._those_there(some, texts))
        return found

    def grants(self, fences: Sequence[str]) -> list[str]:
        """Read which runs were leased under fences."""
        [texts] = self._read(fences, "grants")
        return [run_id for text in texts for run_id in text.split("\n")[1:]]

    def _read(self, fields: Sequence[str], *keys: str) -> list[list[str]]:
        answers = self.server.run("read", to_text(fields), *keys)
        return [split(each, len(fields)) for each in answers]

    def entries(
        self, order: str, words: str, limit: int, after: str | None = None
    ) -> list[list[str]]:
        """Return a page of the entries that begin with words, in order; each as its words."""
        start = f"[{words}\n" if after is None else f"({after}"
        answer = self.server.run("page", order, start, f"({words}\v", str(limit), "up", "")
        return [each.split("\n") for each in split(answer[0])]

    def ids(self, limit: int, beyond: str | None = None, *, descending: bool = False) -> list[str]:
        """Return a page of the ids of all tasks, in their order."""
        start, end = "-", "+"
        if beyond is not None and descending:
            end = f"({id_entry(beyond)}"
        elif beyond is not None:
            start = f"({id_entry(beyond)}"
        direction = "down" if descending else "up"
        answer = self.server.run("page", "ids", start, end, str(limit), direction, "")
        return list(map(id_of, split(answer[0])))

    def history(self, task: str, limit: int, before: str | None = None) -> list[KeptRun]:
        """Return a page of the runs of a task (the word of its id), newest first."""
        end = f"({task}\v" if before is None else f"({task}\n{before}"
        return self.newest(f"[{task}\n", end, limit, order="history")

    def newest(self, start: str, end: str, limit: int, *, order: str = "newest") -> list[KeptRun]:
        """Return runs between two bounds of an order, newest first."""
        return self._page(order, start, end, limit, "down")

    def oldest(self, start: str, limit: int) -> list[KeptRun]:
        """Return runs from a bound on, oldest first."""
        return self._page("newest", start, "+", limit, "up")

    def expired(self, now_us: int, limit: int) -> list[KeptRun]:
        """Return runs that have expired by now, the first ones first."""
        return self._page("expiring", "-", f"({instant_word(now_us + 1)}", limit, "up")

    def _page(  # noqa: PLR0917  what a page is
        self, order: str, start: str, end: str, limit: int, direction: str
    ) -> list[KeptRun]:
        answer = self.server.run("page", order, start, end, str(limit), direction, "runs")
        ids = [each.rpartition("\n")[2] for each in split(answer[0])]
        return self._those_there(ids, split(answer[1], len(ids)))

    def _those_there(self, ids: Sequence[str], texts: Sequence[str]) -> list[KeptRun]:
        rows = [each for each in zip(ids, texts, strict=True) if each[1]]
        return kept_runs(rows, self.environment.codec)

    def epoch(self, node: str) -> str:
        """Return how often a node (the word of its id) has asked what it holds, as we know."""
        return self._epochs.get(node, "0")

    def forget_epoch(self, node: str) -> None:
        """Begin to count anew, as for a node that registers."""
        self._epochs.pop(word(node), None)

    def refuse(self, answer: Sequence[bytes], node: str) -> None:
        """Raise if a script's answer is that a node may not get runs."""
        if answer[0] == b"dead":
            raise LeaseLostError(f"node {node} isn't registered (any more)")
        if answer[0] == b"late":
            self._epochs[word(node)] = answer[1].decode()
            raise StoreUnavailableError(f"node {node} has asked meanwhile what it holds; try again")

    def change(self) -> Change:
        """Return a change in which nothing stands yet."""
        return Change(self.environment.codec)

    def commit(self, change: Change, node: str = "") -> frozenset[str]:
        """Make a change, by which a node may get runs, if all that it was based on still stands.

        Returns the ids of the runs that have got their key by it.

        Raises:
            Lost: it doesn't; nothing was changed.
            LeaseLostError: the node isn't registered (any more); nothing was changed.
        """
        if not change:
            return frozenset()
        name = word(node)
        arguments = change.arguments(self.server.hint)
        answer = self.server.change("commit", name, self.epoch(name), *arguments)
        return self.outcome(change, answer, node)

    def begin(self, stream: Stream, change: Change, node: str = "") -> None:
        """Begin what `commit` does; the answer of the stream tells its outcome."""
        name = word(node)
        stream.send("commit", name, self.epoch(name), *change.arguments(self.server.hint))

    def outcome(self, change: Change, answer: Sequence[bytes], node: str = "") -> frozenset[str]:
        """Return, or raise, what `commit` does, from the answer to it."""
        self.refuse(answer, node)
        if answer[0] == b"lost":
            tasks, runs, others = map(split, answer[1:])
            raise Lost(tasks, runs, others)
        if change.asks:
            self._epochs[change.asks] = answer[1].decode()
        return frozenset(split(answer[2]))

    @staticmethod
    def persistently(step: Callable[[], _Answer]) -> _Answer:
        """Take a step until nobody comes in between."""
        for _ in range(_TRIES):
            try:
                return step()
            except Lost:
                continue
        raise StoreUnavailableError("others keep changing the same tasks; will try again")


def pieces(items: Iterable[_Item]) -> Iterable[list[_Item]]:
    """Yield items in pieces that a script can take at once."""
    listed = list(items)
    for start in range(0, len(listed), _PIECE):
        yield listed[start : start + _PIECE]
