"""`ETag` and `If-Match`: edits that don't overwrite each other."""

import re
from typing import Annotated

from fastapi import Header, Response

from tickwork.errors import InvalidInputError

__all__ = ["IfMatch", "etag_headers", "tell_etag", "wanted_etag"]

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1_000,
        description="the `ETag` of the task as it was looked at; it is changed only if it is "
        "still the same",
    ),
]
_TAG = re.compile(r'(?:W/)?"([^"]*)"')

etag_headers = {
    "ETag": {
        "description": "changes with each edit of the task, and not with its fires",
        "schema": {"type": "string"},
    }
}


def tell_etag(response: Response, etag: str) -> None:
    """Send a task's etag along."""
    response.headers["ETag"] = f'"{etag}"'


def wanted_etag(if_match: str | None, current: str) -> str | None:
    """Return the etag that a task must have to be changed, None where any will do.

    `current` is the one that it had a moment ago; the store compares again.

    Raises:
        InvalidInputError: the header isn't one.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    tags = [tag.strip() for tag in if_match.split(",")]
    found = [match[1] for tag in tags if (match := _TAG.fullmatch(tag))]
    if len(found) != len(tags):
        raise InvalidInputError(f'If-Match={if_match[:60]!r} must be an ETag, such as "0a1b"')
    return current if current in found else found[0]
