"""Adding and changing tasks.

All that is decided is decided before anything is written, on tasks as they were read; for an id
that is named again, on the task as it will be. Then each task is changed by itself, if it is still
as it was; about one that isn't, it is decided again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from tickwork.errors import InvalidInputError, StoreUnavailableError
from tickwork.model.policies import RunState, Source
from tickwork.model.records import RunRecord, TaskRecord, copied
from tickwork.model.steps import TASK_REMOVED, Edit, Edited, PlannedRun, new_run
from tickwork.stores.mongo.collection import chunks
from tickwork.stores.mongo.following import queued_behind
from tickwork.stores.mongo.outbox import RUNS_LIMIT, Outbox, settle, too_many
from tickwork.stores.mongo.session import VISIBLE, Session, new_token
from tickwork.stores.mongo.shapes import run_of, run_of_task, task_fields
from tickwork.stores.mongo.tasks import Change, commit, commit_all, count_runs, records, settled

__all__ = ["edit", "put"]

_TRIES = 50
_FEW = 8

_Ask = Callable[[int, TaskRecord | None], Edit | None]
"""Decides about the task at a place of the call, as it stands; None leaves it."""


def put(
    session: Session,
    tasks: Sequence[TaskRecord],
    decide: Callable[[TaskRecord, TaskRecord], Edit],
    new_id: Callable[[], str],
) -> list[Edited]:
    """Do a store's `put`."""

    def ask(place: int, existing: TaskRecord | None) -> Edit:
        task = tasks[place]
        return Edit(task) if existing is None else decide(existing, task)

    return _Editing(session, [task.id for task in tasks], ask, new_id).answers()


def edit(
    session: Session,
    ids: Sequence[str],
    decide: Callable[[TaskRecord], Edit],
    new_id: Callable[[], str],
) -> list[Edited]:
    """Do a store's `edit`."""

    def ask(_: int, existing: TaskRecord | None) -> Edit | None:
        return None if existing is None else decide(existing)

    return _Editing(session, ids, ask, new_id).answers()


class _Decided(NamedTuple):
    """What is to become of a task, the task about which that was decided, and ids of new runs."""

    existing: TaskRecord | None
    edit: Edit | None
    run_ids: Sequence[str]


class _Drawn(NamedTuple):
    """A change as it is to be written: the task after it, and the runs it makes."""

    change: Change
    task: TaskRecord | None
    runs: Sequence[RunRecord]
    existing: TaskRecord


