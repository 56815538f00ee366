"""In whose span runs of stored tasks were asked for, where another process may execute them.

Such a run has no place of its own for that. So its ids are chosen first, a document for each says
who asked, and only then the run is made: who executes it finds the document, however quick it is.
Documents are forgotten after a day.
"""

# ruff: noqa: SLF001  what makes the runs lies behind the scheduler's public methods

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from tickwork.integrations.wrapping import Wrappings
from tickwork.interfaces import Keeping, Store
from tickwork.model.instants import SECOND
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.policies import Source
from tickwork.model.records import RunRecord, TaskRecord
from tickwork.model.steps import Edit, Edited
from tickwork.scheduler.guard import guarded
from tickwork.scheduler.scheduler import Scheduler

__all__ = ["Submitters"]

logger = logging.getLogger("tickwork.tracing")

_KIND = "trace"
_KEPT_US = 86_400 * SECOND
_REMEMBERED = 10_000

Decide = Callable[[TaskRecord], Edit]
Editing = Callable[[Sequence[str], Decide, Callable[[], str]], list[Edited]]


class Submitters:
    """The trace contexts of who asked for runs of stored tasks; `current` returns that of now."""

    def __init__(self, scheduler: Scheduler, current: Callable[[], str | None]) -> None:
        self._scheduler = scheduler
        self._current = current
        self._asking: ContextVar[str | None] = ContextVar("tickwork_asking", default=None)
        self._known: OrderedDict[str, str] = OrderedDict()

    def follow(self, around: Wrappings) -> None:
        """Note who asks, from now on until the wrappings are taken off."""
        around.wrap(self._scheduler._book, "run_all", self._asked)
        around.wrap(self._scheduler, "_retry_task_run", self._asked)
        for name, store in self._scheduler._stores.items():
            around.wrap(store, "edit", partial(self._editing, name, store))

    def look_up(self, run: RunRecord, store: str) -> None:
        """Learn who asked for a run that this process may not have made; asks its store."""
        if run.source is not Source.MANUAL or run.definition is not None or run.id in self._known:
            return
        kept = _keeping(self._scheduler._stores.get(store))
        if kept is None:
            return
        found = guarded(_kept, kept, run.id)
        if found.error is not None:
            logger.warning("who asked for a run isn't known: %s", found.error)
        if found.value is not None:
            self._remember(run.id, found.value)

    def of(self, run_id: str) -> str | None:
        """Return the trace context of who asked for a run, None where it isn't known."""
        return self._known.get(run_id)

    def _remember(self, run_id: str, carried: str) -> None:
        self._known[run_id] = carried
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _asked(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*args: Any) -> Any:
            with self._noting():
                return ask(*args)

        return asked

    @contextmanager
    def _noting(self) -> Iterator[None]:
        token = self._asking.set(self._current())
        try:
            yield
        finally:
            self._asking.reset(token)

    def _editing(self, name: str, store: Store, edit: Editing) -> Editing:
        def editing(ids: Sequence[str], decide: Decide, new_id: Callable[[], str]) -> list[Edited]:
            carried = self._asking.get()
            if carried is None:
                return edit(ids, decide, new_id)
            chosen = [new_id() for _ in ids]
            self._keep(name, store, chosen, carried)
            rest = iter(chosen)
            # Where it decides a second time, it may need more of them; these are known only here.
            edits = edit(ids, decide, lambda: next(rest, None) or new_id())
            for run in (run for edited in edits for run in edited.runs):
                self._remember(run.id, carried)
            return edits

        return editing

    def _keep(self, name: str, store: Store, run_ids: Sequence[str], carried: str) -> None:
        keeping = _keeping(store)
        if keeping is None:
            return
        expires_us = self._scheduler._book.now_us(name) + _KEPT_US
        for run_id in run_ids:
            document = Document(_KIND, run_id, json.dumps(carried), expires_us=expires_us)
            error = guarded(keeping.keep, document).error
            if error is not None:
                # A store that is down says so to who asks for the run, a moment later.
                logger.warning("who asks for a run isn't kept: %s", error)
                return


def _keeping(store: Any) -> Keeping | None:  # Any: which of the optional powers a store has
    """Return a store as one that keeps documents for other processes, or None."""
    kept = store is not None and store.persistent
    return store if kept and isinstance(store, Keeping) else None


def _kept(store: Keeping, run_id: str) -> str | None:
    found = store.documents(DocumentQuery(_KIND, key=run_id, limit=1))
    return str(json.loads(found[0].body)) if found else None
