"""Nodes, their leases, and what dead ones leave behind, in Redis.

A run's lease lasts as long as its node's. A node is dead once somebody has written so; from then on
it can't renew, and gets no runs any more, whatever its clock says. That is written together with
taking over its runs, under the condition that neither the node nor its runs have changed, and that
there are no more of them than were seen.
"""

import sys
from dataclasses import replace

from tickwork.model.documents import node_document
from tickwork.model.json_text import to_text
from tickwork.model.policies import RunState
from tickwork.model.records import NodeRecord, RunRecord, copied
from tickwork.model.steps import Beat, Ended, RecoverReply, RecoverRequest
from tickwork.stores.redis.layout import word
from tickwork.stores.redis.letting_go import Departures, let_go, offer_again
from tickwork.stores.redis.run_texts import KeptRun
from tickwork.stores.redis.server import split
from tickwork.stores.redis.session import Session
from tickwork.stores.redis.texts import KeptTask, node_head, node_text, read_node

_ALL = -1
_EVERYTHING = sys.maxsize

__all__ = ["beat", "now_us", "recover", "registered"]


def beat(session: Session, node: NodeRecord, lease_us: int, *, leaving: bool) -> Beat:
    """Do a store's `beat`."""
    environment = session.environment
    if not node.beat_us:
        # One that registers anew has asked nothing yet.
        session.forget_epoch(node.id)
    alive, instant = session.server.run(
        "beat",
        word(node.id),
        to_text(node_document(node)),
        str(lease_us),
        str(environment.now_us()) if environment.simulated else "",
        "" if node.beat_us else "1",
        "1" if leaving else "",
    )
    return Beat(bool(alive), int(instant))


def now_us(session: Session) -> int:
    """Return the present instant by the server's clock."""
    return _looked_at(session)[0]


def registered(session: Session) -> list[NodeRecord]:
    """Do a reader's `nodes`."""
    return _looked_at(session)[1]


def _looked_at(session: Session) -> tuple[int, list[NodeRecord]]:
    instant, ids, texts = session.server.run("nodes")
    found = [read_node(each, text) for each, text in zip(split(ids), split(texts), strict=True)]
    environment = session.environment
    return environment.now_us() if environment.simulated else int(instant), found


def recover(session: Session, request: RecoverRequest) -> RecoverReply:
    """Do a store's `recover`."""
    return session.persistently(lambda: _recover(session, request))


def _recover(session: Session, request: RecoverRequest) -> RecoverReply:
    instant, nodes = _looked_at(session)
    dead = [node for node in nodes if node.id != request.node and node.expires_us <= instant]
    if not dead and request.held is None:
        return RecoverReply()
    recovery = _Recovery(session, request)
    more = False
    for node in dead:
        more |= recovery.bury(node)
    if request.held is not None:
        recovery.give_back_strays(request.held)
    recovery.let_go()
    session.commit(recovery.change)
    return RecoverReply(recovery.runs, [node.id for node in dead], more)


class _Recovery:
    """One step that recovers."""

    def __init__(self, session: Session, request: RecoverRequest) -> None:
        self._session = session
        self._request = request
        self._gone = Departures()
        self.change = session.change()
        self.runs: list[RunRecord] = []

    def bury(self, node: NodeRecord) -> bool:
        """Take over what a dead node holds, as far as the limit goes; whether there is more."""
        room = self._request.limit - len(self.runs)
        # One more than there is room for is only looked at, to know whether it is there.
        fences = self._fences_of(node.id)
        found = self._leased_under(fences, room + 1)
        self._take_over(found[:room])
        name = word(node.id)
        self.change.expect("nodes", name, node_head(node))
        if len(found) > room:
            self.change.set("nodes", name, node_text(replace(node, expires_us=0)))
            return True
        # Whatever else was leased to it meanwhile would be nobody's.
        self.change.expect_length("leases", name, len(fences))
        self.change.cut("nodes", name)
        self.change.cut("epochs", name)
        return False

    def _fences_of(self, node_id: str) -> list[str]:
        return [fence for _, fence in self._session.entries("leases", word(node_id), _ALL)]

    def _leased_under(self, fences: list[str], limit: int) -> list[KeptRun]:
        found: list[KeptRun] = []
        for fence in fences:
            runs = self._session.runs(self._session.grants([fence])).values()
            found += [run for run in runs if run.flag in "LMO" and run.record.fence == int(fence)]
            if len(found) >= limit:
                break
        return found[:limit]

    def _tasks_of(self, found: list[KeptRun]) -> dict[str, KeptTask]:
        return self._session.tasks(list({word(run.record.task_id) for run in found}))

    def _take_over(self, found: list[KeptRun]) -> None:
        tasks = self._tasks_of(found)
        now_us = self._request.now_us
        for each in found:
            run = self._taken(each)
            if each.flag == "O":
                self._end(run, Ended(run.state, run.finished_us or now_us))
                continue
            task = tasks.get(word(run.task_id))
            alike = task is not None and task.record.generation == run.generation
            definition = task.record.definition if task is not None and alike else None
            verdict = self._request.decide(copied(each.record), run.definition or definition)
            run.crashes, run.suspect = verdict.crashes, verdict.suspect
            run.reason = verdict.reason
            if verdict.state is RunState.PENDING:
                self._offer(run, task)
                continue
            run.state, run.finished_us = verdict.state, now_us
            self._end(run, Ended(run.state, now_us))

    def _end(self, run: RunRecord, told: Ended | None) -> None:
        """Have a run end, of which its task is told."""
        key = word(run.task_id), run.generation
        self._gone.add(*key, told)
        self._gone.untold[key] += told is None
        if run.holds_key:
            self.change.leave(run, self._gone.count)
            run.holds_key = False
        self.change.expire(run.id, run.expires_us)
        self.change.rewrite(run)

    def _taken(self, kept: KeptRun) -> RunRecord:
        """Return a copy of a run whose lease ends."""
        run = copied(kept.record)
        self.change.expect("runs", run.id, kept.version)
        self.change.release(run)
        self.runs.append(run)
        return run

    def _offer(self, run: RunRecord, task: KeptTask | None) -> None:
        now_us = self._request.now_us
        available_us = now_us if run.due_us is None else run.due_us
        offer_again(self.change, run, task, available_us, now_us, self._gone.count)

    def let_go(self) -> None:
        """Let tasks go on whose runs have ended."""
        gone, after_run = self._gone, self._request.after_run
        # Also those that aren't told: other runs may wait for these to end.
        tasks = {task for task, _ in gone.steps}
        let_go(self._session, self.change, gone, after_run=after_run, looked_at=tasks)

    def give_back_strays(self, held: frozenset[str]) -> None:
        """Give back runs of the node itself that it doesn't hold, as if never leased."""
        self.change.asks = word(self._request.node)
        mine = self._leased_under(self._fences_of(self._request.node), _EVERYTHING)
        strays = [run for run in mine if run.record.id not in held]
        tasks = self._tasks_of(strays)
        for each in strays:
            run = self._taken(each)
            if each.flag == "O":
                self._end(run, None)
                continue
            run.attempt -= 1
            run.started_us = None
            self._offer(run, tasks.get(word(run.task_id)))
