"""What a task is, apart from where it stands: the part that a user declares.

A definition is a value: equal definitions are the same declaration, which is how a scheduler sees
at its next start whether anything changed. It is stored as compact JSON that names only what
differs from the defaults, so that a row stays readable by people and by later versions.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from threading import Lock
from typing import TYPE_CHECKING, Any

from tickwork.errors import UnreadableRecordError
from tickwork.model.policies import Coalesce, Delivery, Keep, Overlap, Scope
from tickwork.model.signing import Signer, unsigned

if TYPE_CHECKING:
    from tickwork.interfaces import Trigger

__all__ = ["Definition", "DefinitionCodec", "Unreadable"]

VERSION = 1
_REMEMBERED_LENGTH = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """The declared part of a task.

    `payload` is the text of the arguments (see `tickwork.model.values`), `target` the function
    itself where the store lives in this process, `gate` what decides there which process executes
    it (see `tickwork.scheduler.gates`); both aren't stored and don't count in comparisons.
    `decorated` ones stand in the code as decorators, so that it shows when they are gone from it.
    `disposable` ones are forgotten with their history once they are finished; the others would be
    new, and be executed again, if they were declared again. `retry_on` and `give_up_on` are names
    of exception types, `concurrency_key` is what became of `key_template` with the arguments.
    `trace` is the trace context of who submitted a run, `traceparent` and `tracestate` of W3C with
    a space between them, where somebody traces that. Durations are microseconds; None for a
    time-out or a retention is the scheduler's default, a time-out of 0 is no limit.
    """

    function: str
    trigger: Trigger
    name: str
    payload: str = ""
    executor: str = "threadpool"
    coalesce: Coalesce = Coalesce.LATEST
    misfire_grace_us: int | None = None
    max_instances: int = 1
    jitter_us: int = 0
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    fixed_delay: bool = False
    tags: tuple[str, ...] = ()
    scope: Scope = Scope.CLUSTER
    max_history: int | None = None
    retries: int = 0
    retry_delay_us: int = 0
    backoff: float = 1.0
    max_delay_us: int | None = None
    retry_jitter_us: int = 0
    retry_on: tuple[str, ...] = ()
    give_up_on: tuple[str, ...] = ()
    timeout_us: int | None = None
    result_ttl_us: int | None = None
    keep: Keep = Keep.ALL
    overlap: Overlap = Overlap.SKIP
    max_queued: int = 100
    priority: int = 0
    concurrency_key: str | None = None
    concurrency_limit: int = 1
    key_template: str | None = None
    run_on_startup: bool = False
    max_runs: int | None = None
    pause_after_failures: int | None = None
    decorated: bool = False
    disposable: bool = False
    trace: str | None = None
    target: Callable[..., Any] | None = field(default=None, compare=False, repr=False)
    gate: Any = field(default=None, compare=False, repr=False)

    @property
    def declared_in(self) -> str | None:
        """The module in which it stands as a decorator; None where it doesn't."""
        return self.function.partition(":")[0] if self.decorated else None

    @property
    def follows(self) -> bool:
        """Whether the end of a run matters to its task."""
        return self.fixed_delay or self.pause_after_failures is not None

    @property
    def marks_start(self) -> bool:
        """Whether a start is written down before it happens, so that it is never repeated."""
        return self.delivery is Delivery.AT_MOST_ONCE


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands where a definition would, for a row that this version can't understand."""

    text: str
    reason: str


_PLAIN = {
    each.name: each.default
    for each in fields(Definition)
    if each.name not in {"trigger", "target", "gate", "tags", "retry_on", "give_up_on"}
}
_WORDS = {
    "coalesce": Coalesce,
    "delivery": Delivery,
    "scope": Scope,
    "keep": Keep,
    "overlap": Overlap,
}
_LISTS = ("tags", "retry_on", "give_up_on")


