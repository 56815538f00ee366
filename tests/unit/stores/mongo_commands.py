"""Commands that are noted, and a database whose commands can be stopped, one document at a time.

Commands that write many documents are cut into single ones, as a server that ends in the middle of
one would leave it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymongo import UpdateMany, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.monitoring import CommandListener
from pymongo.results import BulkWriteResult, DeleteResult, UpdateResult

__all__ = ["CutDatabase", "Gate", "Sent", "StoppedError"]

Document = dict[str, Any]


class Sent(CommandListener):
    """The commands that a client sends."""

    def __init__(self) -> None:
        self.commands: list[Mapping[str, Any]] = []

    def started(self, event: Any) -> None:
        if event.command_name not in {"hello", "ping", "endSessions"}:
            self.commands.append(event.command)

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


class StoppedError(BaseException):
    """The process has ended here; nothing in the store may catch it."""


def _stop() -> None:
    raise StoppedError


class Gate:
    """What all commands pass."""

    def __init__(self) -> None:
        self._passed = 0
        self._when: Callable[[int], bool] | None = None
        self._do: Callable[[], None] = _stop

    def arm(self, when: Callable[[int], bool], do: Callable[[], None] = _stop) -> None:
        """Do something, once, before the first command of which `when` says so by its number."""
        self._passed, self._when, self._do = 0, when, do

    def disarm(self) -> None:
        """Let everything pass."""
        self._when = None

    def step(self) -> None:
        """Let a command pass."""
        self._passed += 1
        if self._when is not None and self._when(self._passed):
            self.disarm()
            self._do()


class CutDatabase(Database[Document]):
    """A database whose collections pass a gate."""

    def __init__(self, inner: Database[Document], gate: Gate) -> None:
        super().__init__(inner.client, inner.name)
        self._gate = gate

    def get_collection(self, name: str, **options: Any) -> Collection[Document]:  # type: ignore[override]  # all are named
        return CutCollection(self, name, self._gate, options)


class CutCollection(Collection[Document]):
    """A collection that passes a gate before each document."""

    def __init__(
        self, database: Database[Document], name: str, gate: Gate, options: Mapping[str, Any]
    ) -> None:
        super().__init__(database, name, **options)
        self._gate = gate

    def find(self, *args: Any, **options: Any) -> Any:
        self._gate.step()
        return super().find(*args, **options)

    def aggregate(self, *args: Any, **options: Any) -> Any:
        self._gate.step()
        return super().aggregate(*args, **options)

    def distinct(self, *args: Any, **options: Any) -> Any:
        self._gate.step()
        return super().distinct(*args, **options)

    def find_one_and_update(self, *args: Any, **options: Any) -> Any:
        self._gate.step()
        return super().find_one_and_update(*args, **options)

    def replace_one(self, *args: Any, **options: Any) -> Any:
        self._gate.step()
        return super().replace_one(*args, **options)

    def update_one(self, *args: Any, **options: Any) -> Any:
        self._gate.step()
        return super().update_one(*args, **options)

    def insert_many(self, documents: Any, **options: Any) -> Any:  # type: ignore[override]  # as ours call it
        failures = []
        for index, document in enumerate(documents):
            self._gate.step()
            try:
                super().insert_one(document)
            except DuplicateKeyError as error:
                failures.append({"index": index, "code": error.code})
        if failures:
            raise BulkWriteError({"writeErrors": failures, "writeConcernErrors": []})

    def update_many(self, where: Any, how: Any, **options: Any) -> Any:  # type: ignore[override]  # as above
        met = sum(
            self.update_one({"$and": [where, {"_id": found}]}, how).matched_count
            for found in self._ids(where)
        )
        return UpdateResult({"n": met, "nModified": met}, acknowledged=True)

    def delete_many(self, where: Any, **options: Any) -> Any:  # type: ignore[override]  # as above
        gone = 0
        for found in self._ids(where):
            self._gate.step()
            gone += super().delete_one({"$and": [where, {"_id": found}]}).deleted_count
        return DeleteResult({"n": gone}, acknowledged=True)

    def bulk_write(self, requests: Sequence[Any], **options: Any) -> Any:  # type: ignore[override]  # as above
        met = 0
        for each in requests:
            assert isinstance(each, UpdateOne | UpdateMany)
            update = self.update_one if isinstance(each, UpdateOne) else self.update_many
            met += update(each._filter, each._doc).matched_count  # noqa: SLF001  no other way
        return BulkWriteResult({"nMatched": met}, acknowledged=True)

    def _ids(self, where: Any) -> list[Any]:
        return [found["_id"] for found in super().find(where, ["_id"])]
