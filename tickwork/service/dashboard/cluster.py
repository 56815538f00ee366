"""Nodes, executors and stores; locks and leaders; the audit log."""

from __future__ import annotations

from fastapi import APIRouter, Response

from tickwork.model.instants import from_us
from tickwork.service.dashboard.visiting import VisitDep
from tickwork.service.dashboard.visiting import read_model as read
from tickwork.service.rest.access import AuditQuery
from tickwork.service.roles import Action

__all__ = ["router"]

router = APIRouter()

_OFFSET_S = 1.0
"""From what difference on a clock is worth a look."""


@router.get("/nodes")
def show_nodes(visit: VisitDep) -> Response:
    """Show who works on the stores."""
    operations = visit.operations
    nodes = operations.list_nodes()
    now = {name: from_us(visit.service.reach.now_us(name)) for name in {n.store for n in nodes}}
    return visit.page(
        "nodes.html",
        nodes=sorted(nodes, key=lambda node: (node.expires_at <= now[node.store], node.id)),
        alive={node.id for node in nodes if node.expires_at > now[node.store]},
        executors=operations.list_executors(),
        stores=operations.list_stores(),
        most_offset=_OFFSET_S,
    )


@router.get("/locks")
def show_locks(visit: VisitDep) -> Response:
    """Show who holds which lock, and who leads."""
    return visit.page("locks.html", locks=visit.operations.list_locks())


@router.get("/audit")
def show_audit(visit: VisitDep) -> Response:
    """Show who did what."""
    asked = visit.asked(["actor", "action", "target"])
    query = read(AuditQuery, dict(asked))
    page = visit.operations.list_audit(
        actor=query.actor, action=query.action, target=query.target, limit=50, cursor=visit.cursor
    )
    actions = [action.value for action in Action]
    return visit.page("audit.html", page=page, filters=asked, actions=actions)
