"""Nodes, their leases, and what dead ones leave behind.

A run's lease lasts as long as its node's. A node is dead once somebody has written so
(`expires_us` of 0); from then on it can't renew. It may have stood still between asking whether it
is alive and leasing something, so its runs are looked for once more after it was forgotten: a node
that leases anything was registered before, so one that is named by a run and isn't registered
*afterwards* is gone, and its runs are taken over as those of the dead.

Each run is taken over by one change, under the condition that it is as it was when it was decided
about; the token in it tells by whom. One that lingered is over already: that stays as it is, and
only counts from then on.
"""

from collections.abc import Sequence
from dataclasses import replace

from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import NodeRecord, RunRecord
from tickwork.model.steps import TASK_REMOVED, Beat, Ended, RecoverReply, RecoverRequest, Verdict
from tickwork.stores.mongo.collection import Document, chunks
from tickwork.stores.mongo.following import End, follow, foresee, let_go, stuck
from tickwork.stores.mongo.gates import attend
from tickwork.stores.mongo.orphans import definitions_of, end_orphans_among
from tickwork.stores.mongo.outbox import outbox_of, settle_all, sweep
from tickwork.stores.mongo.session import PRESENT, VISIBLE, Session, new_token
from tickwork.stores.mongo.shapes import changed, ended, node_document, run_of

__all__ = ["beat", "recover"]

_AT_ONCE = 1_000
_OVER = frozenset(state.value for state in TERMINAL)
_OF_NODES = {"node": PRESENT, **VISIBLE}


def beat(session: Session, node: NodeRecord, lease_us: int, *, leaving: bool) -> Beat:
    """Do a store's `beat`."""
    now_us = session.server_us()
    mine = {"_id": node.id}
    if leaving:
        alive = session.nodes.first({**mine, "expires_us": {"$ne": 0}}, ["_id"]) is not None
        if session.runs.first({"node": node.id}, ["_id"]) is None:
            session.nodes.remove(mine)
        return Beat(alive=alive, now_us=now_us)
    document = node_document(replace(node, beat_us=now_us, expires_us=now_us + lease_us))
    if not node.beat_us:
        session.nodes.put(document)
        return Beat(alive=True, now_us=now_us)
    del document["_id"]
    alive = session.nodes.change_one({**mine, "expires_us": {"$ne": 0}}, {"$set": document})
    return Beat(alive=alive, now_us=now_us)


def recover(session: Session, request: RecoverRequest) -> RecoverReply:
    """Do a store's `recover`."""
    _mend(session, request)
    now_us = session.server_us()
    dead = _dead(session, request.node, now_us)
    taking = _TakeOver(session, request, dead)
    _bury(session, dead, now_us)
    runs = taking.write(dead)
    _forget(session, dead)
    if request.held is not None:
        runs += _give_back_strays(session, request)
    return RecoverReply(runs, dead, taking.more)


def _mend(session: Session, request: RecoverRequest) -> None:
    """Finish what others have begun, and didn't live to finish."""
    owing = session.tasks.find({"owing": PRESENT}, limit=_AT_ONCE)
    settle_all(session, map(outbox_of, owing))
    sweep(session, _AT_ONCE)
    marked = session.runs.find({"follows_of": PRESENT}, ["follows_of"], limit=_AT_ONCE)
    if marked:
        follow(session, {run["follows_of"] for run in marked}, request.after_run)
    waiting = stuck(session, _AT_ONCE)
    if waiting:
        let_go(session, waiting)
    attend(session, session.runs.find({"opens": PRESENT}, ["opens", "gate"], limit=_AT_ONCE))


def _dead(session: Session, node: str, now_us: int) -> list[str]:
    """Return the nodes whose lease is over, and those that runs are leased to and nobody knows."""
    named = session.runs.values("node", _OF_NODES)
    # Asked afterwards: a node is registered before it leases.
    registered = {each["_id"]: each for each in session.nodes.find({}, ["expires_us"])}
    over = [name for name, each in registered.items() if each["expires_us"] <= now_us]
    unknown = [name for name in named if name not in registered]
    return sorted({*over, *unknown} - {node})


def _bury(session: Session, dead: list[str], now_us: int) -> None:
    """Declare nodes dead; those that have renewed their leases meanwhile are taken off the list."""
    if not dead:
        return
    late = {"_id": {"$in": dead}, "expires_us": {"$lte": now_us}}
    session.nodes.change(late, {"$set": {"expires_us": 0}})
    alive = session.nodes.find({"_id": {"$in": dead}, "expires_us": {"$ne": 0}}, ["_id"])
    for each in alive:
        dead.remove(each["_id"])


def _forget(session: Session, dead: Sequence[str]) -> None:
    for node in dead:
        if session.runs.first({"node": node}, ["_id"]) is None:
            session.nodes.remove({"_id": node, "expires_us": 0})


