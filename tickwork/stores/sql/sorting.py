"""What takes effect of a batch, entry by entry, as far as rows of SQL tell."""

from typing import Any

from sqlalchemy import Connection, select

from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.steps import TASK_REMOVED, Batch, Finished, GivenBack, Mark
from tickwork.stores.sql.gates import Keys
from tickwork.stores.sql.session import Session, chunks

__all__ = ["sorted_out"]

_OVER = frozenset(state.value for state in TERMINAL)


def sorted_out(
    session: Session, connection: Connection, batch: Batch
) -> tuple[Batch, Keys, frozenset[str]]:
    """Return what takes effect of a batch, the keys that it lets go of, and whose lease was lost.

    What was written by an earlier, identical call is in neither.
    """
    sorting = _Sorting(batch, _looked_at(session, connection, batch))
    for mark in batch.marks:
        sorting.mark(mark)
    for given_back in batch.given_back:
        sorting.give_back(given_back)
    for finished in batch.finished:
        sorting.finish(finished)
    return sorting.holding, sorting.keys, frozenset(sorting.rejected)


def _looked_at(session: Session, connection: Connection, batch: Batch) -> dict[str, Any]:
    runs = session.tables.runs
    entries: list[Mark | GivenBack | Finished] = [*batch.marks, *batch.given_back, *batch.finished]
    rows: dict[str, Any] = {}
    columns = ("id", "fence", "node", "state", "finished_us", "reason", "held_key")
    for some in chunks([each.run_id for each in entries]):
        found = select(*(runs.c[name] for name in columns)).where(runs.c.id.in_(some))
        rows.update({row.id: row for row in connection.execute(found.with_for_update())})
    return rows


class _Sorting:
    """Tells entries that take effect from those that don't, in the order in which they count."""

    def __init__(self, batch: Batch, rows: dict[str, Any]) -> None:
        self.holding = Batch(batch.after_run, notes=batch.notes)
        self.keys = Keys()
        self.rejected: set[str] = set()
        self._rows = rows
        self._ended: dict[str, GivenBack | Finished] = {}
        self._lingering: dict[str, Finished] = {}

    def _row(self, run_id: str, fence: int) -> Any:
        row = self._rows.get(run_id)
        return row if row is not None and row.fence == fence else None

    def mark(self, mark: Mark) -> None:
        row = self._row(mark.run_id, mark.fence)
        if row is None or row.node is None:
            self.rejected.add(mark.run_id)
        else:
            self.holding.marks.append(mark)

    def give_back(self, back: GivenBack) -> None:
        row = self._row(back.run_id, back.fence)
        # One whose task was gone then is over by that.
        over = row is not None and row.state in _OVER and row.reason != TASK_REMOVED
        # Named twice: the first ended the lease, the same again changes nothing.
        if row is None or over or self._ended.get(back.run_id, back) != back:
            self.rejected.add(back.run_id)
        elif row.node is not None and back.run_id not in self._ended:
            self._ended[back.run_id] = back
            self.holding.given_back.append(back)

    def finish(self, finished: Finished) -> None:
        row = self._row(finished.run_id, finished.fence)
        if row is None:
            self.rejected.add(finished.run_id)
            return
        before = self._before(row, finished)
        if before is None:
            self._take(row, finished)
        elif before != (finished.state.value, finished.finished_us):
            self.rejected.add(finished.run_id)

    def _before(self, row: Any, finished: Finished) -> tuple[str, int | None] | None:
        """Return as what, and when, a run had ended before; None where it can end now."""
        ended = self._ended.get(row.id)
        if isinstance(ended, GivenBack):
            return RunState.PENDING.value, None
        if ended is None and finished.lingers:
            ended = self._lingering.get(row.id)
        if ended is not None:
            return ended.state.value, ended.finished_us
        over = row.node is None or (finished.lingers and row.state in _OVER)
        return (row.state, row.finished_us) if over else None

    def _take(self, row: Any, finished: Finished) -> None:
        self.holding.finished.append(finished)
        if finished.lingers:
            self._lingering[row.id] = finished
            return
        self._ended[row.id] = finished
        if row.held_key is not None:
            self.keys[row.held_key] += 1
