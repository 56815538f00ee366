"""Tasks, runs and locks as JSON: as files for people, and as lines of the log.

A task's file has one member a line. Its definition, which is compact text elsewhere, stands in it
as the object that it is, and so do the arguments within; both come back as the very same text.
`readable` says instants so that people can read them, and is never read. How many runs are active
isn't there: it follows from the runs.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any, NamedTuple, Self

from tickwork.errors import UnreadableRecordError
from tickwork.model.definition import Definition, DefinitionCodec, Unreadable
from tickwork.model.documents import definition_text, run_of, task_of
from tickwork.model.instants import from_us
from tickwork.model.json_text import from_text, to_text
from tickwork.model.locks import LockRecord
from tickwork.model.policies import Source
from tickwork.model.records import RunRecord, TaskRecord

__all__ = [
    "Papers",
    "folded",
    "instant_text",
    "line",
    "line_of_lock",
    "lock_in",
    "on_lines",
    "unfolded",
]

_REMEMBERED = 20_000
_NO_COUNTS = {"active": 0, "queued": 0}
_READABLE = [
    (f"{name}_us", name) for name in ("fire", "due", "planned", "catchup", "created", "updated")
]

_RUN_FIELDS = [
    (each.name, None if each.default is MISSING else each.default)
    for each in fields(RunRecord)
    if each.name != "definition"
]

_LOCK_FIELDS = tuple(each.name for each in fields(LockRecord))

_INTEGER: tuple[type, ...] = (int,)
_INSTANT: tuple[type, ...] = (int, type(None))
_TEXT: tuple[type, ...] = (str, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "state": (str,),
    "definition": (str, dict),
    **dict.fromkeys(("generation", "revision", "anchor_us", "made", "streak"), _INTEGER),
    **dict.fromkeys(("created_us", "updated_us"), _INTEGER),
    **dict.fromkeys(("fire_us", "due_us", "planned_us", "catchup_us"), _INSTANT),
    **dict.fromkeys(("declared", "problem", "paused_reason"), _TEXT),
}
_ABSENT = object()
_REQUIRED = ("id", "generation", "state", "definition")
_OTHERS = tuple(name for name in _KINDS if name not in {"id", "state", "definition"})


def line(data: Mapping[str, Any]) -> bytes:
    """Return data as one line."""
    return _bytes(to_text(data)) + b"\n"


def _bytes(text: str) -> bytes:
    # Texts may hold half of a surrogate pair, which isn't UTF-8; it must come back all the same.
    return text.encode("utf-8", "surrogatepass")


def line_of_lock(lock: LockRecord) -> bytes:
    """Return what the log says of a lock."""
    return line({"lock": asdict(lock)})


def lock_in(paper: Mapping[str, Any]) -> LockRecord:
    """Return the lock that a line of the log says."""
    return LockRecord(**{name: paper[name] for name in _LOCK_FIELDS if name in paper})


class _Written(NamedTuple):
    """A definition as it stands in the log, and as it stands in a task's file."""

    line: str
    page: str

    @classmethod
    def of(cls, text: str) -> Self:
        data = unfolded(text)
        line = to_text(data)
        return cls(line, on_lines(data, "  ") if isinstance(data, dict) else line)


