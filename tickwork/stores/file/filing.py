"""The files of tasks: written after each step that changed their tasks, read when a folder opens.

The log decides what happened, the files say it to people; and what people write into them, while
nothing is running, counts. So a file counts if it is of the same generation as what the log says of
its task and not of an older revision. Otherwise it is left over from before a crash, and is written
again. Of tasks that the log says nothing about (since its files were known to be on the disk), the
files count alone: one that was removed is no task any more, one that was added is one.
"""

from collections.abc import Iterable, Mapping
from io import FileIO
from os import DirEntry, scandir, sep
from pathlib import Path
from typing import Any

from tickwork.errors import UnreadableRecordError
from tickwork.model.definition import Unreadable
from tickwork.model.policies import ScheduleState
from tickwork.model.records import TaskRecord
from tickwork.stores.file.disk import Disk
from tickwork.stores.file.names import SUFFIX, file_name, id_of
from tickwork.stores.file.papers import Papers

__all__ = ["UNKNOWN", "TaskFiles"]

_ASIDE = ".unreadable"
UNKNOWN = -1
"""The generation of a task whose file can't be understood."""


class TaskFiles:
    """The files of a folder's tasks, and which of them are behind the log."""

    def __init__(self, folder: Path, disk: Disk, papers: Papers) -> None:
        self._folder = str(folder)
        self._disk = disk
        self._papers = papers
        self._behind: dict[str, None] = {}
        self._unsure: dict[str, None] = {}

    @property
    def behind(self) -> bool:
        """Whether some files don't say what the log says."""
        return bool(self._behind)

    @property
    def unsure(self) -> Iterable[str]:
        """The tasks whose files may be lost in a power cut, or come back."""
        return self._unsure.keys()

    def note(self, task_id: str) -> None:
        """Note that the log says something new of a task."""
        self._behind[task_id] = self._unsure[task_id] = None

    def note_filed(self, *, sure: bool) -> None:
        """Note that somebody has written all files, and is `sure` that they can't be lost."""
        self._behind.clear()
        if sure:
            self._unsure.clear()

    def write(self, tasks: Mapping[str, TaskRecord]) -> None:
        """Write the files that are behind."""
        for task_id in self._behind:
            name = file_name(task_id)
            task = tasks.get(task_id)
            if task is None:
                self._disk.remove(f"{self._folder}{sep}{name}")
            else:
                self._disk.put(self._folder, name, self._papers.file_of_task(task), durable=False)

    def sync(self) -> bool:
        """Have on the disk what may be lost so far; false where that takes too long."""
        return self._disk.sync_all(self._folder, [file_name(each) for each in self._unsure])

    # --- reading ------------------------------------------------------------------------------

    def read(self, said: Mapping[str, Mapping[str, Any] | None]) -> dict[str, TaskRecord]:
        """Return all tasks; `said` is what the log says of some of them (None: removed)."""
        tasks = {name: self._papers.task_of(paper) for name, paper in said.items() if paper}
        names = {file_name(task_id): task_id for task_id in said}
        self._behind = dict.fromkeys(said)
        for entry in scandir(self._folder):
            if not entry.name.endswith(SUFFIX):
                continue
            known = names.get(entry.name)
            found = self._found(entry)
            if known is None:
                tasks[found.id] = found
            elif _counts(found, tasks.get(known)):
                tasks[known] = found
                del self._behind[known]
            elif isinstance(found.definition, Unreadable):
                self._set_aside(entry.path, found.definition.text)
        return tasks

    def _found(self, entry: DirEntry[str]) -> TaskRecord:
        """Return the task in a file, or one that says why it can't be read."""
        with FileIO(entry.path) as file:
            content = file.read()
        try:
            task = self._papers.task_in(content)
        except UnreadableRecordError as error:
            reason = str(error)
        else:
            if file_name(task.id) == entry.name:
                return task
            reason = f"this isn't the name of a file for the task {task.id!r} in it"
        broken = Unreadable(content.decode("utf-8", "replace"), reason)
        paused = ScheduleState.PAUSED
        return TaskRecord(id=id_of(entry.name), generation=UNKNOWN, definition=broken, state=paused)

    def _set_aside(self, path: str, text: str) -> None:
        """Keep what isn't a task and will be written over, unless a crash has left it empty."""
        if text.strip("\0\r\n "):
            self._disk.replace(path, path + _ASIDE)


def _counts(found: TaskRecord, said: TaskRecord | None) -> bool:
    alike = said is not None and found.generation == said.generation
    return said is not None and alike and found.revision >= said.revision
