"""`/nodes`, `/stores`, `/executors`, `/locks`, `/events` and `/version`."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from tickwork.model.snapshots import NodeInfo
from tickwork.service.models import Asked, ExecutorView, LockView, StoreView, Text, VersionView
from tickwork.service.rest.asking import OperationsDep, ServiceDep
from tickwork.service.rest.problems import problems
from tickwork.service.roles import Action
from tickwork.version import __version__

__all__ = ["router"]

router = APIRouter(tags=["cluster"])


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


class EventQuery(Asked):
    """Which kinds of events to send, by the names of their classes; none: all."""

    kind: Annotated[list[Text], Field(default_factory=list, max_length=50)]


@router.get("/nodes", responses=problems())
def list_nodes(operations: OperationsDep) -> list[NodeInfo]:
    """List the started schedulers that share these stores, also dead ones."""
    return operations.list_nodes()


@router.get("/stores", responses=problems())
def list_stores(operations: OperationsDep) -> list[StoreView]:
    """List the stores, with how many tasks each keeps by state."""
    return operations.list_stores()


@router.get("/executors", responses=problems())
def list_executors(operations: OperationsDep) -> list[ExecutorView]:
    """List the executors of this process and of living nodes."""
    return operations.list_executors()


@router.get("/locks", responses=problems())
def list_locks(operations: OperationsDep) -> list[LockView]:
    """List locks and leaderships."""
    return operations.list_locks()


@router.get(
    "/events",
    response_class=EventStream,
    responses={
        **problems(),
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
    },
)
async def follow_events(
    service: ServiceDep,
    operations: OperationsDep,
    query: Annotated[EventQuery, Query()],
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=100)] = None,
) -> EventStream:
    """Follow what happens, as server-sent events; those after `Last-Event-ID` come first."""
    operations.actor.require(Action.EVENTS_FOLLOW)

    async def stream() -> AsyncIterator[str]:
        async for text in service.events.follow(last_event_id, query.kind):
            yield text

    return EventStream(stream(), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


@router.get("/version", responses=problems())
def get_version(service: ServiceDep, operations: OperationsDep) -> VersionView:
    """Say what answers here."""
    operations.actor.require(Action.SELF_READ)
    return VersionView(
        version=__version__,
        api="v1",
        state=service.scheduler.state,
        viewer=service.settings.viewer,
        auth=service.settings.auth,
    )