class _Editing:
    """One step that edits."""

    def __init__(
        self, session: Session, ids: Sequence[str], ask: _Ask, new_id: Callable[[], str]
    ) -> None:
        self._session = session
        self._ids = ids
        self._ask = ask
        self._new_id = new_id
        self._token = ""
        self._known: dict[str, TaskRecord] = {}
        self._edited: dict[int, Edited] = {}

    def answers(self) -> list[Edited]:
        """Decide, write, and return what was done, in the order of the ids."""
        self._read(self._ids)
        decided = self._decide()
        for places in _rounds(self._ids):
            self._write({place: decided[place] for place in places})
        return [self._edited[place] for place in range(len(self._ids))]

    def _read(self, ids: Iterable[str]) -> None:
        ids = sorted(set(ids))
        for task_id in ids:
            self._known.pop(task_id, None)
        found = settled(self._session, ids)
        self._known.update((task.id, task) for task in records(self._session, found.values()))

    def _decide(self) -> list[_Decided]:
        foreseen: dict[str, TaskRecord] = dict(self._known)
        decided = []
        for place, task_id in enumerate(self._ids):
            each = self._decided(place, foreseen.get(task_id))
            decided.append(each)
            # For an id that is named again.
            after = None if each.edit is None else _foreseen(each.existing, each.edit)
            if after is None:
                foreseen.pop(task_id, None)
            else:
                foreseen[task_id] = after
        return decided

    def _decided(self, place: int, existing: TaskRecord | None) -> _Decided:
        edit = self._ask(place, existing and copied(existing))
        runs = () if edit is None or edit.unchanged else edit.runs
        # In the order of the call: ids of runs are compared by it.
        return _Decided(existing, edit, [self._new_id() for _ in runs])

    def _write(self, decided: Mapping[int, _Decided]) -> None:
        """Write what was decided about different tasks, deciding again where it must be."""
        left = dict(decided)
        for _ in range(_TRIES):
            for place, each in self._try(left).items():
                self._edited[place] = each
                del left[place]
            if not left:
                return
            self._read(self._ids[place] for place in left)
            for place in left:
                left[place] = self._decided(place, self._known.get(self._ids[place]))
        raise StoreUnavailableError("tasks are being changed by too many at once; try again")

    def _try(self, decided: Mapping[int, _Decided]) -> dict[int, Edited]:
        """Write what was decided about tasks that are still as they were then; return what was."""
        # A new one each time: of the same task, no two outboxes may have the same.
        self._token = new_token()
        added: dict[int, TaskRecord] = {}
        drawn: dict[int, _Drawn] = {}
        edited: dict[int, Edited] = {}
        for place, (existing, edit, run_ids) in decided.items():
            known = self._known.get(self._ids[place])
            if not _same(existing, known):
                continue
            if edit is None or (known is None and edit.task is None):
                edited[place] = Edited(None)
            elif known is None and edit.task is not None:
                added[place] = edit.task
            elif known is not None and edit.unchanged:
                edited[place] = Edited(copied(known))
            elif known is not None:
                drawn[place] = self._drawn(known, edit, run_ids)
        edited |= self._add(added)
        edited |= self._change(drawn)
        for place, each in edited.items():
            self._note(self._ids[place], each.task)
        return edited

    def _note(self, task_id: str, task: TaskRecord | None) -> None:
        if task is None:
            self._known.pop(task_id, None)
        else:
            self._known[task_id] = copied(task)

    def _add(self, added: Mapping[int, TaskRecord]) -> dict[int, Edited]:
        """Add new tasks; those that are there by now are left out of the answer."""
        documents = []
        for task in added.values():
            fields = task_fields(task, self._session.codec)
            present = {name: value for name, value in fields.items() if value is not None}
            documents.append({"_id": task.id, **present})
        refused = set(self._session.tasks.add(documents))
        return {
            place: Edited(replace(task, active=0, queued=0))
            for at, (place, task) in enumerate(added.items())
            if at not in refused
        }

    def _drawn(self, existing: TaskRecord, edit: Edit, run_ids: Sequence[str]) -> _Drawn:
        """Draw up the change that an edit is."""
        if len(edit.runs) > RUNS_LIMIT:
            raise InvalidInputError(too_many(len(edit.runs)))
        now_us, born = self._session.environment.now_us(), existing.revision + 1
        # Runs that an edit adds still belong to the task that was there.
        runs = [
            new_run(each, existing, run_id, now_us, None, 0)
            for each, run_id in zip(edit.runs, run_ids, strict=True)
        ]
        documents = [
            run_of_task(
                run,
                self._session.codec,
                born,
                queued=each.queued and run.state is RunState.PENDING,
            )
            for run, each in zip(runs, edit.runs, strict=True)
        ]
        task = _task_after(existing, edit)
        cancel = _cancels(existing, edit)
        outbox = Outbox(
            existing.id, self._token, existing.generation, born, now_us,
            runs=documents, cancel=cancel, gone=task is None,
        )  # fmt: skip
        owes = outbox if documents or cancel is not None or task is None else None
        fields = {"wake_us": None} if task is None else task_fields(task, self._session.codec)
        return _Drawn(Change(existing.id, existing.revision, fields, owes), task, runs, existing)

    def _change(self, drawn: Mapping[int, _Drawn]) -> dict[int, Edited]:
        """Change tasks; those that were changed meanwhile are left out of the answer."""
        session = self._session
        ours = self._committed([each.change for each in drawn.values()])
        done = {place: each for place, each in drawn.items() if each.change.task_id in ours}
        boxes = [each.change.outbox for each in done.values() if each.change.outbox]
        alone = settle(session, boxes, own=True) if boxes else True
        active = {each.existing.id: each.existing.active for each in done.values()}
        queued_behind(session, boxes, active)
        again = {
            place: each
            for place, each in done.items()
            if each.change.outbox
            and (not alone or each.change.outbox.cancel is not None or _has_gated(each))
        }
        plain = {place: each for place, each in done.items() if place not in again}
        edited = {place: Edited(each.task, each.runs) for place, each in plain.items()}
        return edited | self._looked_at(again)

    def _committed(self, changes: Sequence[Change]) -> set[str]:
        if len(changes) <= _FEW:
            session, token = self._session, self._token
            return {each.task_id for each in changes if commit(session, each, token)}
        ours, unknown = commit_all(self._session, changes, self._token)
        if unknown:
            raise StoreUnavailableError(
                f"task {min(unknown)!r} and others are being changed by others; look at them first"
            )
        return ours

    def _looked_at(self, drawn: Mapping[int, _Drawn]) -> dict[int, Edited]:
        """Look what became of changes: of some runs slots were taken, some are cancelled."""
        session = self._session
        counts = count_runs(session, [each.existing.id for each in drawn.values()])
        ids = [run.id for each in drawn.values() for run in each.runs]
        there: dict[str, RunRecord] = {}
        for some in chunks(ids):
            found = session.runs.find({"_id": {"$in": some}, **VISIBLE})
            there.update((run["_id"], run_of(run, session.codec)) for run in found)
        edited = {}
        for place, each in drawn.items():
            task, runs = each.task, [there[run.id] for run in each.runs if run.id in there]
            if task is not None:
                task.active, task.queued = counts.get((task.id, task.generation), (0, 0))
                if task.generation == each.existing.generation:
                    task.made -= sum(run.id not in there and _is_made(run) for run in each.runs)
            edited[place] = Edited(task, runs)
        return edited


