"""The routes of an application, as its routers have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

__all__ = ["api_routes", "words_of"]


def api_routes(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    """Yield the routes that answer something, also those of routers that were included."""
    for route in routes:
        # Newer frameworks keep routers as they are, older ones copy their routes.
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from api_routes(included.routes)
        elif isinstance(route, APIRoute):
            yield route


def words_of(route: APIRoute) -> list[str]:
    """Return a route by its methods and its path, as `GET /tasks`."""
    return [f"{method} {route.path}" for method in sorted(route.methods or ())]
