"""Requests that may be repeated: the second answer is the first one, and nothing is done again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Header
from pydantic import BaseModel

from tickwork.model.instants import SECOND
from tickwork.service.documents import Shelf
from tickwork.service.errors import KeyReusedError, UnderWayError
from tickwork.service.operations import Operations
from tickwork.service.passwords import digest

__all__ = ["IdempotencyKey", "once"]

M = TypeVar("M", bound=BaseModel)

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="any text of one's own; a request that comes again with it within 24 hours "
        "does nothing and is answered as before",
    ),
]
_KEPT_US = 86_400 * SECOND
_UNDER_WAY_US = 60 * SECOND


def once(
    operations: Operations, key: str | None, asked: str, act: Callable[[], M], *, kind: type[M]
) -> M:
    """Do something, or return what came of it when the same was asked for with the same key.

    What fails may be tried again with the same key.

    Raises:
        KeyReusedError: something else was asked for with it.
        UnderWayError: the same is being done at this moment.
    """
    if key is None:
        return act()
    shelf = Shelf(operations.keeping, "idempotency")
    place, request = digest(f"{operations.actor.name}\n{key}"), digest(asked)
    now_us = operations.reach.now_us()
    claimed = shelf.put(place, {"request": request}, expected=0, expires_us=now_us + _UNDER_WAY_US)
    if claimed is None:
        return kind.model_validate_json(_answer(shelf, place, request, key))
    try:
        answer = act()
    except BaseException:
        shelf.drop(place, claimed)
        raise
    kept = {"request": request, "answer": answer.model_dump_json()}
    shelf.put(place, kept, expected=claimed, expires_us=now_us + _KEPT_US)
    return answer


def _answer(shelf: Shelf, place: str, request: str, key: str) -> str:
    kept = shelf.get(place)
    if kept is not None and kept.data["request"] != request:
        raise KeyReusedError(
            f"Idempotency-Key {key!r} was used for another request; choose a new one"
        )
    if kept is None or "answer" not in kept.data:
        raise UnderWayError(f"a request with Idempotency-Key {key!r} is under way; ask again soon")
    answer: str = kept.data["answer"]
    return answer
