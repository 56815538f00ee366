"""The page of a run as it changes: server-sent events, each with the part of the page that moves.

It is looked at whenever an event tells of the run, and every second, since other nodes may execute
it. Each time it is asked anew who is looking: a stream ends with its session.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from tickwork.errors import TickworkError
from tickwork.model.policies import TERMINAL
from tickwork.service.dashboard.rendering import HEADERS, Links
from tickwork.service.dashboard.runs import run_part
from tickwork.service.dashboard.visiting import RunId, Visit, VisitDep
from tickwork.service.errors import UnauthenticatedError

__all__ = ["router"]

router = APIRouter()

_LOOK_S = 1.0
_LINES = re.compile(r"\r\n|\r|\n")


class _Look(NamedTuple):
    """What was seen: all of the run as text, the part of its page, and whether that is the last."""

    seen: str
    part: str
    over: bool


@router.get("/runs/{run_id}/follow")
def follow_run(visit: VisitDep, run_id: RunId) -> Response:
    """Follow a run until it is over, the session is, or the service stops."""
    visit.operations.get_run(run_id, store=visit.store)
    headers = {**HEADERS, "X-Accel-Buffering": "no"}
    stream = _stream(visit, run_id)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _stream(visit: Visit, run_id: str) -> AsyncIterator[str]:
    seen = ""
    async for _ in visit.service.events.beats(run_id, _LOOK_S):
        try:
            look = await asyncio.to_thread(_look, visit.request, run_id, seen)
        except UnauthenticatedError:
            yield _event("gone", "")
            return
        except TickworkError:
            # The browser asks for the page then, which says what is wrong.
            return
        if look is None:
            yield ": still here\n\n"
            continue
        seen = look.seen
        yield _event("over" if look.over else "run", look.part)
        if look.over:
            return


def _look(request: Request, run_id: str, seen: str) -> _Look | None:
    """Return a run where it differs from what was seen."""
    visit = Visit(request)
    run = visit.operations.get_run(run_id, store=visit.store)
    now = run.model_dump_json()
    if now == seen:
        return None
    links = Links("")
    part = run_part(visit, run, here=links.run(run.id).partition("?")[0])
    return _Look(now, part, run.status in TERMINAL)


def _event(kind: str, text: str) -> str:
    data = "".join(f"data: {line}\n" for line in _LINES.split(text))
    return f"event: {kind}\n{data}\n"
