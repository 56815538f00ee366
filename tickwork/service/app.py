"""The application: REST under `/api/v1`, and health; mountable under any prefix."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.middleware import Middleware

from tickwork.service.bodies import BodyLimit
from tickwork.service.dashboard import add_dashboard
from tickwork.service.doors import Doors
from tickwork.service.hosting import Service
from tickwork.service.paths import SlashesInParts
from tickwork.service.rest import access, cluster, health, metrics, runs, tasks
from tickwork.service.rest.problems import Problem, answer_problems
from tickwork.service.settings import ServiceSettings
from tickwork.version import __version__

if TYPE_CHECKING:
    from tickwork.scheduler.scheduler import Scheduler

__all__ = ["API", "create_app"]

API = "/api/v1"


def create_app(scheduler: Scheduler, settings: ServiceSettings | None = None) -> FastAPI:
    """Return the service over a scheduler, which is started, connected and stopped elsewhere.

    Raises:
        InvalidInputError: users are to log in, and the store couldn't keep them.
    """
    settings = settings or ServiceSettings()
    app = FastAPI(
        title="tickwork",
        version=__version__,
        description="Tasks and runs of a scheduler. Errors are `application/problem+json`.",
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
        generate_unique_id_function=_name_of,
        middleware=[
            Middleware(Doors, hosts=settings.hosts),
            Middleware(SlashesInParts),
            Middleware(BodyLimit, most=settings.max_body),
        ],
    )
    app.state.service = Service(scheduler, settings)
    api = APIRouter(prefix=API)
    for module in (tasks, runs, cluster, access):
        api.include_router(module.router)
    app.include_router(api)
    app.include_router(health.router)
    app.include_router(metrics.router)
    answer_problems(app)
    add_dashboard(app)
    # The framework's way to say more than it knows.
    setattr(app, "openapi", _openapi(app))  # noqa: B010  a method can't be assigned to
    return app


def _name_of(route: APIRoute) -> str:
    return route.name


def _leave_out_security(schema: dict[str, Any]) -> None:
    """Say nothing of logging in where nobody needs to."""
    schema["components"].pop("securitySchemes", None)
    for path in schema["paths"].values():
        for operation in path.values():
            operation.pop("security", None)


def _openapi(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return what describes an application, with the problems that its routes answer."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                openapi_version="3.1.0",
            )
            described = Problem.model_json_schema(
                ref_template="#/components/schemas/{model}", mode="serialization"
            )
            schemas = schema["components"]["schemas"]
            schemas |= described.pop("$defs", {})
            schemas["Problem"] = described
            if app.state.service.settings.auth == "none":
                _leave_out_security(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    return openapi
