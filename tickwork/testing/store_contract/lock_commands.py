"""Random commands about locks, to two stores."""

from dataclasses import replace
from typing import Any, NamedTuple, cast

from hypothesis import strategies as st

from tickwork.interfaces import Locking
from tickwork.model.locks import LockRecord, LockRequest
from tickwork.model.steps import PruneRequest
from tickwork.testing.store_contract.bench import T0
from tickwork.testing.store_contract.pair import Pair

__all__ = ["LockCommand", "lock_commands", "obey"]

_NAME = st.sampled_from(["one", "two"])
_OWNER = st.sampled_from(["a", "b", "c"])
_SPAN = st.sampled_from([1, 50, 100, 1_000])


class LockCommand(NamedTuple):
    """What is said to both stores, `after_us` the command before."""

    kind: str
    name: str
    owner: str
    after_us: int
    lease_us: int
    label_us: int | None
    keep_us: int


def lock_commands() -> st.SearchStrategy[list[LockCommand]]:
    """Return lists of commands."""
    label = st.one_of(st.none(), st.integers(T0 - 200, T0 + 5_000))
    command = st.builds(
        LockCommand,
        st.sampled_from(["acquire", "acquire", "acquire", "renew", "give back", "prune"]),
        _NAME,
        _OWNER,
        st.sampled_from([0, 0, 1, 49, 50, 100, 1_000]),
        _SPAN,
        label,
        st.sampled_from([0, 50, 1_000]),
    )
    return st.lists(command, min_size=1, max_size=30)


def obey(pair: Pair, commands: list[LockCommand]) -> None:
    """Give commands to both stores, and compare what they answer and show."""
    for command in commands:
        pair.pass_time(command.after_us)
        pair.both(lambda bench, it=command: _answer(cast("Locking", bench.store), it))  # type: ignore[misc]
        pair.both(lambda bench: [_plain(lock) for lock in cast("Locking", bench.store).locks()])
        if command.kind == "prune":
            request = PruneRequest({}, 0, now_us=pair.benches[0].now_us)
            pair.both(lambda bench, it=request: bench.store.prune(it))  # type: ignore[misc]


def _answer(store: Locking, command: LockCommand) -> Any:
    kind, name, owner, _, lease_us, label_us, keep_us = command
    if kind == "acquire":
        request = LockRequest(name, owner, lease_us, f"it is {owner}", label_us, keep_us)
        return _plain(store.acquire_lock(request))
    if kind == "renew":
        return store.renew_lock(name, owner, lease_us, label_us)
    if kind == "give back":
        return store.renew_lock(name, owner, 0, None if keep_us else label_us)
    return None


def _plain(lock: LockRecord) -> LockRecord:
    # Which numbers a store has used up is its own business: they have to grow, no more.
    return replace(lock, fence=0)
