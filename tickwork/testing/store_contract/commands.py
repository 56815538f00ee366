"""The random commands themselves, as a state machine of hypothesis."""

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tickwork.model.policies import RunState
from tickwork.model.steps import Verdict
from tickwork.testing.store_contract.bench import LEASE_US, T0
from tickwork.testing.store_contract.pair import ENDS, NAMES, NODES, Pair

__all__ = ["command_machine"]

_NAME = st.sampled_from(NAMES)
_NODE = st.sampled_from(NODES)
_ROOM = st.integers(0, 3)
_ENTRY = st.sampled_from(["mark", "return", "retry", "stale", "follow", "follow", *ENDS])
_VERDICT = st.sampled_from(
    [
        Verdict(RunState.PENDING, 0, suspect=True),
        Verdict(RunState.PENDING, 0, suspect=False, reason="again"),
        Verdict(RunState.LOST, 0, suspect=True, reason="lost"),
    ]
)


def command_machine(make_pair: Callable[[], Pair]) -> Callable[[], RuleBasedStateMachine]:
    """Return what makes machines, each with a pair of its own."""
    return lambda: _Commands(make_pair())


class _Commands(RuleBasedStateMachine):
    """Gives commands to a pair of stores."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair
        for node in NODES:
            pair.beat(node, leaving=False)

    def teardown(self) -> None:
        for bench in self.pair.benches:
            bench.close()

    @invariant()
    def both_show_the_same(self) -> None:
        self.pair.check()

    @rule(name=_NAME, again=st.booleans(), paused=st.booleans(), max_instances=st.integers(1, 3))
    def put(self, *, name: str, again: bool, paused: bool, max_instances: int) -> None:
        self.pair.put(name, again=again, paused=paused, max_instances=max_instances)

    @rule(name=_NAME)
    def put_new(self, name: str) -> None:
        self.pair.put(name, again=True, paused=False, max_instances=1)

    @rule(
        names=st.lists(_NAME, min_size=1, max_size=3),
        kind=st.sampled_from(["run", "run", "remove", "cancel", "pause", "unchanged"]),
    )
    def edit(self, names: list[str], kind: str) -> None:
        self.pair.edit(names, kind)

    @rule(by_us=st.sampled_from([1_000, 5_000, 100_000, LEASE_US]))
    def pass_time(self, by_us: int) -> None:
        self.pair.pass_time(by_us)

    @rule(node=_NODE, leaving=st.booleans())
    def beat(self, *, node: str, leaving: bool) -> None:
        self.pair.beat(node, leaving=leaving)

    @precondition(lambda self: self.pair.alive)
    @rule(
        kind=st.sampled_from(["one", "one", "many", "skip", "last", "defer"]),
        limit=st.integers(1, 3),
        room=_ROOM,
    )
    def plan(self, kind: str, limit: int, room: int) -> None:
        self.pair.plan(min(self.pair.alive), kind, limit, room)

    @precondition(lambda self: self.pair.alive)
    @rule(room=_ROOM, suspects=st.booleans())
    def lease(self, *, room: int, suspects: bool) -> None:
        self.pair.lease(max(self.pair.alive), room, suspects=suspects)

    @precondition(lambda self: self.pair.leased)
    @rule(choices=st.lists(st.tuples(st.integers(0, 1_000), _ENTRY), min_size=1, max_size=4))
    def finish(self, choices: list[tuple[int, str]]) -> None:
        self.pair.finish(choices)

    @rule(node=_NODE, verdict=_VERDICT, held=st.sampled_from([None, True, False]))
    def recover(self, *, node: str, verdict: Verdict, held: bool | None) -> None:
        self.pair.recover(node, verdict, held=held)

    @rule(kept=st.integers(0, 2), after_us=st.sampled_from([-1, 0, 10_000, LEASE_US]))
    def prune(self, kept: int, after_us: int) -> None:
        self.pair.prune(kept, T0 + after_us)