_KINDS: dict[str, type | tuple[type, ...]] = {
    "function": str,
    "name": str,
    "payload": str,
    "executor": str,
    "misfire_grace_us": (int, type(None)),
    "max_instances": int,
    "jitter_us": int,
    "fixed_delay": bool,
    "max_history": (int, type(None)),
    "retries": int,
    "retry_delay_us": int,
    "backoff": (int, float),
    "max_delay_us": (int, type(None)),
    "retry_jitter_us": int,
    "timeout_us": (int, type(None)),
    "result_ttl_us": (int, type(None)),
    "max_queued": int,
    "priority": int,
    "concurrency_key": (str, type(None)),
    "concurrency_limit": int,
    "key_template": (str, type(None)),
    "run_on_startup": bool,
    "max_runs": (int, type(None)),
    "pause_after_failures": (int, type(None)),
    "decorated": bool,
    "disposable": bool,
    "trace": (str, type(None)),
}


def _check_types(data: Mapping[str, Any]) -> None:
    for name, kind in _KINDS.items():
        value = data.get(name, _PLAIN.get(name))
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"{name} is {value!r:.50}")
    for name in _LISTS:
        if not all(isinstance(each, str) for each in data[name]):
            raise TypeError(f"{name} are {data[name]!r:.50}")


class DefinitionCodec:
    """Turns definitions into text and back, remembering what it has decoded.

    `load_trigger` makes a trigger of the JSON data that a trigger's `to_json` gave. With a
    `signer`, texts are signed, and only signed ones are decoded. Thread-safe.
    """

    def __init__(
        self,
        load_trigger: Callable[[Mapping[str, Any]], Trigger],
        signer: Signer | None = None,
        remembered: int = 20_000,
    ) -> None:
        self._load_trigger = load_trigger
        self._signer = signer
        self._remembered = remembered
        self._known: OrderedDict[str, Definition] = OrderedDict()
        self._latest: tuple[Definition | None, str] = None, ""
        self._lock = Lock()

    def encode(self, definition: Definition) -> str:
        """Return the text of a definition; equal definitions have equal texts."""
        # Tasks that are added together often share theirs.
        known, text = self._latest
        if known is not definition:
            text = self._encode(definition)
            self._latest = definition, text
        return text

    def _encode(self, definition: Definition) -> str:
        data: dict[str, Any] = {"version": VERSION}
        for name, default in _PLAIN.items():
            value = getattr(definition, name)
            if value != default:
                data[name] = value
        for name in _LISTS:
            if listed := getattr(definition, name):
                data[name] = listed
        data["trigger"] = definition.trigger.to_json()
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return text if self._signer is None else self._signer.signed(text)

    def decode(self, text: str) -> Definition:
        """Return the definition of a text.

        Raises:
            UnreadableRecordError: this version can't understand it.
        """
        # A task is decoded each time that it is planned; its text is the honest key, since a
        # definition can change under the same id.
        with self._lock:
            known = self._known.get(text)
            if known is not None:
                return known
        definition = self._decode(text)
        if len(text) > _REMEMBERED_LENGTH or definition.trace is not None:
            # Of a single run, more likely than not; and many of them fill the memory.
            return definition
        with self._lock:
            self._known[text] = definition
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        return definition

    def read(self, text: str) -> Definition | Unreadable:
        """Return the definition of a text, or why it can't be understood."""
        try:
            return self.decode(text)
        except UnreadableRecordError as error:
            return Unreadable(text, str(error))

    def _decode(self, text: str) -> Definition:
        text = unsigned(text) if self._signer is None else self._signer.verified(text)
        try:
            data = json.loads(text)
            version = data.pop("version")
            if version != VERSION:
                raise UnreadableRecordError(
                    f"definition of version {version!r}; this tickwork reads version {VERSION}: "
                    "update tickwork here"
                )
            data["trigger"] = self._load_trigger(data["trigger"])
            data |= {name: tuple(data.get(name, ())) for name in _LISTS}
            for name, word in _WORDS.items():
                if name in data:
                    data[name] = word(data[name])
            _check_types(data)
            return Definition(**data)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UnreadableRecordError(
                f"definition can't be understood: {type(error).__name__}: {error}"
            ) from error
