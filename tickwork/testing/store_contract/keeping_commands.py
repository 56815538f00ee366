"""Random commands about documents, to two stores."""

from typing import Any, NamedTuple

from hypothesis import strategies as st

from tickwork.interfaces import Keeping
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.steps import PruneRequest
from tickwork.testing.store_contract.bench import Bench
from tickwork.testing.store_contract.pair import Pair

__all__ = ["DocumentCommand", "document_commands", "obey"]

_KEYS = ["a", "b", "c", "cc"]
_KEY = st.sampled_from(_KEYS)
_EDGE = st.sampled_from([None, None, "", "bb", *_KEYS])


class DocumentCommand(NamedTuple):
    """What is said to both stores, `after_us` the command before."""

    kind: str
    key: str
    after_us: int
    expected: int | None
    lasts_us: int | None
    query: DocumentQuery


def document_commands() -> st.SearchStrategy[list[DocumentCommand]]:
    """Return lists of commands."""
    query = st.builds(
        DocumentQuery,
        st.just("note"),
        st.one_of(st.none(), _KEY),
        _EDGE,
        _EDGE,
        st.booleans(),
        st.sampled_from([100, 100, 2, 1]),
    )
    command = st.builds(
        DocumentCommand,
        st.sampled_from(["keep", "keep", "keep", "forget", "prune"]),
        _KEY,
        st.sampled_from([0, 0, 1, 50, 100]),
        st.sampled_from([None, None, 0, 0, 1, 2, 3]),
        st.sampled_from([None, 0, 50, 100, 1_000]),
        query,
    )
    return st.lists(command, min_size=1, max_size=40)


def obey(pair: Pair, commands: list[DocumentCommand]) -> None:
    """Give commands to both stores, and compare what they answer and show."""
    for command in commands:
        pair.pass_time(command.after_us)
        pair.both(lambda bench, it=command: _answer(bench, it))  # type: ignore[misc]
        pair.both(lambda bench, it=command: _keeping(bench).documents(it.query))  # type: ignore[misc]


def _answer(bench: Bench, command: DocumentCommand) -> Any:
    kind, key, _, expected, lasts_us, _ = command
    if kind == "keep":
        expires_us = None if lasts_us is None else bench.now_us + lasts_us
        body = f'"{bench.now_us}"'
        return _keeping(bench).keep(Document("note", key, body, expires_us=expires_us), expected)
    if kind == "forget":
        return _keeping(bench).forget("note", key, expected)
    return bench.store.prune(PruneRequest({}, 0, now_us=bench.now_us))


def _keeping(bench: Bench) -> Keeping:
    assert isinstance(bench.store, Keeping)
    return bench.store
