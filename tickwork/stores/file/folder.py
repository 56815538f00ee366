"""An open folder: what it holds in memory, and how steps change both.

See the package for the theory.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from tickwork.errors import NotFoundError, StoreUnavailableError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.documents import node_document, node_of
from tickwork.model.locks import LockRecord
from tickwork.model.policies import RunState
from tickwork.model.records import TaskRecord
from tickwork.model.steps import TASK_REMOVED
from tickwork.stores.file.disk import Disk
from tickwork.stores.file.documents import Documents
from tickwork.stores.file.filing import UNKNOWN, TaskFiles
from tickwork.stores.file.locking import FileLock
from tickwork.stores.file.log import Log
from tickwork.stores.file.papers import Papers, line, line_of_lock, lock_in
from tickwork.stores.file.steps import Mark, Step
from tickwork.stores.file.working import Changes, WorkingShelves

__all__ = ["Folder"]

_WAIT_S = 5.0
_VERSION = 1

_Paper = Mapping[str, Any]
_HaveTask = Callable[[str, _Paper | None], None]


class Folder:
    """A folder, open; safe to use from several threads, beside other processes."""

    def __init__(
        self, path: Path, environment: StoreEnvironment, disk: Disk, *, durable: bool
    ) -> None:
        self.path = path
        self.environment = environment
        self._disk = disk
        self._papers = Papers(environment.codec)
        # Not one that its holder gets again: it would give the file's lock back too early.
        self._turn = Lock()
        self._closed = False
        self._shelves = WorkingShelves()
        self._stale = True
        self._log = Log(path, disk, durable=durable)
        self._files = TaskFiles(path / "tasks", disk, self._papers)
        self._documents = Documents(path / "documents", disk, durable=durable)
        if environment.existing and not (path / "tasks").is_dir():
            raise NotFoundError(f"no scheduler has used the folder {path} yet")
        with self._translated():
            disk.make_folder(path)
            disk.make_folder(path / "tasks")
            self._lock = FileLock(path / "lock", _WAIT_S)
        try:
            with self.changing():
                pass
        except BaseException:
            self.let_go()
            raise

    # --- steps --------------------------------------------------------------------------------

    @contextmanager
    def changing(
        self, *, relied_on: bool = False, durable: bool = True
    ) -> Iterator[WorkingShelves]:
        """Take a step: what the block changes is written when it ends, or nothing is.

        Where a step is `relied_on`, what it found to be done already is on the disk, too.
        """
        with self._alone(shared=False):
            if not self._caught_up():
                self._begin_anew()
            self._file_tasks()
            try:
                yield self._shelves
                self._write(durable=durable, relied_on=relied_on)
            finally:
                # After an error, what is in memory isn't what is written (or it may not be).
                self._stale = self._stale or bool(self._shelves.changes)
            self._tidy()

    @contextmanager
    def reading(self) -> Iterator[WorkingShelves]:
        """Look at what is stored."""
        while True:
            with self._alone(shared=True):
                if self._caught_up():
                    yield self._shelves
                    return
            with self.changing():
                pass

    @contextmanager
    def documents(self, *, shared: bool = False) -> Iterator[Documents]:
        """Change documents, or only look at them; the log has no part in it."""
        with self._alone(shared=shared):
            yield self._documents

    def close(self) -> None:
        """Leave the folder such that its files alone say everything about its tasks."""
        try:
            if self._files.unsure and not self._stale:
                # What fails here is done by whoever opens the folder next.
                with suppress(StoreUnavailableError), self.changing() as shelves:
                    if self._files.sync():
                        self._log.append([], shelves.fence, mark=Mark.SYNCED)
                        self._files.note_filed(sure=True)
        finally:
            with self._turn:
                self.let_go()

    def let_go(self) -> None:
        """Close the files, whoever uses them."""
        self._closed = True
        self._log.close()
        self._lock.close()

    @contextmanager
    def _alone(self, *, shared: bool) -> Iterator[None]:
        if not self._turn.acquire(timeout=2 * _WAIT_S):
            raise StoreUnavailableError(f"other threads have used {self.path} for very long")
        try:
            if self._closed:
                raise StoreUnavailableError(f"the folder {self.path} isn't open any more")
            with self._translated(), self._lock.held(shared=shared):
                yield
        finally:
            self._turn.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailableError(
                f"the folder {self.path} can't be used as it should: {error}; is it there and "
                "writable, and is there room on its disk?"
            ) from error

    # --- reading ------------------------------------------------------------------------------

    def _caught_up(self) -> bool:
        """Take over what others wrote; False where only beginning anew helps."""
        if self._stale:
            return False
        self._stale = True
        steps = self._log.catch_up()
        if steps is None:
            return False
        for step in steps:
            self._take(step, self._have_task)
        self._stale = False
        return True

    def _have_task(self, task_id: str, paper: _Paper | None) -> None:
        if paper is None:
            self._shelves.take_removal(task_id)
        else:
            self._shelves.take_task(self._papers.task_of(paper))

    def _take(self, step: Step, have_task: _HaveTask) -> None:
        self._shelves.take_fence(step.fence)
        for said in step.lines:
            for kind, data in said.items():
                self._take_line(kind, data, have_task)
        if step.mark is not None:
            self._files.note_filed(sure=self._known_mark(step.mark) is Mark.SYNCED)

    def _known_mark(self, word: str) -> Mark:
        try:
            return Mark(word)
        except ValueError:
            raise self._unknown("mark", word) from None

    def _take_line(self, kind: str, data: Any, have_task: _HaveTask) -> None:
        shelves = self._shelves
        match kind:
            case "run":
                shelves.take_run(self._papers.run_in(data))
            case "task":
                self._files.note(data["id"])
                have_task(data["id"], data)
            case "removed":
                self._files.note(data)
                have_task(data, None)
            case "forgotten":
                shelves.take_forgetting(data)
            case "node":
                node = node_of(data)
                shelves.nodes[node.id] = node
            case "left":
                shelves.take_leaving(data)
            case "lock":
                lock = lock_in(data)
                shelves.locks[lock.name] = lock
            case "lapsed":
                shelves.take_lapse(data)
            case _:
                if (kind, data) != ("log", _VERSION):
                    raise self._unknown(kind, data)

    def _unknown(self, kind: str, data: object) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the log in {self.path} says {kind!r} {data!r:.50}, which isn't known here: update "
            "tickwork"
        )

    def _begin_anew(self) -> None:
        """Read everything, as it was left by whoever was here before."""
        self._stale = True
        self._shelves = WorkingShelves()
        said: dict[str, _Paper | None] = {}
        for step in self._log.begin():
            self._take(step, said.__setitem__)
            if step.mark == Mark.SYNCED:
                said.clear()
        if self._log.is_new:
            self._disk.make_folder(self.path / "tasks")
            self._disk.sync_folder(str(self.path.parent))
            self._log.renew(self._base(), self._shelves.fence)
        self._log.remove_old()
        for task in self._files.read(said).values():
            if task.generation == UNKNOWN:
                self._guess_generation(task)
            self._shelves.take_task(task)
        self._end_orphans()
        self._write(durable=True, relied_on=False)
        self._stale = False

    def _guess_generation(self, task: TaskRecord) -> None:
        """Have the runs of a task that can't be read wait for it."""
        for run in self._shelves.runs.of_task(task.id):
            if run.definition is None:
                task.generation = run.generation

    def _end_orphans(self) -> None:
        """Cancel what waits for tasks whose files were removed."""
        shelves = self._shelves
        now_us = self.environment.now_us()
        for run in shelves.runs:
            waits = run.state is RunState.PENDING and run.node is None
            if waits and run.definition is None:
                task = shelves.tasks.get(run.task_id)
                if task is None or task.generation != run.generation:
                    shelves.cancel(run, TASK_REMOVED, now_us)

    # --- writing ------------------------------------------------------------------------------

    def _write(self, *, durable: bool, relied_on: bool) -> None:
        """Write what was changed: it has happened when this returns."""
        shelves = self._shelves
        lines = list(self._lines(shelves.changes))
        if lines:
            self._log.append(lines, shelves.fence, durable=durable)
        elif relied_on:
            self._log.make_sure()
        tasks, shelves.changes = shelves.changes.tasks, Changes()
        for task_id in tasks:
            self._files.note(task_id)

    def _lines(self, changes: Changes) -> Iterator[bytes]:
        # Tasks first: others count their runs when they come.
        shelves = self._shelves
        for task_id in changes.tasks:
            yield self._line_of(task_id)
        for run, before in changes.runs.values():
            if run != before and run.id in shelves.runs:
                yield line({"run": self._papers.run_paper(run)})
        if changes.forgotten:
            yield line({"forgotten": changes.forgotten})
        for node_id, was in changes.nodes.items():
            node = shelves.nodes.get(node_id)
            if node is None and was is not None:
                yield line({"left": node_id})
            elif node is not None and node != was:
                yield line({"node": node_document(node)})
        yield from self._lines_of_locks(changes.locks)

    def _lines_of_locks(self, changed: Mapping[str, LockRecord | None]) -> Iterator[bytes]:
        locks = self._shelves.locks
        for name, before in changed.items():
            lock = locks.get(name)
            if lock is not None and lock != before:
                yield line_of_lock(lock)
        lapsed = [name for name, before in changed.items() if before and name not in locks]
        if lapsed:
            yield line({"lapsed": lapsed})

    def _line_of(self, task_id: str) -> bytes:
        task = self._shelves.tasks.get(task_id)
        return line({"removed": task_id}) if task is None else self._papers.line_of_task(task)

    def _tidy(self) -> None:
        """Do what the next one would have to do otherwise; nothing hangs on it."""
        with suppress(OSError):
            self._file_tasks()
            if self._log.overgrown:
                self._log.renew(self._base(), self._shelves.fence)

    def _file_tasks(self) -> None:
        if self._files.behind:
            self._files.write(self._shelves.tasks)
            self._log.append([], self._shelves.fence, mark=Mark.FILED, durable=False)
            self._files.note_filed(sure=False)

    def _base(self) -> Iterator[bytes]:
        """Yield all runs, nodes and locks, and of tasks what only the log keeps safe."""
        yield line({"log": _VERSION})
        for task_id in self._files.unsure:
            yield self._line_of(task_id)
        for run in self._shelves.runs:
            yield line({"run": self._papers.run_paper(run)})
        for node in self._shelves.nodes.values():
            yield line({"node": node_document(node)})
        yield from map(line_of_lock, self._shelves.locks.values())
