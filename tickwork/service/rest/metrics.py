"""`/metrics`, for Prometheus; where the extra `prometheus` is installed."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from tickwork.errors import NotFoundError
from tickwork.service.rest.asking import OperationsDep, ServiceDep
from tickwork.service.rest.problems import problems
from tickwork.service.roles import Action

__all__ = ["router"]

router = APIRouter(tags=["metrics"])


@router.get("/metrics", response_class=PlainTextResponse, responses=problems(404))
def metrics(service: ServiceDep, operations: OperationsDep) -> PlainTextResponse:
    """Return all metrics; where users log in, to whoever brings a token."""
    operations.actor.require(Action.METRICS_READ)
    if service.metrics is None:
        raise NotFoundError(
            "there are no metrics here: pip install 'tickwork[prometheus]', and say metrics=true"
        )
    from tickwork.integrations.prometheus import CONTENT_TYPE

    return PlainTextResponse(service.metrics.render(), headers={"Content-Type": CONTENT_TYPE})
