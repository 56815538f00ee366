"""`/health`: for those who start and watch the service. Nobody needs to log in for it."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from tickwork.errors import TickworkError
from tickwork.service.rest.asking import ServiceDep

__all__ = ["router"]

router = APIRouter(prefix="/health", tags=["health"])


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """Whether the stores answer and the scheduler does what it is to do; `why` not."""

    status: Literal["ready", "not ready"]
    why: str | None = None


@router.get("/live")
async def live() -> Live:
    """Say that the process answers."""
    return Live()


@router.get("/ready", responses={503: {"model": Ready, "description": "Not ready"}})
def ready(response: Response, service: ServiceDep) -> Ready:
    """Say whether the stores answer and the scheduler does what it is to do."""
    why = _why_not(service)
    if why is None:
        return Ready(status="ready")
    response.status_code = 503
    return Ready(status="not ready", why=why)


def _why_not(service: ServiceDep) -> str | None:
    state = service.scheduler.state
    if state == "new":
        return "the scheduler isn't connected to its stores"
    if state == "connected" and service.fires:
        return "the scheduler isn't started"
    try:
        for name in service.reach.names(None):
            service.reach.reader(name).get_task("")
    except TickworkError:
        return "a store doesn't answer"
    return None
