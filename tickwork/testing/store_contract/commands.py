"""The random commands themselves, as a state machine of hypothesis."""

from collections.abc import Callable
from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tickwork.model.policies import RunState
from tickwork.model.steps import Verdict
from tickwork.testing.store_contract.bench import LEASE_US, T0
from tickwork.testing.store_contract.pair import ENDS, NAMES, NODES, Pair

__all__ = ["command_machine"]

_NAME = st.sampled_from(NAMES)
_NODE = st.sampled_from(NODES)
_ROOM = st.sampled_from([3, 2, 1, 0])
_PASSED = st.sampled_from([5_000, 1_000, 100])
_PLANS = st.sampled_from(["many", "one", "one", "one", "skip", "defer", "last"])
_ENTRY = st.sampled_from(
    ["mark", "return", "retry", "stale", "follow", "follow", "linger", "note", *ENDS]
)
_VERDICT = st.sampled_from(
    [
        Verdict(RunState.PENDING, 0, suspect=True),
        Verdict(RunState.PENDING, 0, suspect=False, reason="again"),
        Verdict(RunState.LOST, 0, suspect=True, reason="lost"),
    ]
)


def command_machine(make_pair: Callable[[], Pair]) -> type[RuleBasedStateMachine]:
    """Return a kind of machine, each of which has a pair of its own."""

    class Commands(_Commands):
        def make_pair(self) -> Pair:
            return make_pair()

    return Commands


class _Commands(RuleBasedStateMachine):
    """Gives commands to a pair of stores."""

    def make_pair(self) -> Pair:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        pair = self.pair = self.make_pair()
        self.numbers = count(3)
        for node in NODES:
            pair.beat(node, leaving=False)
        for place, name in enumerate(NAMES):
            pair.put(name, again=True, paused=False, max_instances=1 + place)

    def teardown(self) -> None:
        for bench in self.pair.benches:
            bench.close()

    @invariant()
    def both_show_the_same(self) -> None:
        self.pair.check()

    @rule(after_us=_PASSED, kind=_PLANS, limit=st.integers(1, 3), room=_ROOM)
    def plan(self, after_us: int, kind: str, limit: int, room: int) -> None:
        self.pair.pass_time(after_us)
        if kind == "last":
            # Tasks that have finished come back, or there would soon be nothing to do.
            for name in NAMES:
                self.pair.put(name, again=True, paused=False, max_instances=limit)
        self.pair.plan(self._node(), kind, limit, room)

    @rule(names=st.lists(_NAME, min_size=1, max_size=3), room=_ROOM, suspects=st.booleans())
    def run_and_lease(self, *, names: list[str], room: int, suspects: bool) -> None:
        self.pair.edit(names, "run")
        self.pair.lease(self._node(), room, suspects=suspects)

    @rule(
        key=st.sampled_from(["own", "shared", None]),
        rank=st.integers(-1, 1),
        after_us=st.sampled_from([0, 0, 3_000]),
    )
    def submit(self, key: str | None, rank: int, after_us: int) -> None:
        self.pair.submit(key, rank, after_us)

    @rule(places=st.lists(st.integers(0, 20), min_size=1, max_size=3), node=_NODE)
    def cancel(self, places: list[int], node: str) -> None:
        self.pair.cancel(places)
        self.pair.asked(node)

    @rule(after_us=_PASSED, room=_ROOM, suspects=st.booleans())
    def lease(self, *, after_us: int, room: int, suspects: bool) -> None:
        self.pair.pass_time(after_us)
        self.pair.lease(self._node(), room, suspects=suspects)

    @precondition(lambda self: self.pair.leased)
    @rule(choices=st.lists(st.tuples(st.integers(0, 9), _ENTRY), min_size=1, max_size=4))
    def finish(self, choices: list[tuple[int, str]]) -> None:
        self.pair.finish(choices)

    @precondition(lambda self: self.pair.leased)
    @rule(place=st.integers(0, 3))
    def finish_well(self, place: int) -> None:
        self.pair.finish([(place, "follow")])

    @rule(name=_NAME, again=st.booleans(), paused=st.booleans(), max_instances=st.integers(1, 3))
    def put(self, *, name: str, again: bool, paused: bool, max_instances: int) -> None:
        self.pair.put(name, again=again, paused=paused, max_instances=max_instances)

    @rule(
        names=st.lists(_NAME, min_size=1, max_size=3),
        kind=st.sampled_from(["cancel", "unchanged", "pause", "remove"]),
    )
    def edit(self, names: list[str], kind: str) -> None:
        self.pair.edit(names, kind)

    @rule(
        after_us=st.sampled_from([0, LEASE_US]),
        node=_NODE,
        verdict=_VERDICT,
        held=st.sampled_from([None, True, False]),
    )
    def recover(self, *, after_us: int, node: str, verdict: Verdict, held: bool | None) -> None:
        self.pair.pass_time(after_us)
        self.pair.beat(node, leaving=False)
        self.pair.recover(node, verdict, held=held)

    @rule(node=_NODE, kept=st.integers(0, 2), after_us=st.sampled_from([-1, 10_000, LEASE_US]))
    def leave_and_prune(self, *, node: str, kept: int, after_us: int) -> None:
        self.pair.beat(node, leaving=True)
        self.pair.prune(kept, T0 + after_us)

    def _node(self) -> str:
        """Return a node that is alive, a new one where none is."""
        if not self.pair.alive:
            self.pair.beat(f"node-{next(self.numbers)}", leaving=False)
        return min(self.pair.alive)
