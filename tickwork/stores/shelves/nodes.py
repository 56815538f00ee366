"""Nodes that are held in memory, their leases, and what dead ones leave behind."""

from collections import Counter
from dataclasses import replace
from itertools import islice

from tickwork.model.policies import TERMINAL, RunState
from tickwork.model.records import NodeRecord, RunRecord, copied
from tickwork.model.steps import Beat, Ended, RecoverReply, RecoverRequest, Verdict
from tickwork.stores.shelves.finishing import (
    Key,
    count_over,
    definition_of,
    followed,
    move_on,
    offer_again,
)
from tickwork.stores.shelves.shelves import Shelves

__all__ = ["beat", "recover"]


def beat(shelves: Shelves, node: NodeRecord, lease_us: int, *, now_us: int, leaving: bool) -> Beat:
    """Do a store's `beat`."""
    known = shelves.nodes.get(node.id)
    # A node whose lease was ended by others has an `expires_us` of 0.
    alive = known is not None and known.expires_us != 0
    if leaving:
        if not shelves.leased.get(node.id):
            shelves.nodes.pop(node.id, None)
            shelves.leased.pop(node.id, None)
        return Beat(alive, now_us)
    if node.beat_us and not alive:
        return Beat(alive=False, now_us=now_us)
    shelves.nodes[node.id] = replace(node, beat_us=now_us, expires_us=now_us + lease_us)
    return Beat(alive=True, now_us=now_us)


def recover(shelves: Shelves, request: RecoverRequest, now_us: int) -> RecoverReply:
    """Do a store's `recover`."""
    dead = [
        node
        for node in shelves.nodes.values()
        if node.id != request.node and node.expires_us <= now_us
    ]
    left = [run for node in dead for run in shelves.leased[node.id].values()]
    taken = list(islice(left, request.limit))
    # Decisions come first: if one raises, nothing has happened yet.
    verdicts = [_verdict(shelves, run, request) for run in taken]
    over = Counter(
        (run.task_id, run.generation)
        for run, verdict in zip(taken, verdicts, strict=True)
        if verdict.state is not RunState.PENDING
    )
    follows: dict[Key, list[Ended]] = {}
    for run, verdict in zip(taken, verdicts, strict=True):
        if verdict.state is not RunState.PENDING:
            ended = Ended(verdict.state, run.finished_us or request.now_us)
            follows.setdefault((run.task_id, run.generation), []).append(ended)
    moved = followed(shelves, over, follows, request.after_run)
    for run, verdict in zip(taken, verdicts, strict=True):
        _take_over(shelves, run, verdict, request.now_us)
    move_on(shelves, moved)
    for node in dead:
        node.expires_us = 0
        if not shelves.leased[node.id]:
            del shelves.nodes[node.id], shelves.leased[node.id]
    if request.held is not None:
        taken += _give_back_strays(shelves, request.node, request.held, now_us)
    more = len(left) > request.limit
    return RecoverReply([copied(run) for run in taken], [node.id for node in dead], more)


def _verdict(shelves: Shelves, run: RunRecord, request: RecoverRequest) -> Verdict:
    if run.state in TERMINAL:
        return Verdict(run.state, run.crashes, run.suspect, run.reason)
    return request.decide(copied(run), definition_of(shelves, run))


def _take_over(shelves: Shelves, run: RunRecord, verdict: Verdict, now_us: int) -> None:
    shelves.unlease(run)
    run.state, run.crashes = verdict.state, verdict.crashes
    run.suspect, run.reason = verdict.suspect, verdict.reason
    if verdict.state is RunState.PENDING:
        offer_again(shelves, run, now_us if run.due_us is None else run.due_us, now_us)
    else:
        if run.finished_us is None:
            run.finished_us = now_us
        count_over(shelves, run)


def _give_back_strays(
    shelves: Shelves, node: str, held: frozenset[str], now_us: int
) -> list[RunRecord]:
    strays = [run for run in shelves.leased[node].values() if run.id not in held]
    for run in strays:
        shelves.unlease(run)
        if run.state in TERMINAL:
            count_over(shelves, run)
            continue
        run.attempt -= 1
        run.started_us = None
        offer_again(shelves, run, now_us if run.due_us is None else run.due_us, now_us)
    return strays