def _rounds(ids: Sequence[str]) -> list[list[int]]:
    """Return the places of a call, in groups that name no id twice."""
    rounds: list[list[int]] = []
    times: Counter[str] = Counter()
    for place, task_id in enumerate(ids):
        times[task_id] += 1
        if len(rounds) < times[task_id]:
            rounds.append([])
        rounds[times[task_id] - 1].append(place)
    return rounds


def _same(one: TaskRecord | None, other: TaskRecord | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.generation, one.revision) == (other.generation, other.revision)


def _foreseen(existing: TaskRecord | None, edit: Edit) -> TaskRecord | None:
    """Return a task as it will be after an edit."""
    if existing is None or edit.task is None:
        return edit.task
    if edit.unchanged:
        return existing
    return _task_after(existing, edit)


def _has_gated(drawn: _Drawn) -> bool:
    return any(run.gated_us is not None for run in drawn.runs)


def _is_made(run: RunRecord | PlannedRun) -> bool:
    return run.state is RunState.PENDING and run.source is Source.SCHEDULED


def _task_after(existing: TaskRecord, edit: Edit) -> TaskRecord | None:
    if edit.task is None:
        return None
    task = copied(edit.task)
    task.revision = existing.revision + 1
    stays = task.generation == existing.generation
    pending = [run for run in edit.runs if run.state is RunState.PENDING]
    task.active = existing.active + len(pending) if stays else 0
    task.queued = existing.queued + sum(run.queued for run in pending) if stays else 0
    if stays:
        task.made = existing.made + sum(map(_is_made, pending))
    return task


def _cancels(existing: TaskRecord, edit: Edit) -> str | None:
    """Return why pending runs are cancelled; None where they aren't, or can't be there."""
    if not existing.active and not edit.runs:
        return None
    stays = edit.task is not None and edit.task.generation == existing.generation
    # Nobody could ever execute the runs of a task that is gone.
    return edit.cancel_pending if stays else edit.cancel_pending or TASK_REMOVED
