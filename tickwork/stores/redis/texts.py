r"""Tasks and nodes as texts, and texts as tasks and nodes.

A text begins with a line of what scripts compare or count, the rest is JSON, which only we read:

    task   generation revision active queued \n [state, fire_us, ...]
    node   flag expires_us beat_us \n {...}

A node's flag is `A`live or `D`ead. What is written and read for each task that is planned is put
together by hand and taken apart for many at once: a call of the JSON encoder costs as much as all
else.
"""

from collections.abc import Sequence
from typing import Any

from tickwork.model.definition import Definition, DefinitionCodec, Unreadable
from tickwork.model.documents import node_document, node_of
from tickwork.model.json_text import from_text, to_text
from tickwork.model.policies import ScheduleState
from tickwork.model.records import NodeRecord, TaskRecord
from tickwork.stores.redis.entries import due_entry, finished_entry
from tickwork.stores.redis.layout import from_word, scattered, word

__all__ = [
    "KeptTask",
    "bodies",
    "kept_tasks",
    "new_task",
    "node_head",
    "node_text",
    "read_node",
    "task_text",
]

_TASK_STATES = {state.value: state for state in ScheduleState}
_COUNTS_AT = 15
"""Where the counts of runs stand in the text of a task."""


class KeptTask:
    """A task's record, and what else is kept with it.

    `text` is that of its definition; executor, function and labels are those that its entries are
    made of, known also where the definition can't be understood. `slot_us` is the latest fire time
    of its runs. All but the record and `text` are words. One that is `odd` can't be understood at
    all; it is only shown.
    """

    __slots__ = ("executor", "function", "id_word", "labels", "odd", "record", "slot_us", "text")

    def __init__(  # noqa: PLR0917  called for each row that is read
        self,
        record: TaskRecord,
        id_word: str,
        text: str,
        executor: str,
        function: str,
        labels: list[str],
        slot_us: int | None = None,
    ) -> None:
        self.record = record
        self.id_word = id_word
        self.text = text
        self.executor = executor
        self.function = function
        self.labels = labels
        self.slot_us = slot_us
        self.odd = False

    @property
    def version(self) -> str:
        """How the text begins for as long as nothing has changed."""
        return f"{self.record.generation} {self.record.revision} "

    def due_entry(self) -> str | None:
        """Return where it stands among those that are due some time."""
        record = self.record
        if record.wake_us is None:
            return None
        return due_entry(self.executor, self.function, self.id_word, record.wake_us)

    def finished_entry(self) -> str | None:
        """Return where it stands among the disposable ones that are finished."""
        record = self.record
        definition = record.definition
        if record.state is not ScheduleState.FINISHED or not (
            isinstance(definition, Definition) and definition.disposable
        ):
            return None
        return finished_entry(self.id_word, record.updated_us)

    def replaced(self, record: TaskRecord, codec: DefinitionCodec) -> "KeptTask":
        """Return the same task with another record."""
        definition = record.definition
        if isinstance(definition, Definition) and definition is not self.record.definition:
            kept = new_task(record, codec)
        else:
            text = self.text if isinstance(definition, Definition) else definition.text
            kept = KeptTask(record, self.id_word, text, self.executor, self.function, self.labels)
        if record.generation == self.record.generation:
            kept.slot_us = self.slot_us
        return kept