class Papers:
    """Writes and reads records; remembers the definitions that it has written."""

    def __init__(self, codec: DefinitionCodec) -> None:
        self._codec = codec
        self._known: dict[int, tuple[Definition, _Written]] = {}

    # --- tasks --------------------------------------------------------------------------------

    def line_of_task(self, task: TaskRecord) -> bytes:
        """Return what the log says of a task."""
        members = self._members(task, self._written(task.definition).line)
        joined = ",".join([f'"{name}":{text}' for name, text in members])
        return _bytes(f'{{"task":{{{joined}}}}}\n')

    def file_of_task(self, task: TaskRecord) -> bytes:
        """Return the content of a task's file."""
        readable = {
            shown: instant_text(value)
            for name, shown in _READABLE
            if (value := getattr(task, name)) is not None
        }
        members = self._members(task, self._written(task.definition).page)
        members.append(("readable", on_lines(readable, "  ")))
        joined = ",\n".join([f'  "{name}": {text}' for name, text in members])
        return _bytes(f"{{\n{joined}\n}}\n")

    @staticmethod
    def _members(task: TaskRecord, definition: str) -> list[tuple[str, str]]:
        members = [
            ("id", to_text(task.id)),
            ("state", to_text(task.state)),
            ("definition", definition),
        ]
        for name in _OTHERS:
            value = getattr(task, name)
            if value is not None:
                text = str(value) if value.__class__ is int else to_text(value)
                members.append((name, text))
        return members

    def _written(self, definition: Definition | Unreadable) -> _Written:
        if isinstance(definition, Unreadable):
            return _Written.of(definition.text)
        known = self._known.get(id(definition))
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            # The definition is kept with it, so that its identity can't become another's.
            known = definition, _Written.of(self._codec.encode(definition))
            self._known[id(definition)] = known
        return known[1]

    def run_paper(self, run: RunRecord) -> dict[str, Any]:
        """Return what is written of a run: what isn't as usual."""
        paper = {name: each for name, usual in _RUN_FIELDS if (each := getattr(run, name)) != usual}
        if run.definition is not None:
            paper["definition"] = unfolded(definition_text(run.definition, self._codec))
        return paper

    def run_in(self, paper: dict[str, Any]) -> RunRecord:
        """Return the run that is written."""
        paper.setdefault("source", Source.SCHEDULED.value)
        if "definition" in paper:
            paper["definition"] = folded(paper["definition"])
        return run_of(paper, self._codec)

    def task_of(self, paper: Mapping[str, Any]) -> TaskRecord:
        """Return the task that a line of the log says."""
        return task_of({**paper, "definition": folded(paper["definition"])}, self._codec)

    def task_in(self, content: bytes) -> TaskRecord:
        """Return the task in a file.

        Raises:
            UnreadableRecordError: it can't be understood.
        """
        try:
            paper = from_text(content.decode("utf-8", "surrogatepass"))
            _check(paper)
            return self.task_of({**paper, **_NO_COUNTS})
        except (UnreadableRecordError, ValueError, RecursionError) as error:
            raise UnreadableRecordError(f"its file can't be understood: {error}") from error


def _check(paper: object) -> None:
    """Raise unless this can be a task: people may have written it."""
    if not isinstance(paper, dict):
        raise UnreadableRecordError(f"it isn't a JSON object: {paper!r:.50}")
    for name in _REQUIRED:
        if name not in paper:
            raise UnreadableRecordError(f"it has no {name!r}")
    for name, kinds in _KINDS.items():
        value = paper.get(name, _ABSENT)
        if value is not _ABSENT and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise UnreadableRecordError(f"{name!r} can't be {value!r:.50}")


def instant_text(instant_us: int) -> str:
    """Return an instant so that people can read it."""
    try:
        return from_us(instant_us).isoformat(" ")
    except OverflowError:
        return "beyond the calendar"


def unfolded(text: str) -> Any:
    """Return the JSON object that a text says, if it comes back as the same text; else the text."""
    try:
        data = from_text(text)
        if not isinstance(data, dict):
            return text
        payload = data.get("payload")
        if isinstance(payload, str):
            data["payload"] = unfolded(payload)
        return data if folded(data) == text else text
    except (ValueError, RecursionError):
        return text


def folded(data: Any) -> str:
    """Return the text for which `unfolded` stands."""
    if isinstance(data, str):
        return data
    payload = data.get("payload")
    if isinstance(payload, dict):
        data = {**data, "payload": to_text(payload)}
    return to_text(data)


def on_lines(data: Mapping[str, Any], margin: str) -> str:
    """Return JSON with one member a line; faster than `json` does that."""
    inner = ",\n".join(
        [f"{margin}  {to_text(name)}: {to_text(each)}" for name, each in data.items()]
    )
    return f"{{\n{inner}\n{margin}}}"