class _TakeOver:
    """Taking over runs of dead nodes; decided about when made, so that it may raise then."""

    def __init__(self, session: Session, request: RecoverRequest, dead: Sequence[str]) -> None:
        self._session = session
        self._request = request
        # One more than is taken over is only looked at, to know whether it is there.
        found = session.runs.find(
            {"node": {"$in": list(dead)}, **VISIBLE}, order=[("_id", 1)], limit=request.limit + 1
        )
        self._runs = found[: request.limit]
        self.more = len(found) > request.limit
        self._definitions = definitions_of(session, self._runs)
        self._verdicts = {run["_id"]: self._verdict(run) for run in self._runs}
        self._foreseen = foresee(session, self._ends(), request.after_run)

    def _verdict(self, run: Document) -> Verdict:
        record = run_of(run, self._session.codec)
        if record.state in TERMINAL:
            return Verdict(record.state, record.crashes, record.suspect, record.reason)
        return self._request.decide(record, self._definitions.get(record.id))

    def _ends(self) -> list[End]:
        ends = []
        for run in self._runs:
            state = self._verdicts[run["_id"]].state
            if state is not RunState.PENDING and "definition" not in run:
                how = Ended(state, run.get("finished_us", self._request.now_us))
                ends.append(End(run["task_id"], run["generation"], how))
        return ends

    def write(self, dead: Sequence[str]) -> list[RunRecord]:
        """Take the runs over that are still as they were; return those, as they are now."""
        session = self._session
        token = new_token()
        runs = [run for run in self._runs if run["node"] in dead]
        taken = _change(session, [self._taken(run, token) for run in runs], token)
        again = [run["_id"] for run in taken if run["state"] == RunState.PENDING.value]
        end_orphans_among(session, again)
        over = {run["task_id"] for run in taken if "follows_of" in run}
        if over:
            follow(session, over, self._request.after_run, self._foreseen)
            let_go(session, over)
        attend(session, [run for run in taken if "opens" in run])
        return [run_of(run, session.codec) for run in taken]

    def _taken(self, run: Document, token: str) -> tuple[Document, Document]:
        """Return the condition and the change that take a run over."""
        verdict, now_us = self._verdicts[run["_id"]], self._request.now_us
        definition = self._definitions.get(run["_id"])
        fields = {
            "state": verdict.state.value,
            "crashes": verdict.crashes,
            "suspect": verdict.suspect,
            "reason": verdict.reason,
            "node": None,
            "taken": token,
        }
        if verdict.state is RunState.PENDING:
            return _offered_again(run, fields, now_us, orphaned=definition is None)
        fields["finished_us"] = run.get("finished_us", now_us)
        if definition is not None and "definition" not in run:
            fields["follows_of"] = run["task_id"]
        return _unchanged(run), ended(fields)


def _unchanged(run: Document) -> Document:
    return {name: run[name] for name in ("_id", "node", "fence", "state")}


def _offered_again(
    run: Document, fields: Document, now_us: int, *, orphaned: bool
) -> tuple[Document, Document]:
    """Return how a run becomes pending again; one whose task is gone meanwhile is over."""
    if orphaned:
        over = {"state": RunState.CANCELLED.value, "reason": TASK_REMOVED, "finished_us": now_us}
        return _unchanged(run), ended({**fields, **over})
    again = {"state": RunState.PENDING.value, "available_us": run.get("due_us", now_us)}
    return _unchanged(run), changed({**fields, **again})


def _change(
    session: Session, changes: Sequence[tuple[Document, Document]], token: str
) -> list[Document]:
    """Change runs as far as they are as they were; return those that were changed."""
    session.runs.change_each(changes)
    taken: list[Document] = []
    for some in chunks([where["_id"] for where, _ in changes]):
        taken += session.runs.find({"_id": {"$in": some}, "taken": token}, order=[("_id", 1)])
    return taken


def _give_back_strays(session: Session, request: RecoverRequest) -> list[RunRecord]:
    """Give runs back that are leased to a node, and that it never received."""
    held = request.held or frozenset()
    mine = session.runs.find({"node": request.node, **VISIBLE}, order=[("_id", 1)])
    strays = [run for run in mine if run["_id"] not in held]
    definitions = definitions_of(session, strays)
    token = new_token()
    changes = []
    for run in strays:
        fields: Document = {"node": None, "taken": token}
        if run["state"] in _OVER:
            changes.append((_unchanged(run), ended(fields)))
            continue
        orphaned = run["_id"] not in definitions
        fields["started_us"] = None
        where, how = _offered_again(run, fields, request.now_us, orphaned=orphaned)
        changes.append((where, {**how, "$inc": {"attempt": -1}}))
    taken = _change(session, changes, token)
    end_orphans_among(session, [run["_id"] for run in taken])
    let_go(session, {run["task_id"] for run in taken if run["state"] in _OVER})
    attend(session, [run for run in taken if "opens" in run])
    return [run_of(run, session.codec) for run in taken]
