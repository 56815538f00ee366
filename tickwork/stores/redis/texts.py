r"""Tasks and nodes as texts, and texts as tasks and nodes.

A text begins with a line of what scripts compare or count, the rest is JSON, which only we read:

    task   generation revision active queued \n [state, fire_us, ...]
    node   flag expires_us beat_us \n {...}

A node's flag is `A`live or `D`ead. What is written and read for each task that is planned is put
together by hand and taken apart for many at once: a call of the JSON encoder costs as much as all
else.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tickwork.model.definition import Definition, DefinitionCodec, Unreadable
from tickwork.model.documents import node_document, node_of
from tickwork.model.json_text import from_text, to_text
from tickwork.model.policies import ScheduleState
from tickwork.model.records import NodeRecord, TaskRecord
from tickwork.stores.redis.entries import due_entry, finished_entry
from tickwork.stores.redis.layout import from_word, name_word, scattered, word

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

_PAUSED = ScheduleState.PAUSED
_UNSAID = (None, None, None)
_TASK_STATES = {state.value: state for state in ScheduleState}
_EVERYTHING = 18
"""How much the text of a task says."""

_AT_FIRST = 15
_SINCE = (0, 0, "")
"""How much the text of a task said at first, and what is taken for what was added to it since."""


class KeptTask:
    """A task's record, and what else is kept with it.

    `text` is that of its definition; executor, function and labels are those that its entries are
    made of, known also where the definition can't be understood. `slot_us` is the latest fire time
    of its runs; `digits` are those of its id, see `scattered`. All but the record and `text` are
    words. One that is `odd` can't be understood at all; it is only shown.
    """

    __slots__ = (
        "digits", "executor", "function", "id_word", "labels", "odd", "record", "slot_us", "text",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917  called for each row that is read
        self,
        record: TaskRecord,
        id_word: str,
        text: str,
        executor: str,
        function: str,
        labels: list[str],
        slot_us: int | None = None,
        digits: str = "",
    ) -> None:
        self.record = record
        self.id_word = id_word
        self.text = text
        self.executor = executor
        self.function = function
        self.labels = labels
        self.slot_us = slot_us
        self.digits = digits if digits.isalnum() else scattered(id_word)
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


def task_text(kept: KeptTask) -> str:
    """Return the text of a task."""
    record = kept.record
    fire_us, due_us, planned_us = record.fire_us, record.due_us, record.planned_us
    catchup_us, slot_us = record.catchup_us, kept.slot_us
    texts = (record.declared, record.problem, record.paused_reason)
    said = "null,null,null" if texts == _UNSAID else to_text(texts)[1:-1]
    return (
        f"{record.generation} {record.revision} {record.active} {record.queued}\n"
        f'["{record.state}",{"null" if fire_us is None else fire_us},'
        f"{'null' if due_us is None else due_us},{record.anchor_us},"
        f"{'null' if planned_us is None else planned_us},"
        f"{'null' if catchup_us is None else catchup_us},{said},"
        f"{record.created_us},{record.updated_us},{'null' if slot_us is None else slot_us},"
        f'"{kept.executor}","{kept.function}",{to_text(kept.labels) if kept.labels else "[]"},'
        f'{record.made},{record.streak},"{kept.digits}"]'
    )


def kept_tasks(rows: Sequence[tuple[str, str, str]], codec: DefinitionCodec) -> list[KeptTask]:
    """Return tasks, by the words of their ids, their texts and those of their definitions."""
    parts = [text.partition("\n") for _, text, _ in rows]
    found = bodies([body for _, _, body in parts])
    # Many have one definition.
    definitions = {text: codec.read(text) for text in {text for _, _, text in rows}}
    tasks = []
    for (name, _, text), (head, _, _), body in zip(rows, parts, found, strict=True):
        try:
            tasks.append(_kept_task(name, head, body, text, definitions[text]))
        except (ValueError, TypeError, LookupError, AttributeError):
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
    name: str, head: str, body: list[Any], text: str, definition: Definition | Unreadable
) -> KeptTask:
    generation, revision, active, queued = _numbers(head)
    if len(body) != _EVERYTHING:
        # From another version; a later one may say more.
        body = [*body, *_SINCE[len(body) - _AT_FIRST :]][:_EVERYTHING]
    (
        state, fire_us, due_us, anchor_us, planned_us, catchup_us, declared, problem, paused_reason,
        created_us, updated_us, slot_us, executor, function, labels, made, streak, digits,
    ) = body  # fmt: skip
    record = TaskRecord(
        id=from_word(name),
        generation=generation,
        revision=revision,
        definition=definition,
        state=_TASK_STATES.get(state, _PAUSED),
        fire_us=fire_us,
        due_us=due_us,
        anchor_us=anchor_us,
        planned_us=planned_us,
        catchup_us=catchup_us,
        active=active,
        queued=queued,
        made=made,
        streak=streak,
        declared=declared,
        problem=problem,
        paused_reason=paused_reason,
        created_us=created_us,
        updated_us=updated_us,
    )
    executor, function = name_word(executor), name_word(function)
    return KeptTask(record, name, text, executor, function, labels, slot_us, digits)


@lru_cache(maxsize=1_000)
def _numbers(head: str) -> tuple[int, ...]:
    """Return what stands in the first line of a text; those of many tasks are alike."""
    return tuple(map(int, head.split(" ")))


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
