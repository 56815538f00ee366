"""Whose turn it is: of several processes that share no store, or one, the one that may fire.

A lock on a file decides. Who has it, keeps it until its scheduler stops or its process ends; the
others look again and again. Where stores are memory, each process has tasks of its own that are
declared alike, and whoever has the turn next must neither execute again what the one before has
dealt with, nor leave anything out. So he who has it writes into the file up to when he has planned
what was due, and for his successor fire times up to then are another's.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from pathlib import PurePath

from tickwork.coordination.file_lock import FileLockProtected
from tickwork.errors import InvalidInputError
from tickwork.model.records import TaskRecord
from tickwork.model.steps import Plan
from tickwork.scheduler import planner

__all__ = ["Turn", "turns"]

logger = logging.getLogger("tickwork.turns")

_DIGITS = 20
_BESIDE = 1
"""Where the notes begin: on one system the first byte of the file is locked for everybody."""

_ANOTHERS = "another process with the same lock_path fired while this one stood by"


class _TurnFile:
    """The file that decides for one or several stores of one scheduler. From any thread."""

    def __init__(self, lock: FileLockProtected) -> None:
        self.path = lock.path
        self._file = lock
        self._lock = threading.Lock()
        self._terms = 0
        self._warned = False

    def term(self) -> int:
        """Take the turn, if nobody else has it; return how often that was done, 0 if not now.

        Raises:
            OSError: the file can't be opened.
        """
        with self._lock:
            if not self._file.held:
                if not self._file.acquire(blocking=False):
                    return 0
                self._terms += 1
            return self._terms

    def calm_term(self) -> int:
        """Do `term`; a file that can't be opened any more is nobody's."""
        try:
            term = self.term()
        except OSError as error:
            if not self._warned:
                logger.warning("lock_path %s can't be opened, standing by: %s", self.path, error)
            self._warned = True
            return 0
        self._warned = False
        return term

    def give_back(self) -> None:
        """Let others have it."""
        with self._lock:
            self._file.release()

    def forsake(self) -> None:
        """Let go in a forked child of what is its parent's."""
        self._lock = threading.Lock()
        self._file.forsake()

    def read(self, place: int, *, otherwise: int) -> int:
        """Return what was noted at a place, 0 for nothing; `otherwise` if notes can't be there."""
        with suppress(OSError), self._opened() as file:
            content = file.read()
            if _is_ours(content):
                note = content[_offset(place) :][:_DIGITS]
                return int(note) if note.isdigit() else 0
        return otherwise

    def write(self, place: int, instant_us: int) -> None:
        """Note something at a place, for whoever has the turn next."""
        try:
            with self._opened() as file:
                content = file.read()
                if _is_ours(content):
                    offset = _offset(place)
                    begin = min(len(content), offset)
                    file.seek(begin)
                    file.write(b"%*s%0*d\n" % (offset - begin, b"", _DIGITS, instant_us))
        except OSError as error:
            logger.warning("lock_path %s can't be written: %s", self.path, error)

    def _opened(self) -> FileIO:
        # As for the lock: whoever may put a link there must not choose what is written.
        flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
        return FileIO(os.open(self.path, flags), "r+")


def _offset(place: int) -> int:
    return _BESIDE + place * (_DIGITS + 1)


def _is_ours(content: bytes) -> bool:
    """Whether a file is empty, or has only notes: others may name a file of theirs."""
    return not content.strip(b"0123456789 \n")


class Turn:
    """The turn of one store. For its loop; `forsake` is for a forked child."""

    def __init__(self, file: _TurnFile, place: int) -> None:
        self._file = file
        self._place = place
        self._term = 0
        self._looked_us = 0
        self._anothers_us = 0
        self._planned = False

    def open(self, *, active: bool) -> None:
        """Take the turn, if it is free and wanted.

        Raises:
            InvalidInputError: the file can't be opened.
        """
        try:
            self._file.term()
        except OSError as error:
            raise InvalidInputError(
                f"lock_path {str(self._file.path)!r} can't be opened ({error.strerror}); name a "
                "file in a folder that is there, and that this process may write"
            ) from error
        if not active:
            self._file.give_back()

    def is_mine(self, now_us: int) -> bool:
        """Take the turn, if nobody else has it."""
        term = self._file.calm_term()
        if not term:
            self._looked_us = now_us
        elif term != self._term:
            self._term = term
            noted_us = self._file.read(self._place, otherwise=self._looked_us)
            # Not later than now: a clock that was wrong for a while mustn't stop everything.
            self._anothers_us = min(now_us, noted_us)
        return bool(term)

    def plan(self, task: TaskRecord, now_us: int) -> Plan:
        """Return a plan of a task that lives in this process only; see `planner.plan`.

        What another process dealt with while this one stood by, becomes one record.
        """
        until_us, due_us = self._anothers_us, task.due_us
        if due_us is None or due_us > min(until_us, now_us) or task.created_us > until_us:
            return planner.plan(task, now_us)
        if _is_own(task):
            return planner.plan(task, now_us)
        edit = planner.resumed(task, until_us)
        stands = edit.task or task
        runs = tuple(run._replace(reason=_ANOTHERS) for run in edit.runs)
        return Plan(runs, stands.state, stands.fire_us, stands.due_us, stands.planned_us)

    def planned(self, until_us: int, *, some: bool, more: bool) -> None:
        """Note that what was due is planned: `some` of it now, and perhaps `more` to come."""
        self._planned |= some
        if self._planned and not more:
            self._planned = False
            self._file.write(self._place, until_us)

    def give_back(self) -> None:
        """Let others have it."""
        self._file.give_back()

    def forsake(self) -> None:
        """Let go in a forked child of what is its parent's."""
        self._file.forsake()


def _is_own(task: TaskRecord) -> bool:
    """Whether it was to be executed once, as soon as possible: no other process knows of it."""
    trigger = planner.definition_of(task).trigger
    return trigger.kind == "date" and getattr(trigger, "run_at", None) is None


def turns(path: object, stores: Iterable[str]) -> dict[str, Turn]:
    """Return the turns of stores, by name; in the path, `{store}` is the name.

    Raises:
        InvalidInputError: it is no path, or names something else in braces.
    """
    if path is None:
        return {}
    if not isinstance(path, (str, PurePath)):
        raise InvalidInputError(f"lock_path={path!r} is no path; give one such as 'app_{{pgrp}}'")
    files: dict[str, _TurnFile] = {}
    made: dict[str, Turn] = {}
    for place, store in enumerate(stores):
        lock = FileLockProtected(path, store=store)
        file = files.setdefault(str(lock.path), _TurnFile(lock))
        made[store] = Turn(file, place)
    return made
