"""Packed values for people: JSON data without tags, made without any class of users' code."""

from typing import Any

from tickwork.model.json_text import to_text
from tickwork.model.tagging import unknown_tag, unpack

__all__ = ["described"]

_LONGEST_INT_BITS = 4096
_LIST_TAGS = frozenset({"$tuple", "$set", "$frozenset"})


def described(data: Any) -> Any:
    """Return packed data as plain JSON data; what isn't plain becomes readable text.

    Raises:
        Exception: of any kind, where the data was not made by packing a value.
    """
    if isinstance(data, list):
        return [described(each) for each in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1:
        ((tag, content),) = data.items()
        if tag.startswith("$"):
            return _described_tag(tag, content)
    return {key: described(each) for key, each in data.items()}


def _described_tag(tag: str, content: Any) -> Any:
    if tag in _LIST_TAGS:
        return [described(each) for each in content]
    if tag == "$dict":
        return {_key(described(key)): described(each) for key, each in content}
    if tag == "$object":
        return described(content[1])
    if tag == "$enum":
        name, member = content
        return f"{name}.{member if isinstance(member, str) else '|'.join(member)}"
    return _text_of(unpack({tag: content}, unknown_tag))


def _key(data: Any) -> str:
    return data if isinstance(data, str) else to_text(data)


def _text_of(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return repr(value)
    if isinstance(value, int):  # a huge one; Python refuses to write thousands of digits
        return str(value) if value.bit_length() <= _LONGEST_INT_BITS else hex(value)
    return str(value).encode(errors="backslashreplace").decode()