def new_task(record: TaskRecord, codec: DefinitionCodec) -> KeptTask:
    """Return a task that isn't kept yet."""
    definition = record.definition
    if not isinstance(definition, Definition):
        return KeptTask(record, word(record.id), definition.text, "", "", [])
    labels = []
    if definition.declared_in is not None:
        labels.append(f"declared_in\n{word(definition.declared_in)}")
    if definition.trigger.kind == "shutdown":
        labels.append("trigger\nshutdown")
    text = codec.encode(definition)
    executor, function = word(definition.executor), word(definition.function)
    return KeptTask(record, word(record.id), text, executor, function, labels)


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def task_text(kept: KeptTask) -> str:
    """Return the text of a task."""
    record = kept.record
    texts = (record.declared, record.problem, record.paused_reason)
    said = "null,null,null" if texts == (None, None, None) else to_text(texts)[1:-1]
    return (
        f"{record.generation} {record.revision} {record.active} {record.queued}\n"
        f'["{record.state}",{_number(record.fire_us)},{_number(record.due_us)},'
        f"{record.anchor_us},{_number(record.planned_us)},{_number(record.catchup_us)},{said},"
        f"{record.created_us},{record.updated_us},{_number(kept.slot_us)},"
        f'"{kept.executor}","{kept.function}",{to_text(kept.labels) if kept.labels else "[]"},'
        f'{record.made},{record.streak},"{scattered(kept.id_word)}"]'
    )


def kept_tasks(rows: Sequence[tuple[str, str, str]], codec: DefinitionCodec) -> list[KeptTask]:
    """Return tasks, by the words of their ids, their texts and those of their definitions."""
    parts = [text.partition("\n") for _, text, _ in rows]
    found = bodies([body for _, _, body in parts])
    tasks = []
    for (name, _, text), (head, _, _), body in zip(rows, parts, found, strict=True):
        try:
            tasks.append(_kept_task(name, head, body, text, codec))
        except (ValueError, TypeError, LookupError):
            tasks.append(_odd_task(name, text))
    return tasks


def bodies(texts: list[str]) -> list[Any]:
    """Return what stands in texts, all read at once; None for one that isn't JSON."""
    try:
        found: list[Any] = from_text(f"[{','.join(texts)}]")
    except ValueError:
        found = []
    return found if len(found) == len(texts) else [_body(text) for text in texts]


def _body(text: str) -> Any:
    try:
        return from_text(text)
    except ValueError:
        return None


def _kept_task(  # noqa: PLR0917  called for each row that is read
    name: str, head: str, body: list[Any], text: str, codec: DefinitionCodec
) -> KeptTask:
    generation, revision, active, queued = head.split(" ")
    record = TaskRecord(
        id=from_word(name),
        generation=int(generation),
        revision=int(revision),
        definition=codec.read(text),
        state=_TASK_STATES.get(body[0], ScheduleState.PAUSED),
        fire_us=body[1],
        due_us=body[2],
        anchor_us=body[3],
        planned_us=body[4],
        catchup_us=body[5],
        active=int(active),
        queued=int(queued),
        declared=body[6],
        problem=body[7],
        paused_reason=body[8],
        created_us=body[9],
        updated_us=body[10],
    )
    if len(body) > _COUNTS_AT:
        # Nobody counted before there was a second version of this.
        record.made, record.streak = body[_COUNTS_AT : _COUNTS_AT + 2]
    return KeptTask(record, name, text, word(body[12]), word(body[13]), body[14], body[11])


def _odd_task(name: str, text: str) -> KeptTask:
    """Return what is to be shown of a task whose text can't be understood."""
    unreadable = Unreadable(text, "where it stands can't be understood; its row is kept")
    paused = ScheduleState.PAUSED
    record = TaskRecord(id=from_word(name), generation=0, definition=unreadable, state=paused)
    kept = KeptTask(record, name, text, "", "", [])
    kept.odd = True
    return kept


def node_head(node: NodeRecord) -> str:
    """Return how the text of a node begins for as long as nothing has changed."""
    return f"{'A' if node.expires_us else 'D'} {node.expires_us} {node.beat_us}\n"


def node_text(node: NodeRecord) -> str:
    """Return the text of a node."""
    return f"{node_head(node)}{to_text(node_document(node))}"


def read_node(id_word: str, written: str) -> NodeRecord:
    """Return the node that was written under an id."""
    head, _, body = written.partition("\n")
    flag, expires_us, beat_us = head.split(" ")
    node = node_of({**from_text(body), "id": from_word(id_word)})
    node.expires_us = 0 if flag == "D" else int(expires_us)
    node.beat_us = int(beat_us)
    return node
