"""Leasing in Redis.

It decides nothing, so one script does all of it; what can't be understood afterwards is given back.
"""

from collections.abc import Sequence

from tickwork.model.definition import Definition
from tickwork.model.json_text import to_text
from tickwork.model.records import Leased, RunRecord
from tickwork.model.steps import (
    UNREADABLE_AGAIN_US,
    Batch,
    Deferral,
    GivenBack,
    LeaseReply,
    LeaseRequest,
)
from tickwork.stores.redis.finishing import finish
from tickwork.stores.redis.layout import instant_of, instant_word, word
from tickwork.stores.redis.planning import eligible
from tickwork.stores.redis.run_texts import kept_runs
from tickwork.stores.redis.server import split
from tickwork.stores.redis.session import Session

__all__ = ["lease"]


def lease(session: Session, request: LeaseRequest) -> LeaseReply:
    """Do a store's `lease`."""
    while True:
        reply, unreadable = _lease(session, request)
        if not unreadable:
            return reply
        batch = Batch(lambda *_: None, given_back=unreadable)
        finish(session, batch, exactly=True)
        if reply.leased or reply.deferred:
            return reply
        # What was in the way of others isn't any more.


def _lease(session: Session, request: LeaseRequest) -> tuple[LeaseReply, list[GivenBack]]:
    """Lease once; return also what of it has to be given back."""
    asked = eligible(request.eligibility) | {
        "room": [[word(name), places] for name, places in request.capacity.items() if places > 0],
        "suspects": request.suspects,
    }
    if request.only is not None:
        asked["only"] = list(request.only)
    node, till = word(request.node), instant_word(request.now_us + 1)
    answer = session.server.change("lease", node, session.epoch(node), till, to_text(asked))
    session.refuse(answer, request.node)
    next_us = instant_of(answer[1].decode()) if answer[1] else None
    taken = _Taken(session, request.now_us)
    taken.read(answer[2:])
    return LeaseReply(taken.leased, next_us, taken.deferred), taken.unreadable


class _Taken:
    """What was leased, in order; what of it is given back, and which tasks are to blame."""

    def __init__(self, session: Session, now_us: int) -> None:
        self._codec = session.environment.codec
        self._now_us = now_us
        self.leased: list[Leased] = []
        self.unreadable: list[GivenBack] = []
        self.deferred: list[tuple[str, Deferral]] = []

    def read(self, answer: Sequence[bytes]) -> None:
        """Read ids, texts, definitions and entries."""
        ids = split(answer[0])
        texts, definitions = (split(each, len(ids)) for each in answer[1:3])
        available_us = {}
        for entry in split(answer[3]):
            # There may be a rank before the instant.
            instant, run_id = entry.split("\n")[-4:-2]
            available_us[run_id] = instant_of(instant)
        runs = kept_runs(list(zip(ids, texts, strict=True)), self._codec)
        for kept, text in zip(runs, definitions, strict=True):
            # One that can't be understood isn't touched: who knows whether it may be executed.
            if kept.flag == "L":
                self._sort(kept.record, text, available_us[kept.record.id])
        self.leased.sort(key=lambda each: (each.run.rank, available_us[each.run.id]))

    def _sort(self, run: RunRecord, text: str, available_us: int) -> None:
        definition = run.definition or self._codec.read(text)
        if isinstance(definition, Definition):
            self.leased.append(Leased(run, definition))
            return
        if run.definition is None:
            self.deferred.append((run.task_id, Deferral(definition.reason)))
        else:
            # No task of that name is to blame; another node may understand it.
            available_us = self._now_us + UNREADABLE_AGAIN_US
        back = GivenBack(run.id, run.fence, available_us, reason=run.reason)
        self.unreadable.append(back)
