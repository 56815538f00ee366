"""What an error is called outside: the name of its class, in lower case."""

import re

__all__ = ["code_of"]

_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def code_of(kind: type[Exception]) -> str:
    """Return the stable word for a class of errors, such as `task-not-found`."""
    return _WORDS.sub("-", kind.__name__.removesuffix("Error")).lower()
