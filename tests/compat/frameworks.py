"""Frameworks that aren't at hand, as far as the documents use them: thin, over FastAPI's."""

import inspect
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from functools import wraps
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from starlette.applications import Starlette

from tickwork.compat import xitzin

__all__ = [
    "ContextRepo",
    "FastStream",
    "NexiosApp",
    "RedisBroker",
    "Request",
    "Response",
    "TestClient",
    "Xitzin",
]


class Xitzin(Starlette):
    """An application with tasks."""

    task = xitzin.task


class ContextRepo:
    """What FastStream passes to lifespans."""


class RedisBroker:
    """What FastStream gets its messages from."""


class FastStream:
    """An application that only lives."""

    def __init__(
        self,
        broker: RedisBroker,
        lifespan: Callable[[ContextRepo], AbstractAsyncContextManager[None]],
    ) -> None:
        self.broker = broker
        self._lifespan = lifespan

    async def run(self, meanwhile: Callable[[], object]) -> None:
        async with self._lifespan(ContextRepo()):
            meanwhile()


class _Json:
    """The body of a request, awaited with or without a call."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def __call__(self) -> "_Json":
        return self

    def __await__(self) -> Generator[Any, None, Any]:
        return self._request.json().__await__()


class _NexiosRequest:
    """A request as Nexios' handlers see it."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.json = _Json(request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


_ANNOTATIONS = {"request": Request, "response": Response}


def _answered(result: Any) -> JSONResponse:
    body, status = result if isinstance(result, tuple) else (result, 200)
    return JSONResponse(body, status)


def _endpoint(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return a handler of Nexios as FastAPI calls it."""

    @wraps(handler)
    async def endpoint(**given: Any) -> JSONResponse:
        given["request"] = _NexiosRequest(given["request"])
        return _answered(await handler(**given))

    signature = inspect.signature(handler)
    parameters = [
        each.replace(annotation=_ANNOTATIONS.get(each.name, each.annotation))
        for each in signature.parameters.values()
    ]
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect reads
    return endpoint


class NexiosApp(FastAPI):
    """An application whose handlers take request and response, and return data and a status."""

    def get(self, path: str, **options: Any) -> Any:
        return self._adding(super().get, path, options)

    def post(self, path: str, **options: Any) -> Any:
        return self._adding(super().post, path, options)

    @staticmethod
    def _adding(add: Callable[..., Any], path: str, options: dict[str, Any]) -> Any:
        def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
            add(path, response_model=None, **options)(_endpoint(handler))
            return handler

        return decorate

    def exception_handler(self, kind: Any) -> Any:
        def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
            async def answer(request: Request, error: Exception) -> JSONResponse:
                return _answered(await handler(request, error))

            self.add_exception_handler(kind, answer)
            return handler

        return decorate
